"""Filters: what they read, what they accept, which rows they leave."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.errors import InputError
from loragraft.rag.search.filters import OPERATORS, Filter, matching_rows, parse_filter
from tests.support.small_search import Make, document

PAPER: dict[str, Any] = {
    "year": 2011, "score": "0.5", "journal": "Plant Biology", "tags": ["a", "B"], "peer": True,
    "author": {"name": "Smith"}, "date": "2020-03-01", "a.b": "dotted", "none": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("year=2011", True), ("year = 2011.0", True), ("year=2012", False), ("year!=2012", True),
        ("year>=2011", True), ("year>2011", False), ("year<=2010", False), ("year<2e3", False),
        ("score<1", True), ("score=0.50", True), ("journal=plant biology", True),
        ("journal~BIO", True), ("journal~chem", False), ("journal>5", False), ("year~01", True),
        ("tags=b", True), ("tags!=b", False), ("tags!=c", True), ("tags~A", True),
        ("peer=true", True), ("peer=1", False), ("peer>0", False), ("author.name=smith", True),
        ("author.name.first=x", False), ("date>=2020-01-01", True), ("date<2020-01-01", False),
        ("a.b=dotted", True), ("nobody=1", False), ("nobody!=1", True), ("none=", False),
        ("journal=", False), ("journal!=", True), ("year<nan", False), ("journal~", True),
    ],
)  # fmt: skip
def test_accepts(text: str, accepted: bool) -> None:
    assert parse_filter(text).accepts(PAPER) is accepted


@pytest.mark.parametrize("text", ["", "year", "=2011", "  >= 3", "!=", "~x", "\x00"])
def test_what_is_no_filter_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match=r"is no filter. Write KEY=VALUE.*year>=2010"):
        parse_filter(text)


KEYS = st.from_regex(r"[a-zA-Z_.\- ]{0,10}[a-z]", fullmatch=True).map(str.strip)


@given(KEYS, st.sampled_from(OPERATORS), st.text(max_size=20).map(str.strip))
def test_reads_back_what_it_writes(key: str, operator: str, value: str) -> None:
    if value[:1] in ("=", "~") and operator in ("<", ">", "!"):
        return  # another operator
    one = Filter(key, operator, value)
    assert parse_filter(str(one)) == one


@given(KEYS, st.text(max_size=12).map(str.strip))
def test_equal_and_unequal_part_everything(key: str, value: str) -> None:
    for metadata in ({key: value}, {key: value.upper()}, {}, {key: [value, 1]}, {key: 3.5}):
        equal = Filter(key, "=", value).accepts(metadata)
        assert Filter(key, "!=", value).accepts(metadata) is not equal
    assert Filter(key, "=", value).accepts({key: value})
    assert Filter(key, "~", value[:3]).accepts({key: value})


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_numbers_are_ordered_as_numbers(value: float, limit: float) -> None:
    for written in (value, str(value)):
        accepts = {op: Filter("n", op, repr(limit)).accepts({"n": written}) for op in OPERATORS}
        assert accepts[">"] is (value > limit)
        assert accepts["<="] is (value <= limit)
        assert accepts["="] is (value == limit)


def test_rows_of_an_index(make_index: Make) -> None:
    index = make_index([
        document("a.txt", "The river and the stone.", year=1990, tags=["x"]),
        document("b.txt", "The winter and the lamp.", year=2011),
        document("c.txt", "The engine and the copper.", year=2020, page=3),
    ])  # fmt: skip

    def ids(*texts: str) -> set[str]:
        rows = matching_rows(index, [parse_filter(text) for text in texts])
        return {chunk.doc_id for chunk in index.chunks(rows)}

    assert ids("year>2000") == {"b.txt", "c.txt"}
    assert ids("year>2000", "year<2015") == {"b.txt"}
    assert ids("doc_id~c.", "title=C.TXT") == {"c.txt"}
    assert ids("tags!=x") == {"b.txt", "c.txt"}
    assert ids("page=3") == {"c.txt"}
    assert ids("year>3000") == set()
    assert ids("year!=1990", "doc_id!=c.txt") == {"b.txt"}
    with pytest.raises(InputError, match=r"'yaer'.*Did you mean year\?.*doc_id, page, tags"):
        ids("yaer=2011")


def test_chunks_have_pages_of_their_own(make_index: Make) -> None:
    pages = ["The river and the stone. " * 6, "The winter and the lamp. " * 6, "The poem. " * 6]
    starts = [0, len(pages[0]), len(pages[0]) + len(pages[1])]
    book = document("book.pdf", "".join(pages), page_starts=starts, year=2001)
    index = make_index([book, document("a.txt", "The river.", year=1990)])
    described = {row: metadata for row, _id, _title, metadata in index.store.described()}
    assert described == {row: chunk.metadata for row, chunk in enumerate(index.iterate())}

    def rows(text: str) -> list[int]:
        return matching_rows(index, [parse_filter(text)]).tolist()

    for page, start in enumerate(starts, 1):
        stop = [*starts, len(book.text)][page]
        on_it = [
            row for row, chunk in enumerate(index.iterate())
            if chunk.doc_id == "book.pdf" and chunk.start < stop and chunk.stop > start
        ]  # fmt: skip
        assert rows(f"page={page}") == on_it != []
        assert rows(f"page!={page}") == [row for row in range(len(index)) if row not in on_it]
    assert rows("page>2") == rows("page=3")
    assert len(rows("year=2001")) == len(index) - 1


def test_endless_blanks_take_no_time() -> None:
    blanks = " " * 200_000  # a pattern that goes back took minutes
    with pytest.raises(InputError, match="is no filter"):
        parse_filter(f"{blanks}x{blanks}")
    assert parse_filter(f"{blanks}a b{blanks}={blanks}c{blanks}") == Filter("a b", "=", "c")
