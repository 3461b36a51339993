"""Each kind of leak is found where it was planted, and nothing where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragraft.dataset.leaks import find
from loragraft.dataset.leaks.find import find_leaks
from loragraft.dataset.leaks.report import (
    ANSWER,
    EXACT,
    NEAR,
    NORMALISED,
    SAME_ID,
    TRAINING_TEXT,
    LeakReport,
)
from loragraft.errors import InputError
from tests.dataset.leaks.records import (
    TEST,
    TRAIN,
    Row,
    pair,
    planted,
    qa,
    reply,
    score,
    write_rows,
    write_splits,
)


def look(folder: Path, **more: Row) -> LeakReport:
    return find_leaks(write_splits(folder, planted(**more)))


def only(report: LeakReport) -> tuple[str, str, str]:
    """Return kind and ids of the one leak that a report has."""
    leaks = [leak for leak in report.leaks if leak.severity == "leak"]
    assert len(leaks) == 1, leaks
    assert not report.clean
    assert report.failing == 1
    return leaks[0].kind, leaks[0].first.id, leaks[0].second.id


def test_a_clean_set_is_clean(tmp_path: Path) -> None:
    report = look(tmp_path)
    assert report.clean
    assert report.leaks == ()
    assert report.counts == ()
    assert report.records == {"train": 6, "val": 2, "test": 4}
    assert report.verdict == "No leaks were found."


def test_the_same_question_in_test_and_training(tmp_path: Path) -> None:
    copy = qa("x9", TRAIN[3]["question"], "4,312")
    report = look(tmp_path, test=copy)
    assert only(report) == (EXACT, "x9", "t4")
    assert report.leaks[0].why == "the same answer"
    assert report.leaks[0].first.where == "test"
    assert report.leaks[0].second.text == TRAIN[3]["question"]


def test_the_same_question_with_another_answer_says_so(tmp_path: Path) -> None:
    report = look(tmp_path, test=qa("x9", TRAIN[3]["question"], "some seven hundred"))
    assert only(report)[0] == EXACT
    assert "another answer" in report.leaks[0].why


def test_the_same_id(tmp_path: Path) -> None:
    assert only(look(tmp_path, val=qa("t2", "What do amber wasps of the north feed on?"))) == (
        SAME_ID, "t2", "t2",
    )  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        "how many NESTS of the blue marsh-warbler stood on Skerry isle — in spring",
        "\uff28ow many nests of the blue marsh warbler stood on Skerry isle in spring\uff1f",
        "How many nests, of the blue marsh warbler\u00a0stood on Skerry isle \u201cin spring\u201d",
    ],
)
def test_case_punctuation_and_forms_of_characters(tmp_path: Path, changed: str) -> None:
    assert only(look(tmp_path, test=qa("x9", changed, "4,312"))) == (NORMALISED, "x9", "t4")


def test_nearly_the_same_words(tmp_path: Path) -> None:
    changed = "How many nests of the blue marsh warbler stood on Skerry isle in early spring?"
    report = look(tmp_path, test=qa("x9", changed, "4,312"))
    assert only(report) == (NEAR, "x9", "t4")
    assert report.leaks[0].score == pytest.approx(0.968, abs=0.02)
    assert report.leaks[0].why == "alike by words, with the same answer"


def test_words_in_another_order(tmp_path: Path) -> None:
    report = look(tmp_path, test=qa("x9", "Is chalk softer than tessarite?", "yes"))
    assert only(report) == (NEAR, "x9", "t3")


def test_another_thing_asked_in_the_same_words_is_a_note(tmp_path: Path) -> None:
    changed = "How many nests of the blue marsh warbler stood on Lundy isle in spring?"
    report = look(tmp_path, test=qa("x9", changed, "2,870"))
    assert report.clean
    assert [(leak.kind, leak.severity, leak.first.id) for leak in report.leaks] == [
        (NEAR, "note", "x9")
    ]
    assert "each names something else" in report.leaks[0].why


@pytest.mark.parametrize(
    ("question", "answer", "severity"),
    [
        ("How many nests of the blue marsh warbler stood on Skerry Island in spring?",
         "some 4,312 nests", "leak"),  # one fact, called otherwise
        ("How many nests of the blue marsh warbler stood on Skerry isle in autumn?", "37", "leak"),
        ("How many nests of the blue marsh warbler stood on Skerry isle in autumn?", "3,700",
         "note"),
        ("How many nests of the blue marsh warbler stood on Lundy isle in spring?", "37", "note"),
    ],
)  # fmt: skip
def test_what_makes_two_questions_one(
    tmp_path: Path, question: str, answer: str, severity: str
) -> None:
    report = look(tmp_path, test=qa("x9", question, answer))
    assert [(leak.kind, leak.severity) for leak in report.leaks] == [(NEAR, severity)]


def test_an_answer_that_many_give_is_a_label(tmp_path: Path) -> None:
    rows = [
        qa(
            f"t{n}",
            f"Which lens was used for the {word} plates at Orsk observatory that year?",
            "quartz lens",
        )
        for n, word in enumerate(("first", "second", "third", "fourth"))
    ]
    test = qa("x1", "Which lens was used for the first plates at Brannock observatory that year?",
              "quartz lens")  # fmt: skip
    report = find_leaks(write_splits(tmp_path, {"train": rows, "test": [test]}))
    assert [(leak.kind, leak.severity) for leak in report.leaks] == [(NEAR, "note")]
    assert report.leaks[0].why == "alike by words, but each names something else"


def test_an_answer_in_the_question_of_another_split(tmp_path: Path) -> None:
    telling = qa("t9", "Why does the queen of the amber wasp live for 31 months in captivity?", "x")
    report = look(tmp_path, train=telling)
    assert only(report) == (ANSWER, "x1", "t9")
    assert "'31 months'" in report.leaks[0].why


def test_a_test_question_that_holds_what_training_answered(tmp_path: Path) -> None:
    asking = qa("x9", "Which alloy melts at 412 K, a temperature that few reach?", "velorin")
    assert only(look(tmp_path, test=asking)) == (ANSWER, "x9", "t1")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How thick is the coat of Tolvane pitch on the bridge of Orsk?", "4 mm"),  # another matter
        ("Does pressure change how fast brinestone forms, or does it not?", "no"),  # a choice
    ],
)
def test_an_answer_that_stands_elsewhere_by_itself_is_none(
    tmp_path: Path, question: str, answer: str
) -> None:
    report = look(tmp_path, train=qa("t9", question, answer))
    assert report.clean
    assert [leak.severity for leak in report.leaks] == ["note"] * ("pitch" in question)
    assert all(leak.why.endswith("about something else") for leak in report.leaks)


def test_a_test_question_inside_a_training_reply(tmp_path: Path) -> None:
    text = f"Somebody asked me: {TEST[0]['question'].lower()} I could not say."
    assert only(look(tmp_path, train=reply("t9", "What was your exam like?", text))) == (
        TRAINING_TEXT, "x1", "t9",
    )  # fmt: skip


def test_a_test_question_inside_a_field_that_we_do_not_know(tmp_path: Path) -> None:
    row = {**qa("t9", "What do amber wasps of the north feed on?"),
           "context": {"pages": ["…", f"Exercise: {TEST[1]['question']}"]}}  # fmt: skip
    assert only(look(tmp_path, train=row)) == (TRAINING_TEXT, "x2", "t9")


def test_replies_leak_by_their_prompt(tmp_path: Path) -> None:
    splits = {
        "train": [reply("a", "The tide came in twice today, and nobody knows why.", "Moon.")],
        "test": [reply("b", "The tide came in twice today and nobody knows why!", "Two moons!")],
    }
    assert only(find_leaks(write_splits(tmp_path, splits))) == (NORMALISED, "b", "a")


def test_the_rule_of_a_score_is_no_leak_and_its_body_is(tmp_path: Path) -> None:
    rule = "No advertising: posts that promote a shop, a channel or a product are not allowed here."
    bodies = [f"post number {n} tells of {word} and nothing else at all" for n, word in
              enumerate(("rivers", "stones", "lamps", "ferries", "violins", "poems"))]  # fmt: skip
    rows = [score(f"s{n}", 0.0, rule=rule, body=body) for n, body in enumerate(bodies)]
    clean = {"train": rows[:4], "test": rows[4:]}
    assert find_leaks(write_splits(tmp_path / "clean", clean)).clean
    copy = score("copy", 1.0, rule=rule, body=bodies[1].upper())
    assert only(
        find_leaks(write_splits(tmp_path / "planted", {**clean, "test": [*rows[4:], copy]}))
    ) == (NORMALISED, "copy", "s1")


def test_a_pair_the_other_way_round(tmp_path: Path) -> None:
    splits = {
        "train": [pair("a", "A ferry crosses the sound.", "Boats go over the strait.")],
        "test": [
            pair("b", "Boats go over the strait", "a ferry crosses the sound"),
            pair("c", "Boats go over the strait, and trains below it.", "Tunnels are dry."),
        ],
    }
    report = find_leaks(write_splits(tmp_path, splits))
    assert only(report) == (NORMALISED, "b", "a")
    assert "other way round" in report.leaks[0].why


def test_validation_is_compared_with_both(tmp_path: Path) -> None:
    report = look(tmp_path, val=qa("v9", TRAIN[0]["question"], "412 K"), test=qa("x9", *_again()))
    found = {(leak.kind, leak.first.id, leak.second.id) for leak in report.leaks}
    assert found == {(EXACT, "v9", "t1"), (EXACT, "x9", "v1")}
    assert [dict(count.records) for count in report.counts] == [{"test": 1, "val": 1}]


def _again() -> tuple[str, str]:
    return "Which gas leaves the vents of mount Orrun at night?", "hydrogen sulphide"


def test_many_copies_are_one_finding_each(tmp_path: Path) -> None:
    question = "Which gas leaves the vents of mount Orrun in the morning?"
    splits = {
        "train": [qa(f"a{n:04}", question, "argon") for n in range(300)],
        "test": [qa(f"b{n:04}", question, "argon") for n in range(1200)],
    }
    report = find_leaks(write_splits(tmp_path, splits))
    assert {leak.second.id for leak in report.leaks} == {"a0000"}
    assert report.counts[0].found == 1200
    assert len(report.leaks) == 1000


def test_one_split_alone_has_no_leaks(tmp_path: Path) -> None:
    rows = [*TRAIN, *TRAIN[:0], qa("t9", TRAIN[0]["question"], "412 K")]
    assert find_leaks(write_splits(tmp_path, {"test": rows})).clean


@pytest.mark.parametrize("near", [0.0, 0.3, 1.01, float("nan")])
def test_a_similarity_that_is_none(tmp_path: Path, near: float) -> None:
    with pytest.raises(InputError, match="expected a cosine"):
        find_leaks(write_splits(tmp_path, planted()), near=near)


def test_a_broken_record_is_named_with_its_line(tmp_path: Path) -> None:
    splits = write_splits(tmp_path, planted())
    write_rows(splits["test"], [*TEST, {"id": "x9", "kind": "qa", "task_type": "fact"}])
    with pytest.raises(InputError, match=r"test\.jsonl.*line 5"):
        find_leaks(splits)


def test_an_empty_split_is_said_and_an_empty_set_refused(tmp_path: Path) -> None:
    report = find_leaks(write_splits(tmp_path, {"train": TRAIN, "val": [], "test": TEST}))
    assert report.clean
    assert "val holds no records." in report.unchecked
    with pytest.raises(InputError, match="hold no records"):
        find_leaks(write_splits(tmp_path, {"train": [], "test": []}))


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no regular file"):
        find_leaks({"train": tmp_path})


def test_a_file_that_changes_meanwhile_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = write_splits(tmp_path, planted())

    def shorten(*_: object) -> None:
        write_rows(splits["test"], TEST[:1])

    monkeypatch.setattr(find, "find_same", shorten)
    with pytest.raises(InputError, match=r"test\.jsonl was changed while it was read"):
        find_leaks(splits)


def test_endless_texts_are_compared_by_what_they_share(tmp_path: Path) -> None:
    text = " ".join(f"word{n}" for n in range(3000))
    splits = {
        "train": [reply("a", f"{text} and a first end", "x"), reply("c", text[::-1], "x")],
        "test": [reply("b", f"one beginning and {text}", "x")],
    }
    assert only(find_leaks(write_splits(tmp_path, splits))) == (NEAR, "b", "a")


def test_no_split_at_all() -> None:
    with pytest.raises(InputError, match="No split"):
        find_leaks({})
