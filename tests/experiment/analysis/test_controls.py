"""Controls: grounding beside other papers' passages, and what constant answers get."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from loragraft.dataset.records import Qa, TaskRecord
from loragraft.dataset.records import Score as ScoreRecord
from loragraft.errors import UnavailableError
from loragraft.experiment.analysis.constants import constant_answers, constant_errors
from loragraft.experiment.analysis.control_cache import NAME, ControlCache
from loragraft.experiment.analysis.controls import GROUNDED, controls_of
from loragraft.experiment.analysis.exchanging import exchanged
from loragraft.experiment.analysis.model import Control
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.metrics.factuality import by_match
from loragraft.experiment.metrics.grounding.metric import INFOS, GroundingMetric
from loragraft.experiment.metrics.grounding.overlap import OverlapSupport
from loragraft.experiment.metrics.grounding.support import Claim, Judgement, Support
from loragraft.experiment.metrics.numbers_scored import number_errors
from loragraft.experiment.metrics.opening import Tools
from loragraft.experiment.metrics.protocol import Metric
from loragraft.experiment.records import PassageShown, Sample, Score
from loragraft.experiment.run_info import RunInfo
from loragraft.rag.answering.citations import parse_citations

THINGS = ("mill", "bridge", "harbour", "tower", "school", "market", "library", "station",
          "brewery", "chapel", "theatre", "garden")  # fmt: skip
PLACES = ("Ottery", "Lunde", "Verrin", "Calder", "Aspen", "Morrow", "Tarn", "Hollis", "Pell",
          "Drayton", "Quenby", "Saltash")  # fmt: skip
DOCUMENTS = 12


def passage(document: int, label: int) -> PassageShown:
    """Return what one document says."""
    text = f"Workers raised the {THINGS[document]} of {PLACES[document]} from local timber."
    return PassageShown(f"P{label}", f"c{document}", f"paper-{document}", "", 0, len(text), text,
                        1.0, label)  # fmt: skip


def question(number: int) -> Qa:
    """Return a question; each paper has two."""
    document = number // 2
    answers = ("yes",) if number % 4 == 0 else ("no",) if number % 4 == 2 else (THINGS[document],)
    return Qa(f"q{number:02d}", "fact", f"What is told of {PLACES[document]}?", answers,
              (f"paper-{document}#0-10",), f"paper-{document}")  # fmt: skip


def answer(number: int, *, passages: int = 2, text: str = "") -> Sample:
    """Return an answer that copies its first passage and cites it."""
    document = number // 2
    shown = tuple(passage(document, label + 1) for label in range(passages))
    said = text or f"{shown[0].text[:-1]} [P1]."
    cited = tuple(
        {"label": f"P{one.number}", "start": one.start, "stop": one.stop, "known": one.known}
        for one in parse_citations(said, range(1, passages + 1))
    )
    return Sample("arm", f"q{number:02d}", 0, "fact", f"paper-{document}", 1, (), "ok", raw=said,
                  answer=said, citations=cited, shown=shown, record=str(number))  # fmt: skip


RECORDS: dict[str, TaskRecord] = {f"q{n:02d}": question(n) for n in range(2 * DOCUMENTS)}
SAMPLES = [answer(number) for number in range(2 * DOCUMENTS)]
INFO = RunInfo("s", "arm", "qa", "", "key", {}, "", {}, {}, "questions", 24, 1, True, False, {})


@dataclass(frozen=True)
class Arm:
    """An experiment's records, read."""

    info: RunInfo
    samples: Sequence[Sample]
    scores: Mapping[str, Sequence[Score]]
    records: Mapping[str, TaskRecord]


class Granting:
    """A broken support test: every passage supports everything."""

    name = "granting"

    def identity(self) -> dict[str, Any]:
        """Return a constant."""
        return {"support": self.name}

    def supported(self, claims: Sequence[Claim]) -> list[Judgement]:
        """Grant all."""
        return [Judgement(True) for _ in claims]

    def close(self) -> None:
        """Do nothing."""


