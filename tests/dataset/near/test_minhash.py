"""Texts alike by their characters."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.dataset.near import shingles as module
from loragraft.dataset.near.bands import band_keys, bands_for
from loragraft.dataset.near.duplicate import Duplicate, check_many
from loragraft.dataset.near.exact import ExactKeys
from loragraft.dataset.near.minhash import MOST_OF_A_KEY, MinHashKeys
from loragraft.dataset.near.normalise import normalise
from loragraft.dataset.near.shingles import jaccard, shingles
from loragraft.errors import InputError
from tests.support.short_texts import SHORT_TEXTS
from tests.support.store import check_in_batches, open_store

SENTENCES = [text for texts in SHORT_TEXTS.values() for text in texts]


def _edited(generator: random.Random, text: str) -> str:
    """Change a word or two of a text, or its punctuation."""
    words = text.split()
    for _ in range(generator.randint(1, 2)):
        words[generator.randrange(len(words))] = generator.choice(["kelp", "anvil", "of", "ochre"])
    return generator.choice([str, str.upper])(" ".join(words)) + generator.choice(["", "!", " ..."])


def _many_texts(count: int) -> list[str]:
    generator = random.Random(5)
    texts = list(SENTENCES)
    while len(texts) < count:
        texts.append(_edited(generator, generator.choice(texts)))
    return texts[: -count // 20] + [f"({text.title()})" for text in texts[: count // 20]]


def _by_hand(texts: list[str], threshold: float) -> list[Duplicate | None]:
    """Compare every text with every one that was kept before."""
    pieces = shingles([normalise(text) for text in texts])
    pairs = [(number, row) for number in range(len(texts)) for row in range(number)]
    alike = dict(zip(pairs, jaccard(pieces, pieces, pairs), strict=True))
    kept: list[int] = []
    found: list[Duplicate | None] = []
    for number in range(len(texts)):
        scores = [(alike[number, row], -row) for row in kept]
        score, row = max(scores, default=(0.0, 0))
        found.append(Duplicate(str(-row), score) if score >= threshold else None)
        if found[-1] is None:
            kept.append(number)
    return found


@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
def test_finds_what_comparing_all_pairs_finds(tmp_path: Path, threshold: float) -> None:
    texts = _many_texts(250)
    with open_store(tmp_path) as store:
        finder = MinHashKeys(store, "near", threshold=threshold)
        found = check_many(finder, [str(number) for number in range(len(texts))], texts)

    expected = _by_hand(texts, threshold)
    assert sum(item is not None for item in expected) > 3
    assert sum(one != other for one, other in zip(found, expected, strict=True)) <= 2


def test_the_most_alike_is_named_and_the_first_of_equals(tmp_path: Path) -> None:
    texts = [
        "the old kiln of the valley was lit at dawn",
        "the old kiln of the valley is lit at dawn",
        "the old kiln of the valley was lit at dawn by two",
    ]
    with open_store(tmp_path) as store:
        finder = MinHashKeys(store, "near", threshold=0.75)
        finder.begin(["a", "b", "a again"], [*texts[:2], texts[0]])
        for number in range(3):
            finder.keep(number)  # whatever they are: the caller decides who is kept
        finder.end()
        finder.begin(["c"], [texts[2]])
        found = finder.find(0)

    pieces = shingles(texts)
    assert found == Duplicate("a", jaccard(pieces, pieces, [(0, 2)])[0])


@settings(max_examples=25)
@given(
    texts=st.lists(st.text("abc", max_size=12), max_size=20),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=5),
)
def test_batches_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], sizes: list[int]
) -> None:
    with open_store(tmp_path_factory.mktemp("store")) as store:
        for kind in (MinHashKeys, ExactKeys):
            whole = check_in_batches(kind(store, "one"), texts, [1000])
            parts = check_in_batches(kind(store, "two"), texts, sizes)

            assert parts == whole


@pytest.mark.parametrize("kind", [ExactKeys, MinHashKeys])
def test_a_killed_run_goes_on_where_it_committed(
    tmp_path: Path, kind: type[ExactKeys | MinHashKeys]
) -> None:
    texts = _many_texts(150)
    with open_store(tmp_path / "whole") as store:
        expected = check_in_batches(kind(store, "near"), texts, [40])
    with open_store(tmp_path / "killed") as store:
        finder = kind(store, "near")
        check_in_batches(finder, texts[:80], [40])
        store.commit()
        check_in_batches(finder, texts[80:120], [40])  # and then it is killed

    with open_store(tmp_path / "killed") as store:
        rest = check_in_batches(kind(store, "near"), texts[80:], [40], first=80)

    assert rest == expected[80:]


def test_texts_of_nothing_are_duplicates_of_none(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for kind in (ExactKeys, MinHashKeys):
            assert check_in_batches(kind(store, "blank"), ["", " ", "\n", ""], [2]) == [None] * 4
            found = check_in_batches(kind(store, "short"), ["no", "No!", "yes", "!?"], [4])
            assert found == [None, Duplicate("0", 1.0), None, None]


def test_rules_of_other_names_remember_apart(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for kind in (ExactKeys, MinHashKeys):
            for name in ('post"text', "a;b", "\u00e9" * 200):
                assert check_in_batches(kind(store, name), ["The same text"], [1]) == [None]


def test_texts_of_one_pattern_are_found_by_few_of_their_keys_and_few_are_compared(
    tmp_path: Path,
) -> None:
    texts = [f"the weather report of station {n:04d} is not yet available" for n in range(1000)]
    with open_store(tmp_path) as store:
        finder = MinHashKeys(store, "near", threshold=0.95)
        found = check_in_batches(finder, [*texts, texts[3], texts[997]], [512])
        most = store.connection.execute(
            f"SELECT max(n) FROM (SELECT count(*) AS n FROM {finder._keys} GROUP BY key)"
        ).fetchone()[0]

    assert found[:1000] == [None] * 1000
    assert found[1000:] == [Duplicate("3", 1.0), Duplicate("997", 1.0)]
    assert most <= MOST_OF_A_KEY


@pytest.mark.parametrize("threshold", [0.0, 0.1, -1.0, 1.1, float("nan")])
def test_a_threshold_that_is_none_is_refused(tmp_path: Path, threshold: float) -> None:
    with open_store(tmp_path) as store, pytest.raises(InputError, match=r"between 0\.3 and 1"):
        MinHashKeys(store, "near", threshold=threshold)


@given(st.floats(0.3, 1.0))
def test_keys_find_what_is_at_the_threshold(threshold: float) -> None:
    shape = bands_for(threshold)

    assert shape.bands * shape.rows <= 128
    assert shape.chance(threshold) >= 0.99
    assert shape.chance(threshold * 0.3) < 0.5


def test_the_share_of_shared_minima_is_the_similarity() -> None:
    generator = random.Random(3)
    pairs = [(text, _edited(generator, text)) for text in SENTENCES for _ in range(4)]
    one, other = (shingles([normalise(pair[side]) for pair in pairs]) for side in (0, 1))
    exact = sum(jaccard(one, other, [(n, n) for n in range(len(pairs))])) / len(pairs)
    shape = bands_for(0.8)._replace(bands=128, rows=1)

    shared = (band_keys(one, shape) == band_keys(other, shape)).mean()

    assert shared == pytest.approx(exact, abs=0.01)


@settings(max_examples=50)
@given(
    st.lists(st.text("abcd", max_size=20), min_size=1, max_size=6),
    st.lists(st.text("abcd", max_size=20), min_size=1, max_size=6),
    st.integers(1, 40),
)
def test_similarity_is_the_share_of_common_pieces(a: list[str], b: list[str], most: int) -> None:
    def pieces(text: str) -> set[str]:
        return {text[n : n + 5] for n in range(max(len(text) - 4, 1))} if text else set()

    pairs = [(i, j) for i in range(len(a)) for j in range(len(b))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", most)
        patch.setattr(module, "_TABLE_BYTES", 50 * (most % 3))
        found = jaccard(shingles(a), shingles(b), pairs)

    one, other = [pieces(text) for text in a], [pieces(text) for text in b]
    expected = [
        len(one[i] & other[j]) / len(one[i] | other[j]) if one[i] and other[j] else 0.0
        for i, j in pairs
    ]
    assert found == expected


def test_keys_are_the_same_everywhere() -> None:
    keys = band_keys(shingles(["the kiln reached 1,240 c", "", "no"]), bands_for(0.8))

    assert keys.shape == (3, 18)
    assert keys[[0, 2], :2].tolist() == [
        [513121001077330251, -6979489382568857361],
        [6314592223968568304, -2760587584016146228],
    ]


def test_of_endless_texts_the_beginning_is_compared(tmp_path: Path) -> None:
    generator = random.Random(1)
    book = " ".join(generator.choice(SENTENCES) + str(generator.random()) for _ in range(1000))
    with open_store(tmp_path) as store:
        finder = MinHashKeys(store, "near")
        found = check_in_batches(finder, [book, book[:-30_000], book[30_000:], "a" * 10**5], [4])

    assert found == [None, Duplicate("0", 1.0), None, None]
    assert len(shingles([book]).hashes) <= 20_000
