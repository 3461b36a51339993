"""Corpus records, line by line; every broken line is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loragraft.errors import InputError
from loragraft.rag.corpus.limits import Limits
from loragraft.rag.corpus.records import Record, read_records
from loragraft.rag.records import Skipped


def _read(folder: Path, *lines: Any, **limits: Any) -> list[Record | Skipped]:  # noqa: ANN401
    data = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path = folder / "records.jsonl"
    path.write_bytes(b"\n".join(data))
    return list(read_records(path, Limits(**limits)))


def test_a_record_has_id_title_text_and_metadata(tmp_path: Path) -> None:
    [record] = _read(
        tmp_path,
        {"doc_id": "p1", "title": " A\ntitle ", "text": "x\r\ny", "year": 2020,
         "metadata": {"journal": "J"}},
    )  # fmt: skip
    assert record == Record(1, "p1", "A title", "x\ny", "text", {"year": 2020, "journal": "J"})


def test_other_names_of_ids_are_taken(tmp_path: Path) -> None:
    found = _read(tmp_path, {"_id": "a", "text": "x"}, b"", {"id": 7, "text": "y"})
    assert [(r.doc_id, r.line) for r in found if isinstance(r, Record)] == [("a", 1), ("7", 3)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"doc_id": "x", "text": ', "is no JSON"),
        (b"\xff\xfe{}", "is no UTF-8: byte 0xff"),
        (b"[1]", "jq -c"),
        (b"17", "is a JSON int"),
        ({"text": "x"}, 'needs a "doc_id"'),
        ({"doc_id": " ", "text": "x"}, 'needs a "doc_id"'),
        ({"doc_id": True, "text": "x"}, 'needs a "doc_id"'),
        ({"doc_id": "x" * 2000, "text": "x"}, 'needs a "doc_id"'),
        ({"doc_id": "x", "text": None}, "needs a \"text\" (record 'x')"),
        ({"doc_id": "x", "text": "y", "format": "docx"}, "'docx'"),
        (b'{"doc_id": "x", "text": "y", "v": NaN}', "NaN"),
        (b"[" * 100_000, "is no JSON"),
        (b'{"doc_id": "' + b"x" * 2_000_000 + b'"}', "is longer than 1 MiB"),
    ],
)
def test_a_broken_line_is_named_and_the_others_are_read(
    tmp_path: Path, line: Any, reason: str  # noqa: ANN401
) -> None:  # fmt: skip
    good = {"doc_id": "good", "text": "x"}
    found = _read(tmp_path, good, line, {**good, "doc_id": "last"}, record_bytes=1024 * 1024)
    assert [r.doc_id for r in found if isinstance(r, Record)] == ["good", "last"]
    [skipped] = [r for r in found if isinstance(r, Skipped)]
    assert skipped.source.endswith("records.jsonl, line 2")
    assert reason in skipped.reason


def test_a_file_without_records_is_left_after_some_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"no record\n" * 1000)
    found = []
    with pytest.raises(InputError, match="none of its first 20 lines"):
        found.extend(iter(read_records(path, Limits())))


def test_many_broken_lines_are_counted(tmp_path: Path) -> None:
    found = _read(tmp_path, {"doc_id": "x", "text": "y"}, *[b"broken"] * 50)
    assert sum(isinstance(item, Skipped) for item in found) == 21
    assert isinstance(found[-1], Skipped)
    assert "30 more lines" in found[-1].reason


def test_half_surrogates_become_something_that_can_be_stored(tmp_path: Path) -> None:
    [record] = _read(tmp_path, b'{"doc_id": "a\\ud800", "text": "b\\u0000c\\udfff"}')
    assert isinstance(record, Record)
    assert (record.doc_id, record.text) == ("a\ufffd", "bc\ufffd")


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is empty"):
        _read(tmp_path)
