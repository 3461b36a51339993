"""Samples for browsing: nothing is lost, nothing points nowhere."""

from __future__ import annotations

from dataclasses import replace

from loragraft.dataset.records import Embedding, Reply, Score
from loragraft.experiment.analysis.browse import browsable, expected_of, question_of
from loragraft.experiment.analysis.compared import comparisons_of
from tests.support.measured import FACTUALITY, INFOS, experiment, sample

OLD = experiment("old", {"factuality": [0, 1, 0, 1]})
NEW = experiment("new", {
    "factuality": [1, 0, 0, "timeout"], "grounding_coverage": [1, 0, 0.5, "timeout"],
    "citations_fabricated": [0, 0, 2, "timeout"],
})  # fmt: skip
ARMS = {"old": OLD, "new": NEW}


def tags(name: str) -> list[tuple[str, ...]]:
    found = browsable(ARMS, INFOS, baseline="old", metric="factuality", seen={})
    return [one.answers[name][0].tags for one in found.questions]


def test_tags_count_what_comparisons_count() -> None:
    assert tags("new") == [("win",), ("loss", "ungrounded"), ("tie", "fabricated citation"),
                           ("missing",)]  # fmt: skip
    assert tags("old") == [(), (), (), ()]
    (one,) = comparisons_of(ARMS, {"factuality": FACTUALITY}, "old")
    flat = [tag for some in tags("new") for tag in some]
    assert (one.better, one.worse) == (flat.count("win"), flat.count("loss"))


def test_where_less_is_better_less_wins() -> None:
    infos = {"factuality": replace(FACTUALITY, better="lower")}
    found = browsable(ARMS, infos, baseline="old", metric="factuality", seen={})
    assert [one.answers["new"][0].tags[0] for one in found.questions[:2]] == ["loss", "win"]


def test_questions_and_passages_stand_once_with_every_answer() -> None:
    seen = {"q-000": True, "q-001": None}
    found = browsable(ARMS, INFOS, baseline="old", metric="factuality", seen=seen)
    assert len(found.passages) == 1
    assert found.passages[0].text == "Twelve stones."
    first = found.questions[0]
    assert (first.id, first.question, first.expected) == ("q-000", "How many are 0?", ("0 stones",))
    assert (first.paper, first.seen, found.questions[1].seen) == ("paper-0", True, None)
    answer = first.answers["new"][0]
    (start, stop, label) = answer.citations[0]
    assert (answer.text[start:stop], answer.passages[label]) == ("[P1]", 0)
    assert answer.scores == {"factuality": 1.0, "grounding_coverage": 1.0,
                             "citations_fabricated": 0.0}  # fmt: skip
    assert found.questions[3].answers["new"][0].scores["factuality"] == "timeout"


def test_failed_and_absent_answers_are_shown_as_missing() -> None:
    failed = sample("q-000", status="timeout", answer="", raw="", error="No answer in 30 s.")
    arm = replace(experiment("new", {"factuality": ["timeout"]}, asked=2), samples=[failed])
    found = browsable({"new": arm}, INFOS, baseline="new", metric="factuality", seen={})
    shown = [one.answers["new"][0] for one in found.questions]
    assert [(one.status, one.text, one.tags) for one in shown] == [
        ("timeout", "No answer in 30 s.", ("missing",)), ("not answered", "", ("missing",))
    ]  # fmt: skip
    assert shown[0].citations == ()


def test_edited_citations_that_lie_outside_are_left_out() -> None:
    odd = [{"label": "P1", "start": 0, "stop": 10_000}, {"label": "P1", "start": -3, "stop": 2},
           {"label": 7, "start": 0, "stop": 2}, {"label": "P1", "start": "0", "stop": 2},
           {"start": 0, "stop": 2}, {"label": "P9", "start": 0, "stop": 2}]  # fmt: skip
    arm = replace(experiment("new", {"factuality": [1]}), samples=[
        sample("q-000", citations=tuple(odd))])  # fmt: skip
    found = browsable({"new": arm}, INFOS, baseline="new", metric="factuality", seen={})
    assert found.questions[0].answers["new"][0].citations == ((0, 2, "P9"),)


def test_runs_without_records_show_the_barest_prompt() -> None:
    long = sample("q", messages=({"role": "user", "content": "Passages follow. How many?"},))
    bare = sample("q", messages=({"role": "system", "content": "Be brief."},
                                 {"role": "user", "content": "How many?"}))  # fmt: skip
    arms = {
        name: replace(experiment(name, {}), samples=[one])
        for name, one in (("with", long), ("without", bare))
    }
    found = browsable(arms, INFOS, baseline="with", metric="factuality", seen={})
    assert [(one.question, one.expected) for one in found.questions] == [("How many?", ())]


def test_every_kind_of_record_has_words() -> None:
    score = Score("s", "t", {"rule": "No ads.", "examples": ("a", "b")}, 0.5)
    assert (question_of(score), expected_of(score)) == (
        "rule: No ads.\n\nexamples: a / b",
        ("0.5",),
    )
    pair = Embedding("e", "t", "one", "two", 1.0)
    assert (question_of(pair), expected_of(pair)) == ("one\n\ntwo", ("1",))
    reply = Reply("r", "t", "Hello?", "Hi.")
    assert (question_of(reply), expected_of(reply)) == ("Hello?", ("Hi.",))