class Opened(Tools):
    """Tools with one support test; they remember how often it was asked for."""

    def __init__(self, config: SeriesConfig, support: Support | None) -> None:
        """Have a support test, or none."""
        super().__init__(config)
        self._given, self.asked = support, 0

    def support(self, way: str) -> Support:
        """Return it."""
        self.asked += 1
        if self._given is None:
            raise UnavailableError("The embedder is gone. Put it back.")
        return self._given


def series(folder: Path, **changes: Any) -> SeriesConfig:  # noqa: ANN401
    """Return a series of one experiment."""
    (folder / "out" / "s").mkdir(parents=True, exist_ok=True)
    arm = {"engine": {"kind": "llama", "model": "model.gguf"}, "retrieval": True}
    values = {
        "series": "s", "data": {"files": ["q.jsonl"]}, "retrieval": {"index": "i"},
        "experiments": {"arm": arm}, "baseline": "arm", "outputs": folder / "out",
    }  # fmt: skip
    return SeriesConfig.model_validate({**values, **changes})


def measured(
    metrics: Sequence[Metric], samples: Sequence[Sample] = SAMPLES, name: str = "key"
) -> Arm:
    """Return an experiment as a run has measured it."""
    scores: dict[str, list[Score]] = {}
    for metric in metrics:
        for score in metric.scores(samples, RECORDS):
            scores.setdefault(score.metric, []).append(score)
    names = " ".join(info.name for info in INFOS)
    info = replace(INFO, scores={"metrics": {names: name}})
    return Arm(info, samples, scores, RECORDS)


def found(controls: Sequence[Control], name: str, metric: str, experiment: str = "arm") -> Control:
    """Return the one control of a name."""
    (one,) = (c for c in controls if (c.name, c.metric, c.experiment) == (name, metric, experiment))
    return one


def test_no_answer_keeps_a_passage_of_its_own_paper_and_all_keep_their_words() -> None:
    swapped = exchanged(SAMPLES, RECORDS, seed=1)
    assert [(s.key, s.answer, s.citations) for s in swapped] == [
        (s.key, s.answer, s.citations) for s in SAMPLES
    ]
    for sample in swapped:
        assert [one.label for one in sample.shown] == ["P1", "P2"]
        assert sample.paper_id not in {one.doc_id for one in sample.shown}
    again = exchanged(reversed(SAMPLES), RECORDS, seed=1)
    assert sorted(again, key=lambda s: s.key) == swapped
    assert exchanged(SAMPLES, RECORDS, seed=2) != swapped
    assert len(exchanged(SAMPLES, RECORDS, seed=1, most=5)) == 5


def test_a_question_that_was_shown_fewer_passages_lends_them_twice() -> None:
    samples = [answer(0, passages=3), answer(2, passages=1)]
    many, one = exchanged(samples, RECORDS, seed=1)
    assert [(p.label, p.doc_id) for p in many.shown] == [
        ("P1", "paper-1"), ("P2", "paper-1"), ("P3", "paper-1"),
    ]  # fmt: skip
    assert [(p.label, p.doc_id) for p in one.shown] == [("P1", "paper-0")]


def test_passages_of_shared_documents_or_with_the_same_text_are_never_lent() -> None:
    mine = answer(0)
    copied = replace(passage(0, 1), doc_id="copy")
    other = replace(answer(2), shown=(passage(0, 1), copied, passage(3, 3)))
    (swapped,) = (s for s in exchanged([mine, other], RECORDS, seed=1) if s.question_id == "q00")
    assert {one.doc_id for one in swapped.shown} == {"paper-3"}
    assert exchanged([mine, answer(1)], RECORDS, seed=1) == []  # one paper
    misled = replace(answer(2), shown=(passage(0, 1),))
    assert exchanged([mine, misled], RECORDS, seed=1) == []  # all that there is is of paper 0


def test_answers_without_a_text_or_a_passage_are_left_out() -> None:
    failed = replace(answer(2), status="timeout")
    bare = replace(answer(4), shown=())
    unknown = replace(answer(6), question_id="unknown")
    kept = exchanged([failed, bare, unknown, answer(8), answer(10)], RECORDS, seed=1)
    assert [s.question_id for s in kept] == ["q08", "q10"]


