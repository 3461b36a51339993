"""Factuality by match, by claims and by a judge; their agreement; what is opened for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from loragraft.dataset.records import Qa, TaskRecord
from loragraft.errors import InputError
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.metrics.factuality import ByClaims, agreement
from loragraft.experiment.metrics.grounding.opening import open_support
from loragraft.experiment.metrics.opening import Tools, open_context
from loragraft.experiment.metrics.registry import compute, metrics_for
from loragraft.experiment.records import Sample, Score
from tests.support.answers import asked, cite, sample
from tests.support.judging import RuleJudge, sections, verdict

GOLD = "The eel lives in Loch Sorrel. It weighs 900 g. It eats moth larvae."
LONG = "The eel lives in Loch Sorrel. It weighs 900 g. It eats trout in winter."
RECORDS: dict[str, TaskRecord] = {
    "q1": asked("eel", question="Which fish is it?", evidence=("lake#0-90",)),
    "q2": asked("eel", id="q2", question="Which fish is it?"),
}


def gold(record: TaskRecord) -> list[str]:
    """Return the evidence of those that name one."""
    return [GOLD] if isinstance(record, Qa) and record.evidence else []


def scores_of(samples: list[Sample], records: Mapping[str, TaskRecord]) -> dict[str, Score]:
    metric = ByClaims((open_support("overlap"),), gold, 3)
    return {f"{one.question_id} {one.metric}": one for one in metric.scores(samples, records)}


def test_long_answers_are_judged_claim_by_claim() -> None:
    found = scores_of([sample(LONG), sample(LONG, "q2")], RECORDS)
    claims = found["q1 factuality_claims_overlap"]
    assert claims.value == pytest.approx(2 / 3)
    assert found["q1 factuality"].value == pytest.approx(2 / 3)
    assert found["q1 factuality_match"].value == 1.0
    assert [one["supported"] for one in claims.detail["claims"]] == [True, True, False]
    # Without gold evidence, a long answer is compared as a short one is.
    assert found["q2 factuality"].value == 1.0
    assert found["q2 factuality_claims_overlap"].status == "unscorable"


def test_short_answers_are_compared() -> None:
    found = scores_of([sample("The trout."), sample("", "q2", status="timeout")], RECORDS)
    assert found["q1 factuality"].value == 0.0
    assert found["q1 factuality_claims_overlap"].status == "unscorable"
    assert {one.status for name, one in found.items() if name[:2] == "q2"} == {"timeout"}


def test_citations_are_no_part_of_an_answer() -> None:
    text = "It is the [P1] eel [P2]."
    cites = (cite(text, "[P1]", "P1"), cite(text, "[P2]", "P2"))
    assert scores_of([sample(text, citations=cites)], RECORDS)["q1 factuality"].value == 1.0


def series(**changes: object) -> SeriesConfig:
    return SeriesConfig.model_validate({
        "series": "lakes", "data": {"files": ["x.jsonl"]}, "baseline": "closed",
        "experiments": {"closed": {"engine": {"kind": "llama", "model": "base"}}},
        **changes,
    })  # fmt: skip


JUDGE = {"engine": {"kind": "openai", "model": "judge"}}


def test_a_judge_is_opened_once_and_asked_once(tmp_path: Path) -> None:
    judge = RuleJudge(lambda job: verdict("correct" if "eel" in _answer(job.messages[0]["content"])
                                          else "incorrect"))  # fmt: skip
    opened: list[int] = []

    def open_judge(needed: int) -> RuleJudge:
        opened.append(needed)
        return judge

    config = series(judge=JUDGE, metrics={"groups": ["factuality"], "factuality": "judge"})
    samples = [sample("It is the eel."), sample("A trout.", "q2")]
    for _ in range(2):
        with Tools(config, open_judge=open_judge, verdicts=tmp_path) as tools:
            metrics = metrics_for(config.metrics, "qa", open_context(config, "closed", tools))
            found = [one for one in compute(metrics, samples, RECORDS)
                     if one.metric == "factuality_judge"]  # fmt: skip
        assert [one.value for one in found] == [1.0, 0.0]
        assert judge.closed
    assert len(opened) == 2
    assert len(judge.jobs) == 2  # the second time, verdicts came from the file


def _answer(prompt: str) -> str:
    return next((text for name, text in sections(prompt).items() if name == "Answer"), "")


def test_a_judge_that_says_nothing_is_missing() -> None:
    config = series(judge=JUDGE, metrics={"groups": ["factuality"], "factuality": "judge"})
    with Tools(config, open_judge=lambda needed: RuleJudge(lambda job: "Hm.")) as tools:
        metrics = metrics_for(config.metrics, "qa", open_context(config, "closed", tools))
        found = list(compute(metrics, [sample("eel")], RECORDS))
    said = {one.metric: one for one in found}
    assert said["factuality_judge"].status == "parse_error"
    assert said["factuality"].value == 1.0


def test_without_a_judge_one_is_asked_for() -> None:
    config = series(metrics={"groups": ["factuality"], "factuality": "judge"})
    with Tools(config) as tools:
        metrics = metrics_for(config.metrics, "qa", open_context(config, "closed", tools))
        scores = compute(metrics, [sample("eel")], RECORDS)
        with pytest.raises(InputError, match=r"judge\.engine"):
            list(scores)


def test_agreement_by_hand() -> None:
    values = {"match": [1.0, 1.0, 0.0, 0.0], "judge": [1.0, 0.0, 0.0, 0.0]}
    scores = [
        Score(f"q{n}", 0, f"factuality_{way}", "ok", value)
        for way, found in values.items() for n, value in enumerate(found)
    ]  # fmt: skip
    scores.append(Score("q9", 0, "factuality_judge", "parse_error"))
    (one,) = agreement(scores)
    assert one.info.name == "agreement: judge and match"
    assert (one.value, one.count) == (0.75, 4)
    assert one.detail["kappa"] == pytest.approx(0.5)  # chance 0.5: (0.75 - 0.5) / 0.5
    assert json.dumps(one.to_json())
    assert agreement([]) == []
