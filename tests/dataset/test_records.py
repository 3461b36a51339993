"""Task records: what is one, which field is wrong, and what stands in a file of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.dataset.records import (
    KINDS,
    Embedding,
    Evidence,
    Qa,
    Reply,
    Score,
    answered,
    asked,
    kind_of,
    parse_evidence,
    parse_record,
    read_records,
    to_json,
)
from loragraft.errors import InputError

QA = {"kind": "qa", "id": "q1", "task_type": "numeric", "question": "How hot?",
      "answers": ["412 K", "412 kelvin"], "evidence": ["p1#10-20", "p2"],
      "paper_id": "p1"}  # fmt: skip
SCORE = {"kind": "score", "id": "s1", "task_type": "rule", "label": 0.25,
         "fields": {"rule": "No insults.", "body": "Hello.", "examples": ["a", "b"]}}  # fmt: skip
REPLY = {"kind": "reply", "id": "r1", "task_type": "reply", "prompt": "Hi.", "reply": "Hello."}
PAIR = {"kind": "embedding", "id": "e1", "task_type": "pair", "a": "x", "b": "y", "label": -1}

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
NAME = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20)
COMMON = {"id": NAME, "task_type": NAME}
MORE = {"paper_id": NAME, "source": st.lists(st.integers(), max_size=2), "year": st.none()}
RECORDS = st.one_of(
    st.fixed_dictionaries({"kind": st.just("qa"), **COMMON, "question": TEXT,
                           "answers": st.lists(TEXT, min_size=1, max_size=3)}, optional=MORE),
    st.fixed_dictionaries({"kind": st.just("reply"), **COMMON, "prompt": TEXT, "reply": TEXT},
                          optional=MORE),
    st.fixed_dictionaries({"kind": st.just("score"), **COMMON, "label": st.floats(0, 1),
                           "fields": st.dictionaries(TEXT, TEXT | st.lists(TEXT, min_size=1),
                                                     min_size=1, max_size=3)}, optional=MORE),
    st.fixed_dictionaries({"kind": st.just("embedding"), **COMMON, "a": TEXT, "b": TEXT,
                           "label": st.floats(-1, 1)}, optional=MORE),
)  # fmt: skip


@given(values=RECORDS)
def test_a_record_and_its_json_are_the_same(values: dict[str, Any]) -> None:
    record = parse_record(values)
    assert to_json(record) == values
    assert parse_record(to_json(record)) == record
    assert kind_of(record) == values["kind"]


def test_each_kind_says_what_is_asked_and_answered() -> None:
    qa, score, reply, pair = map(parse_record, (QA, SCORE, REPLY, PAIR))
    assert [type(r) for r in (qa, score, reply, pair)] == [Qa, Score, Reply, Embedding]
    assert (asked(qa), answered(qa)) == ("How hot?", ("412 K", "412 kelvin"))
    assert (asked(score), answered(score)) == ("No insults.\nHello.\na\nb", ("0.25",))
    assert (asked(reply), answered(reply)) == ("Hi.", ("Hello.",))
    assert (asked(pair), answered(pair)) == ("x", ("y",))
    assert KINDS == ("qa", "score", "reply", "embedding")


def test_whole_numbers_are_names_too() -> None:
    record = parse_record({**QA, "id": 7, "paper_id": 12})
    assert (record.id, record.paper_id) == ("7", "12")


def test_what_else_a_record_holds_is_kept() -> None:
    record = parse_record({**REPLY, "question": "kept", "author": {"id": 1}})
    assert record.more == {"question": "kept", "author": {"id": 1}}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({**QA, "kind": "quiz"}, "\"kind\" is 'quiz'; there are qa, score, reply, embedding"),
        ({"id": "x"}, '"kind" is missing; there are qa, score'),
        ({**QA, "id": " "}, "\"id\" is ' '; expected"),
        ({**QA, "id": True}, '"id" is True'),
        ({**QA, "id": "a\nb"}, '"id" is \'a\\nb\''),
        ({**QA, "id": "x" * 2000}, '"id" is \'xxx'),
        ({**QA, "task_type": None}, "\"task_type\" of the record 'q1' is None"),
        ({**QA, "paper_id": ["p"]}, "\"paper_id\" of the record 'q1' is ['p']"),
        ({**QA, "question": " \n"}, '"question" of the record'),
        ({**QA, "answers": []}, "at least one text"),
        ({**QA, "answers": "412 K"}, "a list of texts"),
        ({**QA, "answers": ["", "x"]}, "none of them blank"),
        ({**QA, "evidence": ["p1#20-20"]}, "ends at 20, not behind its start 20"),
        ({**QA, "evidence": [3]}, "a list of texts"),
        ({k: v for k, v in QA.items() if k != "answers"}, "\"answers\" of the record 'q1' is mi"),
        ({**SCORE, "label": 1.5}, "a number from 0 to 1"),
        ({**SCORE, "label": True}, "a number from 0 to 1"),
        ({**SCORE, "label": "0.5"}, "a number from 0 to 1"),
        ({**SCORE, "label": 10**400}, "a number from 0 to 1"),
        ({**SCORE, "fields": {}}, "a text for each part"),
        ({**SCORE, "fields": {"rule": " "}}, "a text for each part"),
        ({**SCORE, "fields": {"rule": 3}}, "'rule' is neither"),
        ({**SCORE, "fields": "text"}, "a text for each part"),
        ({**REPLY, "reply": None}, '"reply" of the record'),
        ({**PAIR, "label": 1.01}, "a number from -1 to 1"),
    ],
)  # fmt: skip
def test_a_field_that_is_wrong_is_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_record(values)
    assert words in str(caught.value)


@given(value=st.dictionaries(st.sampled_from([*QA, *SCORE, "reply", "a"]),
                             st.none() | st.integers() | st.text() | st.sampled_from(KINDS)
                             | st.lists(st.text(), max_size=2)))  # fmt: skip
def test_no_object_is_a_bug(value: dict[str, Any]) -> None:
    try:
        record = parse_record(value)
    except InputError:
        return
    assert parse_record(to_json(record)) == record


def test_evidence_is_a_document_or_a_part_of_one() -> None:
    assert parse_evidence("p1#10-20") == Evidence("p1", 10, 20)
    assert parse_evidence("notes/a#b.md#3-9") == Evidence("notes/a#b.md", 3, 9)
    assert parse_evidence("notes/a.md#top") == Evidence("notes/a.md#top")
    assert parse_evidence("#1-2") == Evidence("#1-2")
    for odd in ("", " ", "p#9-3"):
        with pytest.raises(InputError):
            parse_evidence(odd)


def test_a_file_is_read_record_by_record(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n\n".join(json.dumps(v) for v in (QA, SCORE, REPLY, PAIR)))
    assert [record.id for record in read_records(path)] == ["q1", "s1", "r1", "e1"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([QA, {**REPLY, "id": "q1"}], "line 2 has the id 'q1', as line 1 has"),
        ([{**QA, "id": 7}, {**QA, "id": "7"}], "line 2 has the id '7', as line 1 has"),
        ([QA, {**SCORE, "label": 7}], "line 2: The field \"label\" of the record 's1' is 7"),
        ([], "holds no records"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line(
    tmp_path: Path, lines: list[Any], words: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InputError) as caught:
        list(read_records(path))
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
