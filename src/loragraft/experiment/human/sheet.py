"""A table of pairs as people open it, in a spreadsheet, and as they send it back.

What models wrote goes into a program that takes a cell beginning with ``=`` for a formula, and
``1/2`` for a date. So texts stand in typographic quotation marks, and an operator that could begin
a cell elsewhere, in a program that takes another character for the separator, gets an apostrophe
(OWASP, "CSV Injection"). What comes back may be encoded and separated otherwise: by what Excel
saves, in Windows-1252, UTF-16, with semicolons or tabs.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loragraft.errors import InputError
from loragraft.rag.answering.visible import visible

LONGEST_CELL = 30_000
"""Characters of a text; a cell of Excel holds 32,767."""
LARGEST_FILE = 64 * 1024 * 1024
"""Bytes of a table that comes back."""
MOST_ROWS = 100_000
"""Of such a table, blank ones too: more than anybody rates."""
CUT = "[... cut here]"

LEGACY = "cp1252"
"""What Excel saves a CSV in that is not said to be UTF-8; other characters are lost."""

_OPERATORS = "=+@\u2212\uff1d\uff0b\uff0d\uff20-"
_NEXT_CELL = re.compile(rf"([;,|\n][\"']*)([{_OPERATORS}])")
_SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class Sheet:
    """A table that was read.

    Attributes:
        rows: Cells by their column's name, one mapping a row that is not blank.
        legacy: Whether its encoding may have lost characters.
    """

    rows: tuple[Mapping[str, str], ...]
    legacy: bool


def quoted(text: str) -> str:
    """Return a text as a cell that no spreadsheet calculates."""
    text = visible(text).replace("\t", " ").strip()
    if len(text) > LONGEST_CELL:
        text = f"{text[:LONGEST_CELL]}\n{CUT}"
    return f"\u201c{_NEXT_CELL.sub(_apostrophe, text)}\u201d"


def _apostrophe(found: re.Match[str]) -> str:
    return f"{found[1]}'{found[2]}"


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """Return a table as spreadsheets open it: UTF-8 with its mark, CRLF, each cell in quotes."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue().encode("utf-8-sig")


def read_csv(path: Path, required: Sequence[str]) -> Sheet:
    """Read a table that came back.

    Args:
        path: Of any usual encoding and separator.
        required: Names that columns must begin with, in small letters; they are the cells' keys.

    Raises:
        InputError: If it cannot be read, or a column is missing.
    """
    text, legacy = _decode(path)
    for separator in _SEPARATORS:
        rows = _parse(path, text, separator)
        head = [_plain(cell) for cell in next(rows, [])]
        places = {name: _find(head, name) for name in required}
        if None not in places.values():
            return Sheet(tuple(_cells(row, places) for row in rows), legacy)
    raise InputError(
        f"{path} has not the columns {', '.join(required)} in its first row; expected the file "
        "that experiment human --export wrote, filled in and saved as CSV."
    )


def _decode(path: Path) -> tuple[str, bool]:
    """Return a file's text, and whether its encoding may have lost characters.

    Raises:
        InputError: If it cannot be read, or is no text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    if len(data) > LARGEST_FILE:
        raise InputError(f"{path} is larger than {LARGEST_FILE >> 20} MiB; expected a small table.")
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise InputError(f"{path} is a workbook; save the sheet as CSV (UTF-8) and import that.")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if wide else ("utf-8-sig", LEGACY):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text, encoding == LEGACY
    raise InputError(f"{path} is no text; expected a table saved as CSV (UTF-8).")


def _parse(path: Path, text: str, separator: str) -> Iterator[list[str]]:
    """Yield the rows of a table that are not blank, the header first; none where there is none.

    Raises:
        InputError: If a row behind the header cannot be read, or there are too many.
    """
    if text[:4].casefold() == "sep=":  # what Excel writes and reads in front of a table
        text = text.split("\n", 1)[-1]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    begun = False
    try:
        for number, row in enumerate(reader):
            if number > MOST_ROWS:
                raise InputError(
                    f"{path} has more than {MOST_ROWS:,} rows; expected a small table."
                )
            if any(cell.strip() for cell in row):
                yield row
                begun = True
    except csv.Error as error:
        if begun:
            raise InputError(
                f"{path} cannot be read near line {reader.line_num}: {error}. Save it as CSV again."
            ) from None


def _plain(cell: str) -> str:
    return " ".join(cell.split()).strip("'\"\u201c\u201d").casefold()


def _find(head: Sequence[str], name: str) -> int | None:
    return next((at for at, cell in enumerate(head) if cell.startswith(name)), None)


def _cells(row: Sequence[str], places: Mapping[str, int | None]) -> dict[str, str]:
    return {
        name: row[at] if at is not None and at < len(row) else "" for name, at in places.items()
    }
