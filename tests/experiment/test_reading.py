"""Samples and scores survive the way to a file and back; what is no sample is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.artifact.jsonl import dump_line
from loragraft.errors import InputError
from loragraft.experiment.reading import (
    CLIPPED,
    LONGEST_TEXT,
    parse_sample,
    parse_score,
    sample_json,
    score_json,
    whole_text,
)
from loragraft.experiment.records import PassageShown, Retrieved, Sample, Score
from loragraft.experiment.store import read_samples

SAMPLE = Sample(
    experiment="one", question_id="q", repeat=0, task_type="numeric", paper_id="p", seed=5,
    messages=({"role": "user", "content": "How many?"},), status="ok", raw="12 [P1]",
    answer="12", parsed=0.5, retrieved=(Retrieved("c", "d", 0, 4, 0.75),),
    shown=(PassageShown("P1", "c", "d", "Title", 0, 4, "text", 0.75, 1),),
    citations=({"label": "P1", "start": 3, "stop": 7, "known": True},), finish="stop",
    prompt_tokens=9, tokens=3, first_seconds=0.1, seconds=0.2, extra={"cosines": [0.1, 0.2]},
    record="ab", tries=2,
)  # fmt: skip


PASSAGE = {"chunk_id": "c", "doc_id": "d", "start": 0, "stop": 4, "score": 0.5}
LONG = 10**399
"""A number that no float holds."""


def through_a_file(sample: Sample) -> Sample:
    """Return a sample as it is after it was written and read."""
    return parse_sample(json.loads(dump_line(sample_json(sample))))


def test_a_sample_survives() -> None:
    assert through_a_file(SAMPLE) == SAMPLE
    failed = replace(SAMPLE, status="timeout", parsed=None, finish=None, seed=None, error="late")
    assert through_a_file(failed) == failed


@given(st.text(st.characters()), st.text(st.characters()))
def test_any_text_can_be_written(answer: str, error: str) -> None:
    read = through_a_file(replace(SAMPLE, answer=answer, error=error))
    assert (read.answer, read.error) == (whole_text(answer), whole_text(error))


@pytest.mark.parametrize(
    ("text", "whole"),
    [("a\ud800b", "a�b"), ("\ud83d\ude00", "😀"), ("naïve ☃", "naïve ☃"), ("plain", "plain")],
)
def test_half_characters_are_replaced_and_others_kept(text: str, whole: str) -> None:
    assert whole_text(text) == whole


def test_numbers_that_are_none_do_not_reach_the_file() -> None:
    odd = replace(SAMPLE, parsed=float("nan"), seconds=float("inf"), extra={"p": [float("nan")]})
    read = through_a_file(odd)
    assert (read.parsed, read.seconds, read.extra) == (None, None, {"p": ["NaN"]})


def test_an_endless_answer_is_clipped_and_says_so() -> None:
    read = through_a_file(replace(SAMPLE, raw="x" * (LONGEST_TEXT + 5)))
    assert len(read.raw) == LONGEST_TEXT
    assert read.extra[CLIPPED] is True


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("question_id", 3), ("repeat", -1), ("repeat", True), ("status", "fine"), ("status", []),
        ("finish", "never"), ("messages", "hello"), ("messages", [{"role": "user"}]),
        ("messages", [{"role": "user", "content": 3}]), ("retrieved", [{"chunk_id": "c"}]),
        ("shown", [3]), ("parsed", "0.5"), ("parsed", True), ("seed", 1.5), ("extra", []),
        ("tries", None), ("citations", {}), ("tokens", LONG), ("seed", -LONG), ("repeat", LONG),
        ("first_seconds", LONG), ("cost", -LONG), ("extra", {"threshold": [LONG]}),
        ("citations", [{"start": LONG}]), ("retrieved", [{**PASSAGE, "start": LONG}]),
        ("retrieved", [{**PASSAGE, "score": LONG}]), ("retrieved", [{**PASSAGE, "score": 1e999}]),
    ],
)  # fmt: skip
def test_what_is_no_sample_is_refused_by_its_field(field: str, value: Any) -> None:  # noqa: ANN401
    values = {**sample_json(SAMPLE), field: value}
    with pytest.raises(InputError, match=field):
        parse_sample(values)
    del values[field]
    if field not in ("parsed", "seed", "finish", "tokens", "first_seconds", "cost"):
        with pytest.raises(InputError, match="missing"):
            parse_sample(values)


def test_scores_survive_and_have_a_value_if_and_only_if_they_are_ok() -> None:
    good = Score("q", 0, "exact_match", "ok", 1.0, {"reason": "same"})
    missing = Score("q", 1, "exact_match", "timeout")
    for score in (good, missing):
        assert parse_score(json.loads(dump_line(score_json(score)))) == score
    for broken in (replace(good, value=None), replace(missing, value=0.0)):
        with pytest.raises(InputError, match="status"):
            parse_score(score_json(broken))


@pytest.mark.parametrize("change", [{"value": LONG}, {"repeat": LONG}, {"detail": {"of": LONG}}])
def test_a_score_that_no_float_holds_is_refused(change: dict[str, Any]) -> None:
    values = {**score_json(Score("q", 0, "exact_match", "ok", 1.0)), **change}
    with pytest.raises(InputError, match=next(iter(change))):
        parse_score(values)


def test_a_line_that_no_float_holds_counts_as_no_sample(tmp_path: Path) -> None:
    lines = [{**sample_json(SAMPLE), "question_id": name} for name in ("good", "bad")]
    lines[1]["tokens"] = LONG
    (tmp_path / "samples.jsonl").write_bytes(b"".join(map(dump_line, lines)))
    assert list(read_samples(tmp_path)) == [("good", 0)]
