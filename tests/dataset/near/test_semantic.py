"""Texts alike by their meaning."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from loragraft.dataset.near import vectors
from loragraft.dataset.near.duplicate import Duplicate
from loragraft.dataset.near.semantic import SemanticDuplicates
from loragraft.embedding.static import StaticEmbedder
from loragraft.errors import InputError, UnavailableError
from tests.support.small_index import WORDS
from tests.support.store import WordVectors, check_in_batches, open_store

TEXTS = [
    "river stone cloud winter garden",
    "copper violin harbour signal meadow",
    "garden river winter cloud stone",  # the first in another order
    "orbit saddle canvas thunder magnet poem",
    "copper violin harbour signal meadow ferry",  # the second and a word
    "river stone cloud winter garden",
]


def test_texts_of_the_same_words_are_duplicates(tmp_path: Path, static: StaticEmbedder) -> None:
    with open_store(tmp_path) as store:
        finder = SemanticDuplicates(store, "same", embedder=static, threshold=0.9)
        found = check_in_batches(finder, TEXTS, [2])

    one, other = static.embed([TEXTS[1], TEXTS[4]])
    assert found[:2] == [None, None]
    assert found[2] == found[5] == Duplicate("0", 1.0)
    assert found[3] is None
    assert found[4] == Duplicate("1", pytest.approx(float(one @ other), abs=1e-5))


def test_a_text_counts_only_if_it_was_kept(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        finder = SemanticDuplicates(store, "same", embedder=WordVectors())
        finder.begin(["a", "b", "c"], [TEXTS[0], TEXTS[2], TEXTS[5]])
        assert finder.find(0) is None  # and then another rule drops it
        assert finder.find(1) is None
        finder.keep(1)
        assert finder.find(2) == Duplicate("b", 1.0)
        finder.end()
        finder.begin(["d"], [TEXTS[0]])
        assert finder.find(0) == Duplicate("b", 1.0)


@settings(max_examples=25)
@given(
    texts=st.lists(st.lists(st.sampled_from(WORDS[:5]), max_size=4).map(" ".join), max_size=16),
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    threshold=st.sampled_from([0.3, 0.7, 0.9, 1.0]),
)
def test_what_is_found_is_what_comparing_all_pairs_finds(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], sizes: list[int], threshold: float
) -> None:
    with open_store(tmp_path_factory.mktemp("store")) as store:
        finder = SemanticDuplicates(store, "same", embedder=WordVectors(), threshold=threshold)
        found = check_in_batches(finder, texts, sizes)

    assert found == _by_hand(texts, threshold)


def _by_hand(texts: list[str], threshold: float) -> list[Duplicate | None]:
    kept: dict[int, NDArray[np.float32]] = {}
    found: list[Duplicate | None] = []
    for number, text in enumerate(texts):
        if not text:
            found.append(None)
            continue
        vector = WordVectors().embed([text])[0]
        scores = [(vectors.score_of(vector, other), -row) for row, other in kept.items()]
        score, row = max(scores, default=(0.0, 0))
        found.append(Duplicate(str(-row), score) if score >= threshold else None)
        if found[-1] is None:
            kept[number] = vector
    return found


def test_a_killed_run_goes_on_where_it_committed(tmp_path: Path) -> None:
    texts = [" ".join(WORDS[n % 20 : n % 20 + 4]) for n in range(60)]
    with open_store(tmp_path / "whole") as store:
        expected = check_in_batches(
            SemanticDuplicates(store, "same", embedder=WordVectors()), texts, [10]
        )
    with open_store(tmp_path / "killed") as store:
        finder = SemanticDuplicates(store, "same", embedder=WordVectors())
        check_in_batches(finder, texts[:10], [10])
        store.commit()
        check_in_batches(finder, texts[10:30], [10])  # and then it is killed

    with open_store(tmp_path / "killed") as store:
        finder = SemanticDuplicates(store, "same", embedder=WordVectors())
        rest = check_in_batches(finder, texts[10:], [10], first=10)

    assert rest == expected[10:]


def test_blocks_of_the_file_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(WORDS[n % 22 : n % 22 + 4]) for n in range(50)]
    with open_store(tmp_path) as store:
        whole = SemanticDuplicates(store, "one", embedder=WordVectors(), threshold=0.7)
        expected = check_in_batches(whole, texts, [8])
        monkeypatch.setattr(vectors, "_BLOCK_BYTES", 3 * 4 * WordVectors.dimensions)
        parts = SemanticDuplicates(store, "two", embedder=WordVectors(), threshold=0.7)

        assert check_in_batches(parts, texts, [8]) == expected


def test_another_embedder_is_refused(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        SemanticDuplicates(store, "same", embedder=WordVectors())
        with pytest.raises(InputError, match="another model than words"):
            SemanticDuplicates(store, "same", embedder=WordVectors("other"))


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.01, math.nan])
def test_a_threshold_that_is_no_cosine_is_refused(tmp_path: Path, threshold: float) -> None:
    with open_store(tmp_path) as store, pytest.raises(InputError, match="above 0 and at most 1"):
        SemanticDuplicates(store, "same", embedder=WordVectors(), threshold=threshold)


class _Broken(WordVectors):
    def __init__(self, spoil: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        super().__init__()
        self._spoil = spoil

    def embed(
        self,
        texts: Sequence[str],
        *,
        query: bool = False,
        on_done: Callable[[int], object] | None = None,
    ) -> NDArray[np.float32]:
        return self._spoil(super().embed(texts))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda rows: rows * np.float32("nan"), "not finite"),
        (lambda rows: rows[:1], r"2 texts and answered with vectors of the shape \(1, 64\)"),
        (lambda rows: rows[0], r"shape \(64,\)"),
    ],
)
def test_an_embedder_that_answers_nonsense_is_named(
    tmp_path: Path, spoil: Callable[[NDArray[np.float32]], NDArray[np.float32]], said: str
) -> None:
    with open_store(tmp_path) as store:
        finder = SemanticDuplicates(store, "same", embedder=_Broken(spoil))
        with pytest.raises(UnavailableError, match=said):
            finder.begin(["a", "b"], TEXTS[:2])


def test_an_embedder_that_changes_its_width_is_named(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        finder = SemanticDuplicates(store, "same", embedder=WordVectors())
        check_in_batches(finder, TEXTS[:2], [2])
        finder = SemanticDuplicates(store, "same", embedder=_Broken(lambda rows: rows[:, :32]))
        with pytest.raises(UnavailableError, match="32 dimensions"):
            finder.begin(["c"], [TEXTS[2]])


def test_a_file_of_vectors_that_ends_early_is_named(tmp_path: Path) -> None:
    path = tmp_path / "vectors.f32"
    np.ones((3, 8), "<f4").tofile(path)

    with pytest.raises(InputError, match="ends before its 4 vectors"):
        list(vectors.blocks(path, 4, 8))
