"""Sentences end where a reader would say so."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.rag.chunking.sentences import clause_starts, sentence_starts


@pytest.mark.parametrize(
    "sentences",
    [
        ["It works.", "It is small."],
        ["Dr. Smith et al. saw it in Fig. 3 (p. 7).", "Nobody else did."],
        ["J. R. R. Tolkien wrote it.", "We read it."],
        ["It grew by 3.5 % in Jan. 2020.", "Then it fell."],
        ["Really?!", "Yes.", "“No.”", "(Perhaps.)", "Well…", "So be it."],
        ["He asked why? and left.", "Good."],
        ["z.B. die Größe und bzw. die Höhe.", "Das ist gut."],
        ["1. Open the file.", "2. Close it."],
        ["これは文です。", "これも文です！", "「はい。」", "そうです。"],  # noqa: RUF001
        ["یہ جملہ ہے۔", "دوسرا جملہ؟", "تیسرا"],  # noqa: RUF001
        ["यह एक वाक्य है।", "यह दूसरा है।"],
        ["See example.org/a.b for more", ""],
    ],
)
def test_sentences_are_found(sentences: list[str]) -> None:
    spaced = not any("\u3000" <= c <= "\u30ff" for c in sentences[0])
    text = (" " if spaced else "").join(sentences).strip()
    starts = [0, *sentence_starts(text, 0, len(text)), len(text)]
    found = [text[a:b].strip() for a, b in pairwise(starts)]
    assert found == [sentence for sentence in sentences if sentence]


@given(text=st.text(st.sampled_from("ab. !?。,;A1\n\"'")), start=st.integers(0, 9))
def test_starts_are_inside_and_in_order(text: str, start: int) -> None:
    for starts in (sentence_starts, clause_starts):
        found = list(starts(text, min(start, len(text)), len(text)))
        assert found == sorted(set(found))
        assert all(start < position < len(text) for position in found)
        assert all(not text[position].isspace() for position in found)
