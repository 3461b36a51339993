"""Whatever an endpoint sends, it is an answer, a failure of one question, or an error in words."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.engine.batch import anthropic_pieces, openai_pieces
from loragraft.engine.batch.choices import Candidate, sums_of
from loragraft.engine.batch.endpoint import _data
from loragraft.engine.batch.failing import FailedError
from loragraft.engine.batch.heard import Heard, cost_of, split_thinking
from loragraft.engine.batch.ollama import _take
from loragraft.engine.batch.refusals import SHOWN, Place, read_refusal, refuse
from loragraft.errors import LoragraftError

PLACE = Place("http://h/v1", "m", "MY_KEY")
KEYS = st.sampled_from([
    "choices", "delta", "message", "content", "text", "reasoning_content", "refusal", "usage",
    "finish_reason", "logprobs", "top_logprobs", "error", "code", "type", "thinking", "input",
    "prompt_tokens", "completion_tokens", "content_block", "stop_reason", "partial_json", "done",
    "response", "eval_count", "done_reason", "token", "logprob", "bytes", "param", "detail",
])  # fmt: skip
KINDS = st.sampled_from([
    "message_start", "content_block_start", "content_block_delta", "message_delta",
    "message_stop", "message", "error", "thinking", "text", "overloaded_error", "stop", "length",
])  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | KINDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)
PIECES = st.lists(st.dictionaries(KEYS, VALUES, max_size=6), max_size=5)


in_words = contextlib.suppress(FailedError, LoragraftError)


def checked(heard: Heard) -> None:
    """Whatever was heard makes a reply of texts and counts."""
    reply = heard.reply("stop", ("END",))
    assert isinstance(reply.text, str)
    assert isinstance(reply.thinking, str)
    assert reply.tokens >= 0
    assert reply.prompt_tokens >= 0
    assert reply.seconds >= 0


@settings(max_examples=50)
@given(PIECES)
def test_pieces_of_any_shape(pieces: list[dict[str, Any]]) -> None:
    dialects: Any = ((openai_pieces, "take_piece"), (anthropic_pieces, "take_event"))
    for dialect, name in dialects:
        heard, take = Heard(), getattr(dialect, name)
        with in_words:
            for piece in [*pieces, None]:
                take(heard, piece, PLACE, str)
            assert dialect.finish_of(heard, PLACE) in ("stop", "length", "context")
        checked(heard)
    heard = Heard()
    for piece in pieces:
        _take(heard, piece)
    checked(heard)


@given(st.integers(300, 599), st.binary(max_size=80) | VALUES.map(json.dumps).map(str.encode))
def test_refusals_of_any_shape(status: int, body: bytes) -> None:
    said = read_refusal(body.decode("utf-8", "replace"))
    assert said.words.isprintable()
    assert len(said.words) <= SHOWN + 4
    with pytest.raises((FailedError, LoragraftError)) as raised:
        refuse(PLACE, status, {"Retry-After": "soon"}, said)
    assert getattr(raised.value, "words", "") or str(raised.value)


@given(st.lists(st.text("ab :\r{}é", max_size=6), max_size=6), st.lists(st.integers(1, 5)))
def test_events_are_the_same_however_they_are_cut(lines: list[str], cuts: list[int]) -> None:
    data = "".join(f"data: {line}\n\n" for line in lines).encode()
    blocks, at = [], 0
    for cut in cuts:
        blocks.append(data[at : at + cut])
        at += cut
    whole = list(_data(iter([data]), PLACE))
    assert list(_data(iter([*blocks, data[at:]]), PLACE)) == whole
    assert whole == [line.rstrip("\r") for line in lines]


@given(VALUES, st.lists(st.text(max_size=3), max_size=3))
def test_candidates_of_any_shape(entry: object, texts: list[str]) -> None:
    found = Candidate.read(entry)
    sums = sums_of([found] if found else [], texts)
    assert len(sums) == len(texts)
    assert all(number <= 0 and not math.isnan(number) for number in sums)


def test_likeliest_tokens_are_told_by_their_bytes() -> None:
    entries = [
        {"token": "\ufffd", "logprob": -0.5, "bytes": [0xC3]}, {"token": "Yes", "logprob": -1.0},
        {"token": "no", "logprob": -2, "bytes": [110, 111]}, {"token": "x", "logprob": -9999999999},
        {"token": "y", "logprob": float("nan")}, {"token": "z", "logprob": True}, {"token": 7}, 3,
        {"token": "w", "logprob": 1e-5},
    ]  # fmt: skip
    found = [candidate for entry in entries if (candidate := Candidate.read(entry)) is not None]
    assert sums_of(found, ("Yes", "no", "x", "y", "w")) == (-1.0, -2.0, -math.inf, -math.inf, 0.0)


@given(st.text("<think>/\n ab[]THINK", max_size=40))
def test_nothing_is_lost_of_an_answer_but_tags_and_blanks(text: str) -> None:
    answer, thinking = split_thinking(text)
    if "think>" not in text and "THINK]" not in text:
        assert (answer, thinking) == (text, "")
    assert len(answer) + len(thinking) <= len(text)


def test_what_an_answer_costs() -> None:
    assert cost_of(1_000_000, 500_000, 0.4, 1.6) == pytest.approx(1.2)
    assert cost_of(10, 10, None, 1.6) is None
    assert cost_of(None, 10, 0.4, 1.6) is None
    assert cost_of(10, 10, 0.0, 0.0) == 0.0
