"""PDFs: pages, bookmarks, running headers; and everything that is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragraft.errors import InputError
from loragraft.rag.corpus.extracted import Extracted
from loragraft.rag.corpus.limits import MIB, Limits
from loragraft.rag.corpus.pdf import extract_pdf
from loragraft.rag.corpus.pdf_pages import clean_pages, join_pages
from loragraft.rag.corpus.worker import Worker
from tests.support.pdf import add_bookmarks, build_pdf, encrypt, page_stream, pdf_of_streams


def _write(folder: Path, data: bytes) -> Path:
    path = folder / "paper.pdf"
    path.write_bytes(data)
    return path


def _read(path: Path) -> Extracted:
    return extract_pdf(str(path), Limits())


def test_pages_become_one_text_with_page_starts(tmp_path: Path) -> None:
    path = _write(tmp_path, build_pdf([["First page ends."], ["Second page."]], title="On LoRA"))
    found = _read(path)
    assert found.text == "First page ends.\n\nSecond page."
    assert found.metadata["page_starts"] == [0, 18]
    assert found.title == "On LoRA"


def test_bookmarks_are_headings_at_their_lines(tmp_path: Path) -> None:
    pages = [["Title page", "1 Introduction", "Some words."], ["2.1 Methods", "Other words."]]
    path = _write(tmp_path, build_pdf(pages))
    add_bookmarks(path, [("Introduction", 0), ("2.1 Methods", 1), ("Nowhere", 1)])
    found = _read(path)
    assert [(h.text, found.text[h.line : h.start].strip()) for h in found.headings] == [
        ("Introduction", "1 Introduction"),
        ("2.1 Methods", "2.1 Methods"),
    ]


def test_running_headers_and_page_numbers_go() -> None:
    words = ["one", "two", "three", "four", "five", "six"]
    pages = [
        f"My Book\n{n}\nThe text of page {word}\nis {word}.\nPage {n} of 6"
        for n, word in enumerate(words, 1)
    ]
    cleaned = clean_pages(pages)
    assert cleaned[1:] == [f"The text of page {word}\nis {word}." for word in words[1:]]
    assert cleaned[0].startswith("My Book")  # it may be the title


def test_hyphenated_words_are_put_together() -> None:
    assert clean_pages(["an adap-\nter of Mann-\nWhitney, \ufb01ne; 3-\n4 km"]) == [
        "an adapter of Mann-Whitney, fine; 3-\n4 km"
    ]


def test_a_paragraph_goes_on_over_the_page_break() -> None:
    text, starts = join_pages(["It goes", "on here.", "", "New."])
    assert text == "It goes\non here.\n\nNew."
    assert starts == [0, 8, 16, 18]


def test_an_encrypted_file_is_said_to_be_one(tmp_path: Path) -> None:
    path = _write(tmp_path, build_pdf([["Secret words."]]))
    encrypt(path, "password")
    with pytest.raises(InputError, match="encrypted with a password"):
        _read(path)


def test_a_file_that_opens_without_a_password_is_read(tmp_path: Path) -> None:
    path = _write(tmp_path, build_pdf([["Words that anyone may read."]]))
    encrypt(path, "")
    assert _read(path).text == "Words that anyone may read."


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"this is no PDF at all", "no PDF that can be read"),
        (b"%PDF-1.7\n", "no PDF that can be read"),
        (build_pdf([["Some words here."]])[:200], "no PDF that can be read"),
        (pdf_of_streams([]), "without pages"),
        (pdf_of_streams([b"", b""]), "pictures of text"),
        (pdf_of_streams([page_stream(["(cid:17)(cid:9)(cid:3)" * 9])]), "noise"),
    ],
)
def test_broken_files_are_said_to_be_broken(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        _read(_write(tmp_path, data))
    assert reason in str(caught.value)


def test_too_many_pages_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path, build_pdf([["x"]] * 5))
    with pytest.raises(InputError, match="has 5 pages; up to 4"):
        extract_pdf(str(path), Limits(pages=4))


def test_damage_in_one_page_leaves_the_others(tmp_path: Path) -> None:
    good = [f"A page of words number {n}." for n in range(3)]
    data = build_pdf([[line] for line in good])
    at = data.index(b"stream\n", data.index(b"6 0 obj")) + 7
    found = _read(_write(tmp_path, data[:at] + b"\x00" * 20 + data[at + 20 :]))
    assert good[0] in found.text
    assert good[2] in found.text


@pytest.mark.slow
def test_a_bomb_is_given_up_and_the_next_file_is_read(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.pdf"
    bomb.write_bytes(pdf_of_streams([b"(" + b" " * (300 * MIB)], filters=2))
    assert bomb.stat().st_size < MIB
    good = _write(tmp_path, build_pdf([["Some words here."]]))
    with Worker(Limits(memory_bytes=400 * MIB, seconds=30)) as worker:
        with pytest.raises(InputError):
            worker.extract({"kind": "pdf", "path": str(bomb)})
        assert worker.extract({"kind": "pdf", "path": str(good)}).text == "Some words here."