def test_grounding_that_falls_passes(tmp_path: Path) -> None:
    config, support = series(tmp_path), OverlapSupport()
    arm = measured([GroundingMetric(support)])
    controls = controls_of(config, {"arm": arm}, Opened(config, support))
    for metric in GROUNDED:
        one = found(controls, "shuffled passages", metric)
        assert (one.value, one.real, one.count, one.passed) == (0.0, 1.0, 24, True)
    assert "0.0 % in place of 100.0 % (24 questions)" in controls[0].sentence


def test_a_test_that_grants_everything_is_found_out(tmp_path: Path) -> None:
    config, support = series(tmp_path), Granting()
    arm = measured([GroundingMetric(support)])
    controls = controls_of(config, {"arm": arm}, Opened(config, support))
    one = found(controls, "shuffled passages", "grounding_coverage")
    assert (one.value, one.real, one.passed) == (1.0, 1.0, False)
    assert "proves nothing" in one.sentence


def test_nothing_grounded_is_neither_passed_nor_failed(tmp_path: Path) -> None:
    config, support = series(tmp_path), OverlapSupport()
    samples = [answer(number, text="Nobody knows.") for number in range(24)]
    arm = measured([GroundingMetric(support)], samples)
    controls = controls_of(config, {"arm": arm}, Opened(config, support))
    one = found(controls, "shuffled passages", "grounding_coverage")
    assert (one.value, one.real, one.passed) == (0.0, 0.0, None)
    assert "nothing that could fall" in one.sentence


def test_too_few_papers_leave_it_open(tmp_path: Path) -> None:
    config, support = series(tmp_path), OverlapSupport()
    arm = measured([GroundingMetric(support)], SAMPLES[:4])
    one = controls_of(config, {"arm": arm}, Opened(config, support))[0]
    assert (one.value, one.real, one.count, one.passed) == (0.0, 1.0, 4, None)
    alone = controls_of(
        config, {"arm": measured([GroundingMetric(support)], SAMPLES[:2])}, Opened(config, support)
    )[0]
    assert (alone.value, alone.count, alone.passed) == (None, 0, None)


def test_what_was_computed_is_kept_until_an_answer_or_the_metric_changes(tmp_path: Path) -> None:
    config, support = series(tmp_path), OverlapSupport()
    tools = Opened(config, support)
    arm = measured([GroundingMetric(support)])
    first = controls_of(config, {"arm": arm}, tools)
    assert controls_of(config, {"arm": arm}, tools) == first
    assert tools.asked == 1
    controls_of(config, {"arm": measured([GroundingMetric(support)], name="newer")}, tools)
    assert tools.asked == 2
    others = [answer(0, text="It rained [P1]."), *SAMPLES[1:]]
    changed = measured([GroundingMetric(support)], others, name="newer")
    controls_of(config, {"arm": changed}, tools)
    assert tools.asked == 3
    unknown = replace(arm, info=replace(INFO, scores={}))
    controls_of(config, {"arm": unknown}, tools)
    controls_of(config, {"arm": unknown}, tools)
    assert tools.asked == 5


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"entries": 3}', '{"entries": {"n": {"key": "k", "values": 1}}}',
     '{"entries": {"n": {"key": "k", "values": {"m": {"q": "x"}}}}}',
     '{"entries": {"n": {"key": "k", "values": {"m": {"q": NaN}}}}}',
     '{"entries": {"n": {"key": "other", "values": {}}}}', "[" * 100_000],
)  # fmt: skip
def test_a_spoilt_file_counts_for_nothing_and_is_written_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text, encoding="utf-8")
    cache = ControlCache(tmp_path)
    assert cache.find("n", "k") is None
    cache.keep("n", "k", {"m": {"q": 0.5}})
    cache.save()
    assert ControlCache(tmp_path).find("n", "k") == {"m": {"q": 0.5}}
    assert json.loads((tmp_path / NAME).read_text(encoding="utf-8"))["schema_version"] == 1


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()  # in the file's place, for root may write everywhere
    cache = ControlCache(tmp_path)
    cache.keep("n", "k", {"m": {"q": 0.5}})
    cache.save()
    assert [one.name for one in tmp_path.iterdir()] == [NAME]
    assert ControlCache(tmp_path).find("n", "k") is None


