"""Tokens counted and placed without the model."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.embedding.tokens import EstimatedTokens, FileTokens, file_tokens
from loragraft.errors import TokenizerError


@pytest.fixture(scope="module")
def tokens(minilm_folder: Path) -> FileTokens:
    return file_tokens(minilm_folder)


def test_counts_as_the_model_does(tokens: FileTokens) -> None:
    assert tokens.special == 2
    assert tokens.count(["The cat sleeps.", "", "x " * 1000]) == [4, 0, 1000]
    assert tokens.count(["The cat sleeps."]) == [4]
    assert tokens.spans("The  cat") == [(0, 3), (5, 8)]
    assert tokens.count(["a \ud800 b"]) == [3]


@given(text=st.text(max_size=80))
def test_places_are_inside_and_in_order(tokens: FileTokens, text: str) -> None:
    for counter in (tokens, EstimatedTokens()):
        spans = counter.spans(text)
        assert len(spans) == counter.count([text])[0]
        assert all(0 <= start <= stop <= len(text) for start, stop in spans)
        assert spans == sorted(spans)


def test_estimates_are_rather_high(tokens: FileTokens) -> None:
    text = "Mitochondria produce most of the chemical energy of a cell, and rates rose on Tuesday."
    assert tokens.count([text])[0] <= EstimatedTokens().count([text])[0] * 1.1


def test_says_what_is_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="save_pretrained"):
        file_tokens(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(TokenizerError, match="cannot be read"):
        file_tokens(tmp_path)
