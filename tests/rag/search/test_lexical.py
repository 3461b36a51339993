"""Search by words: scores as bm25s computes them, whatever the question; damage is named."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.errors import InputError
from loragraft.rag.chunking.chunk import embedded_text
from loragraft.rag.index.store import Index
from loragraft.rag.records import Chunk
from loragraft.rag.search.lexical import (
    K1,
    LEXICAL,
    B,
    LexicalSearch,
    best,
    write_lexical,
)
from loragraft.rag.search.words import words


def chunk(number: int, text: str) -> Chunk:
    return Chunk(f"d{number}:0-{len(text)}", f"d{number}", "", (), 0, len(text), text, 1, "")


def written(folder: Path, *texts: str) -> LexicalSearch:
    folder.mkdir(parents=True, exist_ok=True)
    write_lexical(folder, iter([chunk(n, text) for n, text in enumerate(texts)]))
    return LexicalSearch(folder, len(texts))


def by_the_formula(texts: list[list[str]], question: list[str]) -> list[float]:
    """BM25 as Lucene has it, written down once more."""
    mean = sum(map(len, texts)) / len(texts)
    found = []
    for text in texts:
        score, counts = 0.0, Counter(text)
        for word in question:
            among = sum(word in other for other in texts)
            rarity = math.log(1 + (len(texts) - among + 0.5) / (among + 0.5))
            held_back = K1 * (1 - B + B * len(text) / mean)
            score += rarity * counts[word] / (counts[word] + held_back)
        found.append(score)
    return found


def test_scores_are_those_of_the_formula_and_of_bm25s(index: Index) -> None:
    import bm25s

    folder = index.part(LEXICAL)
    assert folder is not None
    search = LexicalSearch(folder, len(index))
    texts = [words(embedded_text(chunk)) for chunk in index.iterate()]
    library = bm25s.BM25(k1=K1, b=B, method="lucene")
    library.index(texts, show_progress=False)
    for question in ("the violin and the ferry", "number 7", "FERRY, ferry; Ferry!", "17 magnet"):
        found = search.scores(question)
        np.testing.assert_allclose(found, by_the_formula(texts, words(question)), rtol=1e-5)
        np.testing.assert_allclose(found, library.get_scores(words(question)), rtol=1e-5)


def test_finds_by_words_only_what_has_one(tmp_path: Path) -> None:
    search = written(
        tmp_path / "a", "The cat sat on the mat", "IL-6 rises in blood", "", "黒い猫が好き", "cats"
    )
    assert search.search("IL6", 3)[1].tolist() == [1]
    assert search.search("cat", 3)[1].tolist() == [0]
    assert search.search("猫", 3)[1].tolist() == [3]
    assert search.search("dog", 3)[1].tolist() == []
    assert search.search("", 3)[1].tolist() == []
    assert search.search("cat blood", 3, np.array([1, 2]))[1].tolist() == [1]
    assert search.search("cat", 3, np.empty(0, np.int64))[1].tolist() == []
    scores, rows = search.search("the cat in the blood", 1)
    assert (len(scores), rows.dtype) == (1, np.int64)


@pytest.mark.parametrize(
    "question",
    ["\x00\x1b[2J", "\ud800", "cat AND NOT (dog OR *", '"', "'; DROP TABLE chunks; --", "%_?*~",
     "\u202ecat", "a" * 10**6, "cat " * 250_000],
    ids=range(9),
)  # fmt: skip
def test_no_question_is_too_odd(tmp_path: Path, question: str) -> None:
    search = written(tmp_path / "a", "The cat sat", "AND dogs OR mice")
    assert np.isfinite(search.scores(question)).all()
    assert (0 in search.search(question, 2)[1]) == ("cat" in question)


def test_collections_without_any_word(tmp_path: Path) -> None:
    search = written(tmp_path / "a", "", "!!! …", "😀")
    assert search.scores("anything").tolist() == [0, 0, 0]


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    texts = ["b a c \ud800 d", "straße 1,000 猫", "os.path"]
    for name in ("one", "two"):
        written(tmp_path / name, *texts)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def another_kind(path: Path) -> None:
    np.save(path, np.load(path).astype(np.float64))


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("scores.npy", truncate, "damaged"),
        ("rows.npy", another_kind, "holds float64"),
        ("starts.npy", Path.unlink, "No such file"),
        ("terms.bin", truncate, "terms.bin has"),
        ("lexical.json", truncate, "cannot be read"),
    ],
)
def test_damage_is_named(
    tmp_path: Path, name: str, damage: Callable[[Path], object], says: str
) -> None:
    written(tmp_path / "a", "The cat sat on the mat", "IL-6 rises in blood")
    damage(tmp_path / "a" / name)
    with pytest.raises(InputError, match=says):
        LexicalSearch(tmp_path / "a", 2)


def test_parts_of_another_index_or_loragraft_are_refused(tmp_path: Path) -> None:
    search = written(tmp_path / "a", "The cat", "The mat")
    with pytest.raises(InputError, match="it has 2 chunks, the index 3"):
        LexicalSearch(tmp_path / "a", 3)
    rows = np.load(tmp_path / "a" / "rows.npy")
    np.save(tmp_path / "a" / "rows.npy", rows + 7)
    with pytest.raises(InputError, match="damaged"):
        LexicalSearch(tmp_path / "a", 2).scores("cat")
    np.save(tmp_path / "a" / "rows.npy", rows)
    columns = np.load(tmp_path / "a" / "columns.npy")
    np.save(tmp_path / "a" / "columns.npy", columns + 2**20)
    with pytest.raises(InputError, match="damaged"):
        LexicalSearch(tmp_path / "a", 2).scores("cat")
    about = json.loads((tmp_path / "a" / "lexical.json").read_text())
    (tmp_path / "a" / "lexical.json").write_text(json.dumps(about | {"words": 0}))
    with pytest.raises(InputError, match="tells words apart in another way"):
        LexicalSearch(tmp_path / "a", 2)
    del search


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.5]), max_size=30), st.integers(1, 40))
def test_best_is_a_sorted_cut(values: list[float], k: int) -> None:
    scores = np.array(values, np.float32)
    wanted = sorted((row for row in range(len(values)) if values[row] > 0),
                    key=lambda row: (-values[row], row))[:k]  # fmt: skip
    assert best(scores, k)[1].tolist() == wanted
    even = np.arange(0, len(values), 2)
    wanted = [row for row in sorted(range(0, len(values), 2), key=lambda r: (-values[r], r))
              if values[row] > 0][:k]  # fmt: skip
    assert best(scores, k, even)[1].tolist() == wanted