def test_a_support_test_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    config = series(tmp_path)
    arm = measured([GroundingMetric(OverlapSupport())])
    one = controls_of(config, {"arm": arm}, Opened(config, None))[0]
    assert (one.value, one.count, one.passed) == (None, 0, None)
    assert one.sentence == (
        "The control 'shuffled passages' could not be had: The embedder is gone. Put it back."
    )


def test_constant_answers_by_hand(tmp_path: Path) -> None:
    # Of 24 questions 6 accept yes, 6 no, 12 a word of their own: yes and no are right on a quarter.
    config = series(tmp_path, metrics={"groups": ["factuality"]})
    controls = controls_of(config, {"arm": measured([by_match()])}, Opened(config, None))
    yes = found(controls, "always yes", "factuality", "")
    assert (yes.value, yes.count, yes.passed) == (0.25, 24, None)
    assert yes.sentence == (
        "Always answering 'Yes.' is right on 25.0 % of 24 questions, 6 of 12 that ask for yes or "
        "no."
    )
    assert found(controls, "always no", "factuality", "").value == 0.25
    assert "the best is 'Yes.'" in found(controls, "constant answer", "factuality", "").sentence


@pytest.mark.parametrize(
    ("says", "real", "passed"),
    [(lambda n: question(n).answers[0], 1.0, True), (lambda n: "Perhaps.", 0.0, False),
     (lambda n: "yes", 0.25, None)],
)  # fmt: skip
def test_an_experiment_beside_the_best_constant_answer(
    tmp_path: Path,
    says: Any,  # noqa: ANN401
    real: float,
    passed: bool | None,
) -> None:
    config = series(tmp_path, metrics={"groups": ["factuality"]})
    arm = measured([by_match()], [answer(n, text=says(n)) for n in range(24)])
    one = found(controls_of(config, {"arm": arm}, Opened(config, None)),
                "constant answer", "factuality")  # fmt: skip
    assert (one.value, one.real, one.count, one.passed) == (0.25, real, 24, passed)


def test_answers_that_are_tried_are_yes_no_and_what_several_questions_accept() -> None:
    accepted = [("Copper", "copper"), ("the copper",), ("Iron", "iron ore"), ("iron",), ("zinc",),
                ("yes",), ("Yes",), ("!",), ("!",)]  # fmt: skip
    records = [
        replace(question(1), id=f"r{n}", answers=answers) for n, answers in enumerate(accepted)
    ]
    assert constant_answers(records) == ("Yes.", "No.", "Copper", "Iron")
    assert constant_answers([]) == ("Yes.", "No.")


def test_constant_numbers_by_hand(tmp_path: Path) -> None:
    labels = (0.0, 0.0, 1.0, 0.6)
    records: dict[str, TaskRecord] = {
        f"s{n}": ScoreRecord(f"s{n}", "rule", {"body": "b"}, label)
        for n, label in enumerate(labels)
    }
    errors = constant_errors(list(records.values()))
    assert errors["absolute_error"][0] == pytest.approx(0.3)  # the median
    assert errors["squared_error"][0] == pytest.approx(0.4)  # the mean
    assert errors["absolute_error"][1] == pytest.approx(
        {"s0": 0.3, "s1": 0.3, "s2": 0.7, "s3": 0.3}
    )
    assert constant_errors([question(0)]) == {}
    samples = [Sample("arm", name, 0, "rule", None, 1, (), "ok", parsed=0.0) for name in records]
    scores: dict[str, list[Score]] = {}
    for score in number_errors().scores(samples, records):
        scores.setdefault(score.metric, []).append(score)
    config = series(tmp_path)
    controls = controls_of(
        config, {"arm": Arm(INFO, samples, scores, records)}, Opened(config, None)
    )
    one = found(controls, "constant answer", "absolute_error")
    assert one.value == pytest.approx(0.4)  # (0.3 + 0.3 + 0.7 + 0.3) / 4
    assert one.real == pytest.approx(0.4)  # (0 + 0 + 1 + 0.6) / 4
    assert (one.count, one.passed) == (4, None)
