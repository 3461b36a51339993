"""Tables for spreadsheets: no cell is calculated, and what Excel saves is read back."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.errors import InputError
from loragraft.experiment.human.sheet import CUT, LONGEST_CELL, quoted, read_csv, to_csv

NAMES = ("id", "answer 1", "better")
HOSTILE = (
    '=HYPERLINK("http://evil.example";"x")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1",
    'x";=1+1;"', "x,=1", 'x","=1', "a\n=cmd|' /C calc'!A0", "\uff1d1+1", "x;'=1", "|=1", "\u22125",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_no_cell_begins_with_an_operator_whatever_the_separator(text: str, separator: str) -> None:
    data = to_csv(("id", "answer 1"), [("x1", quoted(text))]).decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(data, newline=""), delimiter=separator))
    for cell in [cell for row in rows for cell in row]:
        assert not re.match(r"[=+@\-\uff1d\uff0b\uff0d\uff20\u2212\t\r\n]", cell), (cell, rows)
    assert not re.search(r"[,;|\t\r\n]\"*[=+@\-\uff1d\u2212]", data)


@given(st.text(max_size=120), st.sampled_from(",;\t|"))
def test_no_text_at_all_gives_a_formula(text: str, separator: str) -> None:
    data = to_csv(("id", "answer 1"), [("x1", quoted(text))]).decode("utf-8-sig")
    for row in csv.reader(io.StringIO(data, newline=""), delimiter=separator):
        for cell in row:
            assert cell[:1] not in tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20\u2212")


@pytest.mark.parametrize("text", ["1/2", "1-2", "1e5", "00123", "TRUE", "3.14", "2024-01-01"])
def test_nothing_is_taken_for_a_number_or_a_date(text: str) -> None:
    assert quoted(text) == f"\u201c{text}\u201d"


def test_texts_that_begin_with_an_operator_stay_as_they_are() -> None:
    assert quoted("=1+1") == "\u201c=1+1\u201d"
    assert quoted("a\n- b") == "\u201ca\n'- b\u201d"


def test_texts_are_visible_and_cut_visibly() -> None:
    assert quoted("a\x00b\u202ec\ud800") == "\u201cabc\ufffd\u201d"
    assert quoted("x" * 10**6) == "\u201c" + "x" * LONGEST_CELL + "\n" + CUT + "\u201d"


def table(separator: str = ",", end: str = "\r\n") -> str:
    rows = [
        ["ID", "Question", "Answer 1", "Better (1, 2 or tie)"],
        ["x1", "“What?”", "“a\r\nb; c, d”", "1"],
        ["", "", "", ""],
        ["x2", "", "é", "tie"],
    ]
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=separator, lineterminator=end).writerows(rows)
    return out.getvalue()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_what_spreadsheets_save_is_read(
    tmp_path: Path, separator: str, encoding: str, end: str
) -> None:
    path = tmp_path / "anna.csv"
    path.write_bytes(table(separator, end).encode(encoding))
    sheet = read_csv(path, NAMES)
    assert [row["id"] for row in sheet.rows] == ["x1", "x2"]
    assert [row["better"] for row in sheet.rows] == ["1", "tie"]
    assert sheet.rows[0]["answer 1"].split() == ["“a", "b;", "c,", "d”"]
    assert sheet.rows[1]["answer 1"] == "é"
    assert sheet.legacy == (encoding == "cp1252")


def test_a_line_that_names_the_separator_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "anna.csv"
    path.write_text("sep=;\n" + table(";"), encoding="utf-8", newline="")
    assert len(read_csv(path, NAMES).rows) == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "has not the columns"),
        (b"id,answer 1\nx,y\n", "has not the columns"),
        (b"PK\x03\x04rest", "is a workbook"),
        (b"id\0,answer 1,better\n", "is no text"),
        (b'id,answer 1,better\n"' + b"x" * 200_000, "cannot be read near line 2"),
        (b'"' + b"x" * 200_000, "has not the columns"),
        (b"id,answer 1,better\n" + b"\n" * 100_001, "more than 100,000 rows"),
    ],
)
def test_what_is_no_table_of_ours_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "anna.csv"
    path.write_bytes(data)
    with pytest.raises(InputError, match=reason):
        read_csv(path, NAMES)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.csv cannot be read"):
        read_csv(tmp_path / "gone.csv", NAMES)
