"""Chunks hold everything, in order, whole, and never more than the embedder reads."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.errors import InputError
from loragraft.rag.chunking.chunk import CUT_WORD, embedded_text, split
from loragraft.rag.records import PAGE_STARTS, Chunk, Document, Heading
from tests.support.minilm import CountingEmbedder

_MINILM = CountingEmbedder()


@cache
def _trained(kind: str) -> CountingEmbedder:
    """Return a small tokenizer of another family, in which a part may count unlike the whole."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    lines = ["The adapter is added to the base model.", "Words, words and more words: 1 2 3."] * 20
    made: Any
    if kind == "byte-level":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        trainer: Any = trainers.BpeTrainer(
            vocab_size=400,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    else:
        made = Tokenizer(models.Unigram())
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=80, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False
        )
    made.train_from_iterator(lines, trainer)
    return CountingEmbedder(made)


def _document(text: str, headings: tuple[Heading, ...] = (), **metadata: Any) -> Document:  # noqa: ANN401
    return Document("notes.md", "Notes on adapters", text, metadata, headings)


def _with_headings(parts: list[tuple[int, str, str]]) -> Document:
    text, headings = "", []
    for level, title, body in parts:
        line = len(text)
        text += f"{'#' * level} {title}\n"
        headings.append(Heading(level, title, len(text), line))
        text += f"\n{body}\n\n"
    return _document(text, tuple(headings))


def _check(
    document: Document, chunks: list[Chunk], embedder: CountingEmbedder, budget: int
) -> None:
    text, covered = document.text, 0
    for number, chunk in enumerate(chunks):
        assert chunk.text == text[chunk.start : chunk.stop]
        assert chunk.text == chunk.text.strip() != ""
        assert not text[covered : max(covered, chunk.start)].strip()
        assert chunk.stop > covered
        assert number == 0 or chunk.start > chunks[number - 1].start
        covered = chunk.stop
        assert embedder.count_tokens([embedded_text(chunk)]) == [chunk.tokens]
        assert chunk.tokens <= budget
        assert chunk.chunk_id == f"notes.md:{chunk.start}-{chunk.stop}"
    assert not text[covered:].strip()


_PROSE = st.sampled_from(
    [
        *("The adapter is small.", "Dr. Who asks: why?", "x, y; z: w", "naïve Ünïcödé", "word"),
        *(
            "- one item",
            "1. step",
            "| a | b |",
            "|---|---|",
            "```",
            "    indented = 1",
            "# no head",
        ),
        *("半角。全角文字が続く、", "👩\u200d👩\u200d👧 family", "ثلاثة. أربعة؟", "a" * 40),
        *("", "", "\n", "\t", "\u200b", "\u0301"),
    ]
)
_TEXTS = st.lists(_PROSE, max_size=60).map("\n".join) | st.lists(_PROSE, max_size=60).map(" ".join)


