"""Texts of two collections that are alike."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.dataset.near.cross import Pair, cross_duplicates
from loragraft.dataset.near.normalise import normalise
from loragraft.dataset.near.shingles import jaccard, shingles
from loragraft.embedding.static import StaticEmbedder
from loragraft.errors import InputError
from tests.support.short_texts import SHORT_TEXTS
from tests.support.small_index import WORDS
from tests.support.store import WordVectors

ENGLISH, GERMAN = SHORT_TEXTS["en"], SHORT_TEXTS["de"]
texts_of_words = st.lists(
    st.lists(st.sampled_from(WORDS[:6]), max_size=4).map(" ".join), max_size=9
)


def test_alike_by_their_characters() -> None:
    a = [ENGLISH[3], "", ENGLISH[5].upper()]
    b = [*GERMAN, ENGLISH[3].replace("seedlings", "sprouts"), f"{ENGLISH[5]} \U0001f600", " "]

    found = cross_duplicates(a, b, threshold=0.6)

    pieces = shingles([normalise(a[0]), normalise(b[12])])
    assert found == [Pair(0, 12, jaccard(pieces, pieces, [(0, 1)])[0]), Pair(2, 13, 1.0)]


def test_alike_by_their_meaning(static: StaticEmbedder) -> None:
    a = ["river stone cloud winter", "violin harbour signal meadow"]
    b = ["magnet poem ferry walnut", "winter cloud stone river", ""]

    assert cross_duplicates(a, b, threshold=0.9, embedder=static) == [Pair(0, 1, 1.0)]


@settings(max_examples=25)
@given(a=texts_of_words, b=texts_of_words, meaning=st.booleans())
def test_exchanging_the_collections_exchanges_the_pairs(
    a: list[str], b: list[str], meaning: bool
) -> None:
    embedder = WordVectors() if meaning else None

    there = cross_duplicates(a, b, threshold=0.7, embedder=embedder)
    back = cross_duplicates(b, a, threshold=0.7, embedder=embedder)

    assert sorted(there) == sorted(Pair(pair.j, pair.i, pair.score) for pair in back)


@given(a=texts_of_words)
def test_every_text_is_like_itself(a: list[str]) -> None:
    for embedder in (None, WordVectors()):
        found = {pair[:2] for pair in cross_duplicates(a, a, threshold=1.0, embedder=embedder)}
        assert {(number, number) for number, text in enumerate(a) if text} <= found


def test_a_text_said_a_thousand_times_is_told_a_few_times() -> None:
    b = [ENGLISH[1], *[ENGLISH[0]] * 1000, ENGLISH[0] + " Indeed."]

    for embedder in (None, WordVectors()):
        found = cross_duplicates([ENGLISH[0]], b, threshold=0.8, embedder=embedder, most_each=3)
        assert found == [Pair(0, 1, 1.0), Pair(0, 2, 1.0), Pair(0, 3, 1.0)]


def test_progress_counts_every_text_once() -> None:
    for embedder in (None, WordVectors()):
        heard: list[int] = []
        a, b = [*ENGLISH, "", ENGLISH[0]], [*GERMAN, " "]
        cross_duplicates(a, b, threshold=0.8, embedder=embedder, on_done=heard.append)

        assert sum(heard) == len(a) + len(b)


def test_nothing_is_like_nothing() -> None:
    for embedder in (None, WordVectors()):
        for a, b in (([], []), (["x"], []), ([], ["x"]), ([" "], [""])):
            assert cross_duplicates(a, b, threshold=0.8, embedder=embedder) == []


def test_no_temporary_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    cross_duplicates(ENGLISH, ENGLISH, threshold=0.8, embedder=WordVectors())

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("threshold", [0.0, 2.0])
def test_a_threshold_that_is_none_is_refused(threshold: float) -> None:
    for embedder in (None, WordVectors()):
        with pytest.raises(InputError, match="threshold"):
            cross_duplicates(["a"], ["b"], threshold=threshold, embedder=embedder)
