"""Bytes to text: the same text however the bytes are cut, nothing shown too early or lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.engine.answer_text import (
    AnswerText,
    ThinkingSplit,
    ThinkingTags,
    begins_thinking,
    held_back,
    tags_of,
)

TAGS = ThinkingTags("<think>", "</think>")


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


def run(
    pieces: list[bytes], stops: tuple[str, ...] = (), *, tags: bool = False, begun: bool = False
) -> tuple[AnswerText, list[tuple[str, bool]]]:
    text = AnswerText(stops, TAGS if tags else None, begun=begun)
    heard = [item for piece in pieces for item in text.feed(piece)]
    return text, heard + text.finish()


@given(st.text(), st.lists(st.integers(0, 400)))
def test_text_comes_through_however_it_is_cut(said: str, places: list[int]) -> None:
    text, heard = run(cut(said.encode(), places))
    assert text.text == said == "".join(piece for piece, _ in heard)


@given(
    st.text("abc<|>"), st.text("abc<|>"), st.lists(st.integers(0, 99)),
    st.lists(st.text("abc<|>", min_size=1, max_size=4), min_size=1, max_size=3),
)  # fmt: skip
def test_a_stop_text_ends_it_at_its_first_place(
    before: str, after: str, places: list[int], stops: list[str]
) -> None:
    whole = before + stops[0] + after
    first = min(at for stop in stops if (at := whole.find(stop)) >= 0)
    # Cut into single characters the earliest end counts, as while streaming.
    text, heard = run([character.encode() for character in whole], tuple(stops))
    assert text.stopped
    assert whole.startswith(text.text)
    assert not any(stop in text.text for stop in stops)
    assert "".join(piece for piece, _ in heard) == text.text
    once, _ = run([whole.encode()], tuple(stops))
    assert once.text == whole[:first]


@given(st.text("ab\n", max_size=8), st.text("ab\n<", max_size=8), st.lists(st.integers(0, 60)))
def test_thinking_is_told_from_the_answer(thought: str, answer: str, places: list[int]) -> None:
    data = f"\n<think>\n{thought}\n</think>\n\n{answer}".encode()
    text, heard = run(cut(data, places), tags=True)
    assert text.thinking == thought.strip()
    assert text.text == answer.lstrip()
    assert "".join(p for p, thinking in heard if thinking) == text.thinking
    assert "".join(p for p, thinking in heard if not thinking) == text.text


@given(st.lists(st.integers(0, 60)))
def test_thinking_that_the_prompt_has_opened(places: list[int]) -> None:
    text, _ = run(cut(b"first this\n</think>\n\nthen that", places), tags=True, begun=True)
    assert (text.thinking, text.text) == ("first this", "then that")


def test_a_tag_later_in_the_answer_is_part_of_it() -> None:
    text, _ = run([b"Write <think> and", b" </think> around it."], tags=True)
    assert (text.thinking, text.text) == ("", "Write <think> and </think> around it.")


def test_thinking_that_does_not_end_is_no_answer() -> None:
    text, _ = run([b"<think>on and on"], tags=True)
    assert (text.thinking, text.text) == ("on and on", "")


def test_an_answer_that_only_begins_like_a_tag_is_kept() -> None:
    text, _ = run([b" ", b"<thi"], tags=True)
    assert text.text == " <thi"


def test_an_unfinished_character_is_held_and_dropped_at_the_end() -> None:
    text = AnswerText((), None, begun=False)
    data = "é".encode()
    assert text.feed(data[:1]) == []
    assert text.feed(data[1:] + data[:1]) == [("é", False)]
    assert text.finish() == []
    assert text.text == "é"


@pytest.mark.parametrize(
    ("text", "marks", "count"),
    [("abc", ["cd"], 1), ("abc", ["abcd"], 3), ("abc", ["bcx", "cx"], 2), ("abc", ["x"], 0),
     ("", ["x"], 0), ("abc", [], 0)],
)  # fmt: skip
def test_held_back(text: str, marks: list[str], count: int) -> None:
    assert held_back(text, marks) == count


def test_tags_are_those_the_template_speaks_of() -> None:
    assert tags_of("{{ '</think>' }}") == TAGS
    assert tags_of("{{ messages }}") is None
    assert begins_thinking("assistant\n<think>\n", TAGS)
    assert not begins_thinking("assistant\n<think>\n\n</think>\n\n", TAGS)
    assert not begins_thinking("assistant\n<think>\n", None)


def test_a_split_without_tags_lets_everything_through() -> None:
    split = ThinkingSplit(None)
    assert list(split.feed("<think>x")) == [("<think>x", False)]
