"""The share of questions that are answered correctly, and the share of a long answer's claims."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from loragraft.dataset.records import Qa, TaskRecord
from loragraft.experiment.metrics.aggregate import Aggregate
from loragraft.experiment.metrics.facts.match import VERSION, judge_answer
from loragraft.experiment.metrics.grounding.claims import VERSION as CLAIMS_VERSION
from loragraft.experiment.metrics.grounding.claims import statements
from loragraft.experiment.metrics.grounding.support import JOINT, Support
from loragraft.experiment.metrics.measured import (
    EachSample,
    Measured,
    Missing,
    Value,
    answerless,
    scored,
)
from loragraft.experiment.metrics.protocol import MetricInfo
from loragraft.experiment.metrics.squad import plain_answer
from loragraft.experiment.records import Sample, Score

NAME = "factuality"
MATCH = "factuality_match"
_DOC = "loragraft: docs/metrics.md"
_CLAIMS = "share of claims with support, after FActScore (arXiv 2305.14251); docs/metrics.md"
BATCH = 64
"""Samples whose claims are judged together."""
RIGHT = 0.5
"""Share of an answer's claims from which on it counts as right, where ways are compared."""
Gold = Callable[[TaskRecord], Sequence[str]]
"""Returns the texts of a record's gold evidence."""


def claims_name(way: str) -> str:
    """Return the name of a metric: claims decided in one way."""
    return f"factuality_claims_{way}"


def match_infos() -> tuple[MetricInfo, ...]:
    """Return what is known of factuality by match alone."""
    return (
        MetricInfo(NAME, "share", "higher", "main", _DOC, VERSION),
        MetricInfo(MATCH, "share", "higher", "diagnostic", _DOC, VERSION),
    )


def is_right(sample: Sample, record: TaskRecord) -> bool:
    """Say whether an answer says what an accepted one says."""
    found = _match(sample, record)
    return isinstance(found, Value) and found.value == 1.0


def _match(sample: Sample, record: TaskRecord) -> Measured:
    if not isinstance(record, Qa):
        return Missing("the record has no accepted answers")
    verdict = judge_answer(plain_answer(sample), record.answers, record.question)
    return Value(float(verdict.right), {"way": verdict.way, "reason": verdict.reason})


def by_match() -> EachSample:
    """Return factuality where every answer is compared with the accepted ones."""

    def look(sample: Sample, record: TaskRecord) -> Mapping[str, Measured]:
        return dict.fromkeys((NAME, MATCH), _match(sample, record))

    return EachSample(match_infos(), look)


@dataclass(frozen=True)
class ByClaims:
    """Factuality where long answers are judged claim by claim.

    Short answers are compared with the accepted ones. Of an answer with so many statements that it
    is long, factuality is the share of them that the gold evidence supports; where the record names
    none, it is compared as well.

    Attributes:
        supports: Who decides on claims; the first one's decision is factuality's.
        gold: Gives the texts of gold evidence.
        long_answer: Statements from which on an answer is long.
    """

    supports: tuple[Support, ...]
    gold: Gold
    long_answer: int

    @property
    def infos(self) -> tuple[MetricInfo, ...]:
        """Factuality, by match, and by each way to decide on claims."""
        return (*match_infos(), *(claims_info(support.name) for support in self.supports))

    def identity(self) -> dict[str, Any]:
        """Return what decides its values."""
        return {
            "match": VERSION, "claims": CLAIMS_VERSION, "long_answer": self.long_answer,
            "supports": [support.identity() for support in self.supports],
        }  # fmt: skip

    def scores(
        self, samples: Sequence[Sample], records: Mapping[str, TaskRecord]
    ) -> Iterator[Score]:
        """Yield a score of each name for each sample."""
        for begin in range(0, len(samples), BATCH):
            some = samples[begin : begin + BATCH]
            claims = [self._claims(sample, records) for sample in some]
            shares = [self._shares(support, claims) for support in self.supports]
            for number, sample in enumerate(some):
                own = [share[number] for share in shares]
                measured = answerless(sample, records) or self._measured(sample, records, own)
                yield from (scored(sample, info.name, measured) for info in self.infos)

    def _measured(
        self, sample: Sample, records: Mapping[str, TaskRecord], shares: Sequence[Measured]
    ) -> Mapping[str, Measured]:
        matched = _match(sample, records[sample.question_id])
        short = isinstance(shares[0], Missing) and shares[0].status == "unscorable"
        named = {
            claims_name(support.name): share
            for support, share in zip(self.supports, shares, strict=True)
        }
        return {NAME: matched if short else shares[0], MATCH: matched, **named}

    def _claims(
        self, sample: Sample, records: Mapping[str, TaskRecord]
    ) -> list[tuple[str, str]] | Missing:
        """Return a long answer's claims, each with the gold evidence."""
        missing = answerless(sample, records)
        if missing is not None:
            return missing
        found = statements(sample.answer, sample.citations)
        if len(found) < self.long_answer:
            return Missing("the answer is short: it is compared with the accepted ones")
        gold = JOINT.join(self.gold(records[sample.question_id]))
        if not gold.strip():
            return Missing("no gold evidence is to be had")
        return [(statement.text, gold) for statement in found]

    def _shares(
        self, support: Support, claims: Sequence[list[tuple[str, str]] | Missing]
    ) -> list[Measured]:
        """Return of each answer the share of its claims that are supported."""
        asked = [claim for some in claims if not isinstance(some, Missing) for claim in some]
        said = iter(support.supported(asked) if asked else ())
        found: list[Measured] = []
        for some in claims:
            if isinstance(some, Missing):
                found.append(some)
                continue
            told = [(text, next(said)) for text, _ in some]
            known = [one.supported for _, one in told if one.supported is not None]
            detail = {
                "way": f"claims by {support.name}", "missing": len(told) - len(known),
                "claims": [
                    {"text": text, "supported": one.supported, "reason": one.reason}
                    for text, one in told
                ],
            }  # fmt: skip
            share = Value(sum(known) / len(known), detail) if known else None
            found.append(share or Missing("no claim has a verdict", "parse_error"))
        return found


