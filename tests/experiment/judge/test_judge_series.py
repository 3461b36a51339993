"""A series' pairs judged as its configuration says; nothing asked twice, nobody opened in vain."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from loragraft.artifact.progress import Silent
from loragraft.dataset.records import Qa, Reply, TaskRecord
from loragraft.engine.batch.protocol import BatchEngine, Job
from loragraft.errors import InputError
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.judge.series import (
    Gold,
    check_pair,
    judge_series,
    judged_series,
    pair_names,
    verdict_path,
)
from loragraft.experiment.records import Sample
from tests.support.judging import RuleJudge, longer_wins, sample, sections, verdict

RECORDS: list[TaskRecord] = [
    Qa("q0", "fact", "What is it?", ("a river",), ("doc#0-9",)),
    Qa("q1", "fact", "Where is it?", ("in Peru",)),
    Reply("r0", "reply", "hi", "hello"),
]
ENGINE = {"kind": "llama", "model": "models/arm"}
ANSWERS = {
    "base": ["long answer", "x"],
    "tuned": ["short", "longer answer"],
    "both": ["tiny", "y"],
}


def series(folder: Path, **changes: Any) -> SeriesConfig:  # noqa: ANN401
    values: dict[str, Any] = {
        "series": "small",
        "data": {"files": [str(folder / "tasks.jsonl")]},
        "experiments": {name: {"engine": ENGINE} for name in ANSWERS},
        "baseline": "base",
        "aliases": {"baseline_v1": "base"},
        "judge": {"engine": {"kind": "llama", "model": "models/judge"}, "max_tokens": 99},
        "outputs": str(folder / "outputs"),
    }
    return SeriesConfig.model_validate({**values, **changes})


def samples_of(name: str) -> list[Sample]:
    return [sample(name, f"q{n}", text) for n, text in enumerate(ANSWERS[name])]


class _Noting(Silent):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class _Opening:
    """Opens judges and counts them."""

    def __init__(self, rule: Callable[[Job], str] = longer_wins, version: int = 1) -> None:
        self.judges: list[RuleJudge] = []
        self.needed: list[int] = []
        self._rule, self._version = rule, version

    def __call__(self, needed: int) -> BatchEngine:
        self.needed.append(needed)
        self.judges.append(RuleJudge(self._rule, self._version))
        return self.judges[-1]

    @property
    def jobs(self) -> list[Job]:
        return [job for judge in self.judges for job in judge.jobs]


def no_samples(name: str) -> Iterable[Sample]:
    return ()


def test_each_experiment_is_compared_with_the_baseline(tmp_path: Path) -> None:
    config, opening = series(tmp_path), _Opening()
    results = judge_series(config, RECORDS, samples_of, opening)
    told = [(r.summary.a, r.summary.b, r.summary.wins, r.summary.losses) for r in results]
    assert told == [("tuned", "base", 1, 1), ("both", "base", 0, 1)]
    assert results[1].summary.ties == 1 - results[1].summary.identical
    assert len(opening.judges) == 1
    assert opening.judges[0].closed
    assert opening.needed[0] > 2 * 99
    assert verdict_path(config, "tuned", "base") == (
        tmp_path / "outputs" / "small" / "judge" / "tuned__base.jsonl"
    )


def test_a_finished_judgement_again_opens_nobody(tmp_path: Path) -> None:
    config = series(tmp_path)
    before = judge_series(config, RECORDS, samples_of, _Opening())
    opening = _Opening()
    assert judge_series(config, RECORDS, samples_of, opening) == before
    assert opening.judges == []
    assert judged_series(config, RECORDS, samples_of) == before


def test_what_was_not_judged_yet_is_missing_when_read(tmp_path: Path) -> None:
    [first, _] = judged_series(series(tmp_path), RECORDS, samples_of)
    assert first.summary.missing == {"judge, ab: not asked; ba: not asked": 2}
    assert not (tmp_path / "outputs").exists()


def test_named_pairs_and_aliases_are_compared_and_limits_kept(tmp_path: Path) -> None:
    judge = {"engine": ENGINE, "pairs": [["both", "baseline_v1"]], "limit": 1}
    config, progress = series(tmp_path, judge=judge), _Noting()
    [result] = judge_series(config, RECORDS, samples_of, _Opening(), progress=progress)
    assert (result.summary.a, result.summary.b, result.summary.pairs) == ("both", "base", 1)
    assert "prefer their own" in progress.notes[0]


def test_gold_evidence_is_shown_and_its_source_is_part_of_the_key(tmp_path: Path) -> None:
    config = series(tmp_path)

    def texts(record: TaskRecord) -> list[str]:
        return [f"evidence of {record.id}"]

    opening = _Opening()
    judge_series(config, RECORDS, samples_of, opening, gold=Gold(texts, {"index": 1}))
    shown = sections(opening.jobs[0].messages[0]["content"])
    assert shown["Evidence"].startswith("evidence of q")
    again, progress = _Opening(), _Noting()
    judge_series(config, RECORDS, samples_of, again, gold=Gold(texts, {"index": 2}),
                 progress=progress)  # fmt: skip
    assert len(again.jobs) == len(opening.jobs)
    assert any("were moved to tuned__base.previous-" in note for note in progress.notes)


def test_a_judge_whose_files_changed_is_asked_who_it_is(tmp_path: Path) -> None:
    config, facts = series(tmp_path), {"model": {"files": {"m.gguf": [1, 2, "aa"]}}}
    judge_series(config, RECORDS, samples_of, _Opening(), facts=facts)
    same = _Opening()
    touched = {"model": {"files": {"m.gguf": [1, 3, "aa"]}}}
    judge_series(config, RECORDS, samples_of, same, facts=touched)
    assert same.judges == []
    equal = _Opening()
    changed = {"model": {"files": {"m.gguf": [1, 3, "bb"]}}}
    judge_series(config, RECORDS, samples_of, equal, facts=changed)
    assert (len(equal.judges), equal.jobs) == (1, [])
    other = _Opening(version=2)
    replaced = {"model": {"files": {"m.gguf": [1, 3, "cc"]}}}
    judge_series(config, RECORDS, samples_of, other, facts=replaced)
    assert len(other.jobs) == 8


def test_experiments_without_answers_are_left_out_and_said(tmp_path: Path) -> None:
    progress, opening = _Noting(), _Opening()
    some = {"base": samples_of("base"), "tuned": samples_of("tuned"), "both": []}
    [result] = judge_series(series(tmp_path), RECORDS, some.__getitem__, opening,
                            progress=progress)  # fmt: skip
    assert result.summary.a == "tuned"
    assert progress.notes == ["both and base are not compared: both has no answers."]
    assert judge_series(series(tmp_path), RECORDS, no_samples, _Opening()) == []


def test_replies_are_judged_as_replies(tmp_path: Path) -> None:
    experiments = {name: {"engine": ENGINE, "task": "reply"} for name in ("base", "tuned")}

    def replies(name: str) -> list[Sample]:
        return [sample(name, "r0", f"hey from {name}", task_type="reply")]

    opening = _Opening()
    [result] = judge_series(series(tmp_path, experiments=experiments), RECORDS, replies, opening)
    assert result.summary.wins == 1
    shown = sections(opening.jobs[0].messages[0]["content"])
    assert shown["A reply that a person wrote"] == "hello"
    assert "Reply A" in shown


def test_a_flood_of_malformed_verdicts_leaves_everything_missing(tmp_path: Path) -> None:
    results = judge_series(series(tmp_path), RECORDS, samples_of, _Opening(lambda job: "?"))
    assert all(r.summary.judged == r.summary.identical for r in results)
    assert all(r.summary.win_rate is None for r in results)
    assert results[0].summary.attempts == 8


@pytest.mark.parametrize(("pair", "reason"), [
    (("base", "nobody"), "nobody is no experiment"),
    (("base", "baseline_v1"), "the same experiment"),
    (("base", "scores"), "the task qa and scores score"),
    (("scores", "scores2"), "the task score and scores2 score"),
])  # fmt: skip
def test_pairs_that_cannot_be_compared_are_refused(
    tmp_path: Path, pair: tuple[str, str], reason: str
) -> None:
    score = {"task": "score", "engine": {"kind": "classifier", "model": "m"}}
    experiments = {"base": {"engine": ENGINE}, "scores": score, "scores2": score}
    with pytest.raises(InputError, match=reason):
        check_pair(series(tmp_path, experiments=experiments), *pair)


def test_a_series_without_a_judge_or_with_a_baseline_of_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no judge"):
        pair_names(series(tmp_path, judge=None))
    score = {"task": "score", "engine": {"kind": "classifier", "model": "m"}}
    config = series(tmp_path, experiments={"base": score, "tuned": {"engine": ENGINE}})
    with pytest.raises(InputError, match="no texts to compare"):
        pair_names(config)


def test_no_two_pairs_share_a_file(tmp_path: Path) -> None:
    config = series(tmp_path)
    names = [
        ("a__b", "c"),
        ("a", "b__c"),
        ("a", "b"),
        ("x" * 190, "y" * 190),
        ("x" * 190, "z" * 190),
    ]
    paths = {verdict_path(config, *pair) for pair in names}
    assert len(paths) == len(names)
    assert all(len(path.name.encode()) < 150 for path in paths)


def test_only_asked_verdicts_count_where_a_judge_prefers_the_second(tmp_path: Path) -> None:
    results = judge_series(
        series(tmp_path), RECORDS, samples_of, _Opening(lambda job: verdict("B"))
    )
    summary = results[0].summary
    assert (summary.win_rate, summary.first_rate, summary.flips) == (0.5, 0.0, 2)
    told = summary.to_json()
    assert told["disagreement_rate"] == 1.0
    assert told["judged"] == 2
