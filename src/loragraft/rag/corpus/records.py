"""Corpus records: one JSON object a line, read line by line however long the file is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from loragraft.artifact.jsonl import parse_object, raw_lines
from loragraft.errors import InputError
from loragraft.rag.corpus.extracted import tidy, tidy_line
from loragraft.rag.corpus.find import shown
from loragraft.rag.corpus.limits import Limits
from loragraft.rag.corpus.metadata import plain_metadata
from loragraft.rag.records import Skipped

FORMATS = ("text", "markdown", "html")
"""What a record's text may be, in its field "format"."""

_IDS = ("doc_id", "_id", "id")
_OWN = frozenset((*_IDS, "title", "text", "metadata", "format"))
_LONGEST_ID = 1024

_MOST_REPORTS = 20
"""Broken lines of one file that are named; of the others the number is told. A file that begins
with as many holds no records at all."""


class Record(NamedTuple):
    """A line of a file of records."""

    line: int
    doc_id: str
    title: str
    text: str
    format: str
    metadata: dict[str, Any]


def read_records(path: Path, limits: Limits) -> Iterator[Record | Skipped]:
    """Yield the records of a file, and what is wrong with its lines.

    ``doc_id`` and ``text`` are needed; ``title``, ``metadata`` and ``format`` may be there, and
    further fields count as metadata. Lines are UTF-8.

    Raises:
        InputError: If the file holds no records at all.
        OSError: If it cannot be read.
    """
    good = bad = 0
    with path.open("rb") as file:
        for number, _start, _stop, line in raw_lines(file, limits.record_bytes):
            try:
                values = parse_object(line, limits.record_bytes, lenient=True)
                record = _record(number, values)
            except InputError as error:
                bad += 1
                if bad <= _MOST_REPORTS:
                    yield Skipped(f"{shown(path)}, line {number}", str(error))
                if not good and bad == _MOST_REPORTS:
                    raise InputError(
                        f"holds no corpus records: none of its first {bad} lines is one; each "
                        'must be a JSON object with "doc_id" and "text"'
                    ) from None
                continue
            good += 1
            yield record
    if bad > _MOST_REPORTS:
        yield Skipped(shown(path), f"has {bad - _MOST_REPORTS} more lines that are no records")
    if not good and not bad:
        raise InputError("is empty")


def _record(number: int, values: dict[str, Any]) -> Record:
    doc_id = next((values[key] for key in _IDS if key in values), None)
    if isinstance(doc_id, int) and not isinstance(doc_id, bool):
        doc_id = str(doc_id)
    doc_id = tidy_line(doc_id) if isinstance(doc_id, str) else ""
    text, title = values.get("text"), values.get("title")
    if not doc_id or len(doc_id) > _LONGEST_ID:
        raise InputError(f'needs a "doc_id" of 1 to {_LONGEST_ID} characters')
    if not isinstance(text, str):
        raise InputError(f'needs a "text" (record {doc_id!r})')
    kind = values.get("format") or "text"
    if kind not in FORMATS:
        raise InputError(f'has the "format" {kind!r}; there are {", ".join(FORMATS)}')
    title = tidy_line(title) if isinstance(title, str) else ""
    body = tidy(text).strip("\n") if kind == "text" else text
    return Record(number, doc_id, title, body, kind, _metadata(values))


def _metadata(values: dict[str, Any]) -> dict[str, Any]:
    given = values.get("metadata")
    more = {key: value for key, value in values.items() if key not in _OWN}
    if given is not None and not isinstance(given, dict):
        more["metadata"] = given
    return plain_metadata({**more, **(given if isinstance(given, dict) else {})})