def claims_info(way: str) -> MetricInfo:
    """Return what is known of claims that are decided in one way."""
    return MetricInfo(claims_name(way), "share", "higher", "diagnostic", _CLAIMS, CLAIMS_VERSION)


JUDGED = MetricInfo("factuality_judge", "share", "higher", "diagnostic", _DOC)
Verdict = tuple[bool | None, str]
"""Whether an answer is correct, None where the judge says nothing, and why."""
Correct = Callable[[Sequence[tuple[Qa, str]]], Sequence[Verdict]]
"""Asks the judge about answers, without citations, to questions."""


@dataclass(frozen=True)
class ByJudge:
    """A judge's word on whole answers, beside factuality, so that both can be compared.

    Attributes:
        correct: Asks the judge.
        decides: Returns what decides its verdicts.
    """

    correct: Correct
    decides: Callable[[], Mapping[str, Any]]

    @property
    def infos(self) -> tuple[MetricInfo, ...]:
        """One name."""
        return (JUDGED,)

    def identity(self) -> dict[str, Any]:
        """Return what decides its values."""
        return dict(self.decides())

    def scores(
        self, samples: Sequence[Sample], records: Mapping[str, TaskRecord]
    ) -> Iterator[Score]:
        """Yield a score for each sample."""
        asked: list[tuple[Qa, str]] = []
        missing: list[Missing | None] = []
        for sample in samples:
            why = answerless(sample, records)
            record = records.get(sample.question_id)
            if why is None and not isinstance(record, Qa):
                why = Missing("the record has no accepted answers")
            missing.append(why)
            if why is None and isinstance(record, Qa):
                asked.append((record, plain_answer(sample)))
        said = iter(self.correct(asked) if asked else ())
        for sample, why in zip(samples, missing, strict=True):
            yield scored(sample, JUDGED.name, why or {JUDGED.name: _judged(next(said))})


def _judged(verdict: Verdict) -> Measured:
    right, reason = verdict
    if right is None:
        return Missing(reason, "parse_error")
    return Value(float(right), {"way": "judge", "reason": reason})


def agreement(scores: Sequence[Score]) -> list[Aggregate]:
    """Return how far the ways to decide on factuality agree, two and two.

    Of all answers that both have decided on: the share on which they say the same, and Cohen's
    kappa. A share of claims says right from a half on.
    """
    from loragraft.experiment.human.agreement import cohen_kappa, observed

    ways: dict[str, dict[tuple[str, int], str]] = {}
    for score in scores:
        if score.metric.startswith(f"{NAME}_") and score.value is not None:
            right = "right" if score.value >= RIGHT else "wrong"
            ways.setdefault(score.metric, {})[score.question_id, score.repeat] = right
    found = []
    for first, second in combinations(sorted(ways), 2):
        keys = sorted(ways[first].keys() & ways[second].keys())
        ours = [ways[first][key] for key in keys]
        theirs = [ways[second][key] for key in keys]
        names = f"{first.removeprefix(f'{NAME}_')} and {second.removeprefix(f'{NAME}_')}"
        info = MetricInfo(f"agreement: {names}", "share", None, "diagnostic", _DOC)
        share, kappa = observed(ours, theirs), cohen_kappa(ours, theirs)
        reason = "" if keys else "no answer was decided by both"
        found.append(Aggregate(info, share, len(keys), len(keys), reason, {"kappa": kappa}))
    return found