@given(text=_TEXTS | st.text(max_size=400), budget=st.integers(32, 80), share=st.integers(0, 2))
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("kind", ["minilm", "byte-level", "metaspace"])
def test_chunks_cover_the_text_in_order_within_the_budget(
    kind: str, text: str, budget: int, share: int
) -> None:
    embedder = _MINILM if kind == "minilm" else _trained(kind)
    document = _document(text)
    chunks = split(document, embedder, budget, budget * share // 4)
    _check(document, chunks, embedder, budget)
    assert chunks == split(document, embedder, budget, budget * share // 4)


@given(
    parts=st.lists(st.tuples(st.integers(1, 6), st.text("abc d", min_size=1), _TEXTS), max_size=8),
    budget=st.integers(32, 120),
)
@settings(max_examples=50, deadline=None)
def test_headings_change_nothing_about_that(parts: list[tuple[int, str, str]], budget: int) -> None:
    document = _with_headings(parts)
    chunks = split(document, _MINILM, budget, budget // 8)
    _check(document, chunks, _MINILM, budget)


@given(words=st.lists(st.text("abcdefgh", min_size=1, max_size=12), min_size=1, max_size=300))
@settings(max_examples=60, deadline=None)
def test_no_word_is_cut(words: list[str]) -> None:
    text = " ".join(words)
    for chunk in split(_document(text), _MINILM, 64, 16):
        assert chunk.start == 0 or text[chunk.start - 1] == " "
        assert chunk.stop == len(text) or text[chunk.stop] == " "
        assert CUT_WORD not in chunk.metadata


def test_a_word_longer_than_a_chunk_is_cut_and_said() -> None:
    text = "before it " + "abcdefghij" * 9 + "." + "klmno-pqrst+" * 60 + " after it"
    chunks = split(_document(text), _MINILM, 40)
    _check(_document(text), chunks, _MINILM, 40)
    assert any(chunk.metadata.get(CUT_WORD) for chunk in chunks)


def test_one_unknown_token_of_great_length_does_not_make_an_endless_chunk() -> None:
    text = "x" * 50_000  # MiniLM: one [UNK]
    assert _MINILM.count_tokens([text]) == [1]
    chunks = split(_document(text), _MINILM, 200)
    assert max(len(chunk.text) for chunk in chunks) <= 200 * 12
    assert "".join(chunk.text for chunk in chunks) == text


def test_white_space_without_end_does_not_make_an_endless_chunk() -> None:
    text = "a" + " " * 50_000 + "b" + "\n " * 50_000 + "c"
    chunks = split(_document(text), _MINILM, 100)
    assert [chunk.text for chunk in chunks] == ["a", "b", "c"]


def test_a_chunk_knows_the_headings_above_it_and_repeats_none() -> None:
    body = "The adapter is a pair of small matrices. " * 12
    document = _with_headings(
        [(1, "Guide", body), (2, "Install", body), (3, "Linux", body), (2, "Use", body)]
    )
    chunks = split(document, _MINILM, 150)
    paths = {chunk.text.split("\n")[0]: chunk.headings for chunk in chunks}
    title = "Notes on adapters"
    assert paths["# Guide"] == (title,)
    assert paths["## Install"] == (title, "Guide")
    assert paths["### Linux"] == (title, "Guide", "Install")
    assert paths["## Use"] == (title, "Guide")


def test_a_title_that_the_text_says_is_not_said_twice() -> None:
    text = "# Notes on adapters\n\nThey are small."
    document = _document(text, (Heading(1, "Notes on adapters", 20, 0),))
    assert [chunk.headings for chunk in split(document, _MINILM, 64)] == [()]


def test_sections_are_not_mixed_but_tiny_ones_join() -> None:
    body = "The adapter is a pair of small matrices. " * 10
    large = split(_with_headings([(2, "One", body), (2, "Two", body)]), _MINILM, 254)
    assert [chunk.text.split("\n")[0] for chunk in large] == ["## One", "## Two"]
    tiny = _with_headings([(3, f"Option {n}", "Does a thing.") for n in range(4)])
    assert len(split(tiny, _MINILM, 254)) == 1


def test_a_heading_never_ends_a_chunk() -> None:
    body = "The adapter is a pair of small matrices. " * 9
    document = _with_headings([(2, f"Section {n}", body) for n in range(9)])
    for budget in range(60, 254, 13):
        for chunk in split(document, _MINILM, budget):
            assert not chunk.text.split("\n")[-1].startswith("#")


def test_code_and_tables_that_fit_stay_whole() -> None:
    prose = "The adapter is a pair of small matrices. " * 11
    code = "```python\n" + "\n".join(f"value_{n} = compute({n})" for n in range(14)) + "\n```"
    table = "| name | value |\n|---|---|\n" + "\n".join(f"| row {n} | {n} |" for n in range(14))
    chunks = split(_document(f"{prose}\n\n{code}\n\n{prose}\n\n{table}\n\n{prose}"), _MINILM, 254)
    assert any(code in chunk.text for chunk in chunks)
    assert any(table in chunk.text for chunk in chunks)


def test_a_long_table_is_cut_between_rows_and_keeps_its_header() -> None:
    rows = [f"| alpha {n} | beta {n} |" for n in range(120)]
    chunks = split(_document("\n".join(["| first | second |", "|---|---|", *rows])), _MINILM, 128)
    assert len(chunks) > 5
    assert all(chunk.headings[-1] == "first | second" for chunk in chunks[1:])
    assert all(line in ("|---|---|", "| first | second |", *rows)
               for chunk in chunks for line in chunk.text.split("\n"))  # fmt: skip


def test_long_headings_leave_the_text_three_quarters() -> None:
    long = "An extraordinarily detailed heading about everything there is " * 20
    body = "The adapter is a pair of small matrices. " * 30
    document = _with_headings([(1, long, body), (2, long + "again", body), (3, "Short", body)])
    for chunk in split(document, _MINILM, 128):
        front = "\n".join(chunk.headings) + "\n"
        assert _MINILM.count_tokens([front])[0] <= 128 // 4 + 2


def test_a_chunk_knows_its_pages() -> None:
    page = "The adapter is a pair of small matrices. " * 20
    starts = [0, len(page), 2 * len(page)]
    chunks = split(_document(page * 3, **{PAGE_STARTS: starts, "year": 2026}), _MINILM, 128)
    assert chunks[0].metadata["page"] == 1
    assert chunks[-1].metadata == {"page": 3, "year": 2026}
    assert any(chunk.metadata.get("last_page") == chunk.metadata["page"] + 1 for chunk in chunks)


@pytest.mark.parametrize("starts", [7, "many", ["a"], [5, 1], [None], {"a": 1}, [True]])
def test_pages_that_an_author_made_up_are_none(starts: object) -> None:
    [chunk] = split(_document("Some words.", **{PAGE_STARTS: starts}), _MINILM, 64)
    assert chunk.metadata == {}


def test_overlap_repeats_whole_sentences_within_a_section() -> None:
    sentences = [f"Sentence number {n} says something new." for n in range(60)]
    chunks = split(_document(" ".join(sentences)), _MINILM, 100, 25)
    for before, chunk in pairwise(chunks):
        assert chunk.start < before.stop
        assert chunk.text.startswith("Sentence")
        repeated = before.stop - chunk.start
        assert _MINILM.count_tokens([chunk.text[:repeated]])[0] <= 25


def test_an_edit_leaves_the_chunks_of_other_sections_alone() -> None:
    body = "The adapter is a pair of small matrices. " * 14
    parts = [(2, f"Section {n}", body) for n in range(8)]
    before = {c.sha256 for c in split(_with_headings(parts), _MINILM, 254)}
    parts[3] = (2, "Section 3", body + "One more sentence stands here.")
    after = [c.sha256 for c in split(_with_headings(parts), _MINILM, 254)]
    assert sum(sha not in before for sha in after) == 1


def test_an_empty_document_has_no_chunks() -> None:
    assert split(_document(" \n\t\u3000\n"), _MINILM, 64) == []


@pytest.mark.parametrize(("budget", "overlap"), [(255, 0), (8, 0), (64, 33), (64, -1)])
def test_budgets_that_cannot_be_are_refused(budget: int, overlap: int) -> None:
    with pytest.raises(InputError, match="give a number from"):
        split(_document("text"), _MINILM, budget, overlap)
