"""A judge asked: once, once more after a malformed output, and then it is missing."""

from __future__ import annotations

import pytest

from loragraft.engine.batch.protocol import Answer, Job
from loragraft.experiment.judge.asking import Ask, Asked, Settings, ask_judge
from loragraft.experiment.judge.verdict import PAIR
from tests.support.judging import RuleJudge, verdict

ASKS = [Ask(f"q{number}", f"Compare {number}.", PAIR) for number in range(4)]


def ask(engine: RuleJudge, settings: Settings | None = None) -> dict[str, Asked]:
    found = list(ask_judge(engine, ASKS, settings))
    assert len(found) == len(ASKS)
    return {one.id: one for one in found}


def test_each_question_has_its_own_verdict() -> None:
    def rule(job: Job) -> str:
        return verdict("A" if "2" in job.messages[0]["content"] else "B")

    found = ask(RuleJudge(rule))
    assert {name: one.word for name, one in found.items()} == {
        "q0": "B", "q1": "B", "q2": "A", "q3": "B",
    }  # fmt: skip
    assert found["q1"] == Asked("q1", "ok", "B", "Because.", "", "", 1, 100, 20, 0.5)


def test_jobs_are_greedy_seeded_and_held_to_the_schema() -> None:
    judge = RuleJudge(lambda job: verdict("tie"))
    ask(judge, Settings(max_tokens=77, seed=9))
    [job] = {job.id: job for job in judge.jobs if job.id == "q3"}.values()
    assert (job.sampling.temperature, job.sampling.max_tokens, job.sampling.seed) == (0.0, 77, 9)
    assert job.schema == PAIR.schema()
    assert job.think is False


def test_a_malformed_verdict_is_asked_for_again_with_what_is_wrong() -> None:
    def rule(job: Job) -> str:
        if job.id != "q1" or len(job.messages) > 1:
            return verdict("A")
        return "A, since <|im_end|> it is longer"

    judge = RuleJudge(rule)
    found = ask(judge)
    assert found["q1"].word == "A"
    assert (found["q1"].attempts, found["q1"].tokens, found["q1"].cost) == (2, 40, 1.0)
    last = judge.jobs[-1]
    assert [turn["role"] for turn in last.messages] == ["user", "assistant", "user"]
    assert "<|im_end|>" not in last.messages[1]["content"]
    assert "no JSON object" in last.messages[2]["content"]
    assert len(judge.jobs) == len(ASKS) + 1


def test_what_stays_malformed_is_missing_and_keeps_the_output() -> None:
    judge = RuleJudge(lambda job: "no idea" if job.id == "q0" else verdict("A"))
    found = ask(judge, Settings(retries=2))
    assert found["q0"].status == "parse_error"
    assert found["q0"].word is None
    assert found["q0"].raw == "no idea"
    assert found["q0"].attempts == 3
    assert found["q3"].attempts == 1


def test_without_retries_a_malformed_verdict_is_missing_at_once() -> None:
    judge = RuleJudge(lambda job: "no idea")
    assert {one.status for one in ask(judge, Settings(retries=0)).values()} == {"parse_error"}
    assert len(judge.jobs) == len(ASKS)


@pytest.mark.parametrize("status", ["timeout", "refused", "truncated", "error"])
def test_what_the_engine_could_not_answer_keeps_its_reason(status: str) -> None:
    def rule(job: Job) -> str | Answer:
        if job.id == "q2":
            return Answer(job.id, status, None, "The server went away.", attempts=4)
        return verdict("A")

    found = ask(RuleJudge(rule))["q2"]
    assert (found.status, found.word, found.error, found.attempts) == (
        status, None, "The server went away.", 4,
    )  # fmt: skip


def test_an_engine_that_swallows_or_invents_jobs_loses_none() -> None:
    def rule(job: Job) -> str | Answer:
        return Answer("never asked", "ok", None) if job.id == "q1" else verdict("B")

    found = ask(RuleJudge(rule))
    assert found["q1"].status == "error"
    assert "no answer" in found["q1"].error


def test_two_questions_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="same id"):
        list(ask_judge(RuleJudge(lambda job: verdict("A")), [ASKS[0], ASKS[0]]))
