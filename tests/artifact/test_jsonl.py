"""JSON lines: what is read, what is refused and in which words, what is written."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.artifact import jsonl
from loragraft.artifact.jsonl import (
    Broken,
    Line,
    dump_line,
    parse_object,
    read_jsonl,
    scan_jsonl,
    write_jsonl,
)
from loragraft.errors import InputError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def write(folder: Path, data: bytes) -> Path:
    path = folder / "data.jsonl"
    path.write_bytes(data)
    return path


@given(rows=st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), max_size=6))
def test_what_is_written_is_read_again(
    rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"round-{os.getpid()}.jsonl"
    digest = write_jsonl(path, rows)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [line.values for line in read_jsonl(path)] == rows


def test_lines_are_numbered_and_placed_whatever_ends_them(tmp_path: Path) -> None:
    data = '\ufeff{"a": 1}\r\n\r\n  \n{"b": "\u2028é"}\n{"c": 3}'.encode()
    path = write(tmp_path, data)
    lines = list(read_jsonl(path))
    assert [(line.number, line.values) for line in lines] == [
        (1, {"a": 1}), (4, {"b": "\u2028é"}), (5, {"c": 3}),
    ]  # fmt: skip
    assert data[lines[1].start : lines[1].stop] == '{"b": "\u2028é"}\n'.encode()
    assert lines[-1].stop == len(data)


def test_reading_goes_on_behind_any_line(tmp_path: Path) -> None:
    path = write(tmp_path, b'{"n": 0}\n\n{"n": 1}\r\n{"n": 2}\n')
    lines = list(read_jsonl(path))
    for at, line in enumerate(lines):
        assert list(read_jsonl(path, start=line.stop, number=line.number)) == lines[at + 1 :]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": 1e999}', "larger than any number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is no JSON"),
        (b'{"a": "\\ud83d"}', "half a character"),
        (b'{"\\uDE00": 1}', "half a character"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands twice"),
        (b'{"a": "\xe9"}', "no UTF-8: byte 0xe9"),
        (b"[1, 2]", "JSON list"),
        (b'"text"', "JSON str"),
        (b"null", "JSON NoneType"),
        (b"[" * 100_000, "nested too deeply"),
        (b"{'a': 1}", "is no JSON: Expecting property name enclosed in double quotes at column"),
        (b"{", "several lines"),
    ],
)
def test_a_broken_line_is_named_and_the_others_are_scanned(
    tmp_path: Path, line: bytes, words: str
) -> None:
    path = write(tmp_path, b'{"ok": 1}\n' + line + b'\n{"ok": 2}\n')
    with pytest.raises(InputError, match="line 2 ") as caught:
        list(read_jsonl(path))
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    told: list[tuple[int, str]] = []
    kept = list(read_jsonl(path, on_broken=lambda *what: told.append(what)))
    assert [line.values for line in kept] == [{"ok": 1}, {"ok": 2}]
    first, broken, last = scan_jsonl(path)
    assert isinstance(broken, Broken)
    assert told == [(2, broken.reason)]
    assert (first.number, broken.number, last.number) == (1, 2, 3)
    assert words in broken.reason


def test_a_whole_pair_of_surrogates_is_a_character(tmp_path: Path) -> None:
    [line] = read_jsonl(write(tmp_path, b'{"a": "\\ud83d\\ude00"}'))
    assert line.values == {"a": "\U0001f600"}


def test_a_file_cut_off_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 2 is no JSON.*was it cut off"):
        list(read_jsonl(write(tmp_path, b'{"a": 1}\n{"a": "b')))


def test_a_line_without_end_is_not_held_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "LONGEST_LINE", jsonl.MIB)
    data = b'{"a": 1}\n{"a": "' + b"x" * (2 * jsonl.MIB) + b'"}\n{"a": 3}\n'
    first, broken, last = scan_jsonl(write(tmp_path, data))
    assert isinstance(first, Line)
    assert isinstance(broken, Broken)
    assert broken.reason == "is longer than 1 MiB: divide the document"
    assert isinstance(last, Line)
    assert (last.number, last.values, last.stop) == (3, {"a": 3}, len(data))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x1f\x8b\x08\x00", "gunzip"),
        (b"PK\x03\x04", "ZIP"),
        (b"PAR1....", "Parquet"),
        ('{"a": 1}'.encode("utf-16"), "UTF-16"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_words(
    tmp_path: Path, data: bytes, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        list(read_jsonl(write(tmp_path, data)))


def test_what_is_no_file_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        list(read_jsonl(tmp_path / "none.jsonl"))
    with pytest.raises(InputError, match="is a folder"):
        list(read_jsonl(tmp_path))


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    assert list(read_jsonl(write(tmp_path, b""))) == []
    assert list(read_jsonl(write(tmp_path, b"\xef\xbb\xbf"))) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = write(tmp_path, b'{"old": 1}\n')

    def rows() -> Iterator[dict[str, Any]]:
        yield {"new": 1}
        yield {"new": math.inf}

    with pytest.raises(InputError, match="cannot be written as JSON"):
        write_jsonl(path, rows())
    assert path.read_bytes() == b'{"old": 1}\n'
    assert [item.name for item in tmp_path.iterdir()] == ["data.jsonl"]


def test_a_line_keeps_its_order_and_its_characters() -> None:
    assert dump_line({"z": "é", "a": [1]}) == '{"z": "é", "a": [1]}\n'.encode()
    for odd in ({"a": "\ud800"}, {"a": {1, 2}}, {"a": math.nan}):
        with pytest.raises(InputError):
            dump_line(odd)


def test_a_corpus_may_hold_what_a_record_may_not() -> None:
    line = b'{"a": "\\ud800", "a": "b\\ud800", "n": 1e999}'
    assert parse_object(line, lenient=True) == {"a": "b\ud800", "n": math.inf}
    assert json.loads(line) == {"a": "b\ud800", "n": math.inf}
