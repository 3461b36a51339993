"""All samples of a series, side by side, for people who want to see for themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from loragraft.dataset.records import Embedding, Qa, Reply, TaskRecord
from loragraft.experiment.analysis.figures import NOT_ANSWERED
from loragraft.experiment.analysis.model import (
    Browsable,
    ShownAnswer,
    ShownPassage,
    ShownQuestion,
)
from loragraft.experiment.analysis.values import Given, Points, pair_values, types_of
from loragraft.experiment.measured import Measured
from loragraft.experiment.records import Sample
from loragraft.experiment.records import Score as Scored

if TYPE_CHECKING:
    from loragraft.experiment.metrics.protocol import MetricInfo

NOISE = 1e-12
"""Less than that is rounding: means of the same answers in another order."""
GROUNDING, FABRICATED = "grounding_coverage", "citations_fabricated"


class _Passages:
    """Passages, each once."""

    def __init__(self) -> None:
        self.found: dict[ShownPassage, int] = {}

    def numbers(self, sample: Sample) -> dict[str, int]:
        """Return the number of each passage that a sample shows, by its label."""
        told = {
            one.label: ShownPassage(one.chunk_id, one.doc_id, one.title, one.text)
            for one in sample.shown
        }
        return {label: self.found.setdefault(one, len(self.found)) for label, one in told.items()}


@dataclass(frozen=True)
class _Arm:
    """What is looked up of one experiment.

    Attributes:
        samples: By question, in the order of their repeats.
        scores: By question, repeat and metric.
        outcomes: ``win``, ``loss`` or ``tie`` by question; the baseline has none.
    """

    samples: Mapping[str, Sequence[Sample]]
    scores: Mapping[tuple[str, int], Mapping[str, Scored]]
    outcomes: Mapping[str, str]


def browsable(
    arms: Mapping[str, Measured],
    infos: Mapping[str, MetricInfo],
    *,
    baseline: str,
    metric: str,
    seen: Mapping[str, bool | None],
    given: Given = MappingProxyType({}),
) -> Browsable:
    """Return all questions with every experiment's answers.

    An answer is a ``win`` where the experiment does the question better than the baseline: by the
    mean of its answers, as in comparisons, so that the tags count what those count. It is
    ``ungrounded`` where nothing that it says is supported by what it cites, and ``missing`` where
    it does not count: it failed, or has no value of the metric.

    Args:
        arms: The experiments' records.
        infos: The metrics; main ones are shown beside answers.
        baseline: What the others are compared with.
        metric: That decides on wins.
        seen: Of each question whether its paper is in training.
        given: Values that pairs have.
    """
    shown = [info.name for info in infos.values() if info.tier == "main"]
    lower = metric in infos and infos[metric].better == "lower"
    asked = {name: types_of(one) for name, one in arms.items()}
    looked = {
        name: _arm(
            one,
            {}
            if name == baseline
            else _outcomes(*pair_values(arms, (name, baseline), metric, given), lower=lower),
        )
        for name, one in arms.items()
    }
    passages = _Passages()
    questions = tuple(
        ShownQuestion(
            about.id,
            about.question,
            about.expected,
            about.task_type,
            about.paper or "",
            seen.get(about.id),
            {
                name: tuple(_answers(about.id, arm, shown, metric, passages))
                for name, arm in looked.items()
                if about.id in asked[name]
            },
        )
        for about in _questions(arms.values())
    )
    return Browsable(tuple(passages.found), questions)


@dataclass(frozen=True)
class _About:
    """A question without its answers."""

    id: str
    question: str
    expected: tuple[str, ...]
    task_type: str
    paper: str | None


def _questions(arms: Iterable[Measured]) -> list[_About]:
    """Return the questions of all experiments, in the order of their ids."""
    found: dict[str, _About] = {}
    for measured in arms:
        for record in measured.records.values():
            if record.id not in found:
                found[record.id] = _About(record.id, question_of(record), expected_of(record),
                                          record.task_type, record.paper_id)  # fmt: skip
        if not measured.records:
            _from_samples(measured.samples, found)
    return [found[name] for name in sorted(found)]


def _from_samples(samples: Iterable[Sample], found: dict[str, _About]) -> None:
    """Add questions that only their samples tell of: the shortest prompt is the barest one."""
    for sample in samples:
        said = [one["content"] for one in sample.messages if one["role"] == "user"]
        text = said[-1] if said else ""
        before = found.get(sample.question_id)
        if before is None or 0 < len(text) < len(before.question):
            found[sample.question_id] = _About(
                sample.question_id, text, (), sample.task_type, sample.paper_id
            )


def question_of(record: TaskRecord) -> str:
    """Return what a record asks, in words."""
    if isinstance(record, Qa):
        return record.question
    if isinstance(record, Reply):
        return record.prompt
    if isinstance(record, Embedding):
        return f"{record.a}\n\n{record.b}"
    return "\n\n".join(
        f"{name}: {text if isinstance(text, str) else ' / '.join(text)}"
        for name, text in record.fields.items()
    )


def expected_of(record: TaskRecord) -> tuple[str, ...]:
    """Return what a record expects, in words."""
    if isinstance(record, Qa):
        return record.answers
    if isinstance(record, Reply):
        return (record.reply,)
    return (f"{record.label:g}",)


def _arm(measured: Measured, outcomes: Mapping[str, str]) -> _Arm:
    samples: dict[str, list[Sample]] = {}
    for sample in sorted(measured.samples, key=lambda sample: sample.key):
        samples.setdefault(sample.question_id, []).append(sample)
    scores: dict[tuple[str, int], dict[str, Scored]] = {}
    for metric, found in measured.scores.items():
        for score in found:
            scores.setdefault((score.question_id, score.repeat), {})[metric] = score
    return _Arm(samples, scores, outcomes)


def _outcomes(mine: Points, theirs: Points, *, lower: bool) -> dict[str, str]:
    """Tell of each question that both have whether the experiment does it better."""
    sign = -1 if lower else 1
    found = {}
    for name, value in mine.items():
        if name in theirs:
            gain = sign * (value - theirs[name])
            found[name] = "tie" if abs(gain) <= NOISE else "win" if gain > 0 else "loss"
    return found


def _answers(
    question: str, arm: _Arm, shown: Sequence[str], metric: str, passages: _Passages
) -> Iterator[ShownAnswer]:
    samples = arm.samples.get(question, ())
    if not samples:
        yield ShownAnswer(NOT_ANSWERED, "", 0, (), {}, {}, ("missing",))
    for sample in samples:
        scores = arm.scores.get(sample.key, {})
        ok = sample.status == "ok"
        yield ShownAnswer(
            sample.status,
            text_of(sample) if ok else sample.error or sample.raw,
            sample.repeat,
            tuple(_citations(sample)) if ok else (),
            passages.numbers(sample),
            {name: _told(scores[name]) for name in shown if name in scores},
            tuple(_tags(sample, scores, metric, arm.outcomes.get(question))),
        )


def text_of(sample: Sample) -> str:
    """Return an answer in words; of pairs of texts, how alike they were found."""
    if sample.answer or sample.parsed is None:
        return sample.answer
    return f"{sample.parsed:.4g}"


def _told(score: Scored) -> float | str:
    return score.status if score.value is None else score.value


def _citations(sample: Sample) -> Iterator[tuple[int, int, str]]:
    """Yield citations that lie within the answer; records may have been edited."""
    for one in sample.citations:
        start, stop, label = one.get("start"), one.get("stop"), one.get("label")
        if not isinstance(start, int) or not isinstance(stop, int) or not isinstance(label, str):
            continue
        if 0 <= start < stop <= len(sample.answer):
            yield start, stop, label


def _tags(
    sample: Sample, scores: Mapping[str, Scored], metric: str, outcome: str | None
) -> Iterator[str]:
    counted = scores.get(metric)
    if sample.status != "ok" or (counted is not None and counted.value is None):
        yield "missing"
        return
    if outcome is not None:
        yield outcome
    grounding, fabricated = scores.get(GROUNDING), scores.get(FABRICATED)
    if grounding is not None and grounding.value == 0:
        yield "ungrounded"
    if fabricated is not None and (fabricated.value or 0) > 0:
        yield "fabricated citation"
