"""JSON lines: one object a line, read however long the file is, written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

from loragraft.artifact.files import open_regular, sync_folder
from loragraft.artifact.hashing import HashingFile
from loragraft.errors import InputError

MIB = 1024 * 1024

LONGEST_LINE = 16 * MIB
"""Bytes of a line. A record of a data set has kilobytes; what is beyond is a file without line
ends, and would have to be in memory at once."""

_READ = 64 * 1024
_MARK = b"\xef\xbb\xbf"
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_GIVEN = ("/dev/", "/proc/")
"""Where a process finds what a shell opened for it: somebody writes there."""
_NO_LINES = (
    (b"\x1f\x8b", "is compressed with gzip: unpack it first (gunzip -k FILE)"),
    (b"BZh", "is compressed with bzip2: unpack it first (bunzip2 -k FILE)"),
    (b"\x28\xb5\x2f\xfd", "is compressed with Zstandard: unpack it first (unzstd FILE)"),
    (b"\xfd7zXZ", "is compressed with xz: unpack it first (unxz -k FILE)"),
    (b"PK\x03\x04", "is a ZIP archive: unpack it first"),
    (b"PAR1", "is a Parquet file: write it as JSON lines first"),
    (b"\xff\xfe", "is UTF-16: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)"),
    (b"\xfe\xff", "is UTF-16: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)"),
)


class Line(NamedTuple):
    """A line that holds an object.

    Attributes:
        number: From 1.
        start: Where it begins, in bytes of the file.
        stop: Where the next one begins.
        values: The object.
    """

    number: int
    start: int
    stop: int
    values: dict[str, Any]


class Broken(NamedTuple):
    """A line that holds none, and why not, as the end of a sentence that begins with it."""

    number: int
    start: int
    stop: int
    reason: str


class RawLine(NamedTuple):
    """A line as it stands in a file; ``data`` is None where it is longer than allowed."""

    number: int
    start: int
    stop: int
    data: bytes | None


def read_jsonl(
    path: Path,
    *,
    start: int = 0,
    number: int = 0,
    on_broken: Callable[[int, str], object] | None = None,
) -> Iterator[Line]:
    """Yield the lines of a file, blank ones left out.

    Args:
        path: UTF-8, with or without a byte order mark; lines end with LF or CRLF.
        start: Byte at which to begin: a ``stop`` of an earlier line.
        number: How many lines lie before that byte.
        on_broken: Called with the number of a line that is no JSON object and the reason, as the
            end of a sentence; the line is then passed over.

    Raises:
        InputError: If the file cannot be read, or a line is no JSON object and nobody is to be
            told; names file and line.
    """
    for line in scan_jsonl(path, start=start, number=number):
        if isinstance(line, Line):
            yield line
        elif on_broken is None:
            raise InputError(f"{path}, line {line.number} {line.reason}.")
        else:
            on_broken(line.number, line.reason)


def scan_jsonl(path: Path, *, start: int = 0, number: int = 0) -> Iterator[Line | Broken]:
    """Yield the lines of a file as :func:`read_jsonl` does, and those that are broken as such.

    Raises:
        InputError: If the file cannot be read, or is nothing made of lines.
    """
    with open_lines(path) as file:
        if start:
            file.seek(start)
        for raw in raw_lines(file, LONGEST_LINE, start=start, number=number):
            try:
                yield Line(*raw[:3], parse_object(raw.data, LONGEST_LINE))
            except InputError as error:
                yield Broken(*raw[:3], str(error) + _cut_off(raw.data))


def open_lines(path: Path) -> BufferedReader:
    """Open a file of lines.

    Raises:
        InputError: If it cannot be opened, is no regular file (but for what a process is given,
            as /dev/stdin), or begins as a file of another kind does.
    """
    try:
        file = path.open("rb") if str(path).startswith(_GIVEN) else open_regular(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; expected a file of JSON lines.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; expected a file of JSON lines.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path} cannot be read: {reason}.") from None
    try:
        head = file.peek(8)
    except OSError as error:
        file.close()
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    for magic, what in _NO_LINES:
        if head.startswith(magic):
            file.close()
            raise InputError(f"{path} {what}.")
    return file


def raw_lines(
    file: BinaryIO, longest: int, *, start: int = 0, number: int = 0
) -> Iterator[RawLine]:
    """Yield the lines of an open file that are not blank; of too long ones only where they are."""
    position = start
    while data := file.readline(longest + 1):
        number += 1
        begin, size = position, len(data)
        if begin == 0:
            data = data.removeprefix(_MARK)
        too_long = len(data) > longest
        while too_long and data and not data.endswith(b"\n"):
            data = file.readline(_READ)
            size += len(data)
        position += size
        if too_long or data.strip():
            yield RawLine(number, begin, position, None if too_long else data)


def parse_object(
    data: bytes | None, longest: int = LONGEST_LINE, *, lenient: bool = False
) -> dict[str, Any]:
    """Read one line.

    Args:
        data: The line; None where it is longer than allowed.
        longest: How many bytes are allowed.
        lenient: Whether a key may stand twice (the last counts), half surrogates and
            endless numbers may stay.

    Raises:
        InputError: If it is no JSON object; as the end of a sentence that begins with the line.
    """
    if data is None:
        raise InputError(f"is longer than {longest // MIB} MiB: divide the document")
    try:
        values = json.loads(
            data.decode("utf-8"),
            parse_constant=_refuse,
            parse_float=None if lenient else _finite,
            object_pairs_hook=None if lenient else _once,
        )
    except UnicodeDecodeError as error:
        raise InputError(f"is no UTF-8: byte 0x{data[error.start]:02x} does not fit") from None
    except RecursionError:
        raise InputError("is no JSON that can be read: it is nested too deeply") from None
    except json.JSONDecodeError as error:  # its own "line 1" would be taken for the file's
        raise InputError(f"is no JSON: {error.msg} at column {error.colno}") from None
    except ValueError as error:
        raise InputError(f"is no JSON: {' '.join(str(error).split())[:200]}") from None
    if isinstance(values, list):
        raise InputError("is a JSON list, not an object: write one object a line (jq -c '.[]')")
    if not isinstance(values, dict):
        raise InputError(f"is a JSON {type(values).__name__}, not an object")
    if not lenient and _HALF.search(data):
        _check_whole(values)
    return values


def _cut_off(data: bytes | None) -> str:
    if data is None:
        return ""
    if data.strip() in (b"[", b"{"):
        return "; the object goes over several lines: write one a line (jq -c . FILE)"
    return "" if data.endswith(b"\n") else "; it is the last line and has no end: was it cut off?"


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number that JSON has")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is larger than any number")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return values


def _check_whole(values: Mapping[str, Any]) -> None:
    try:
        json.dumps(values, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        raise InputError(
            f"holds half a character (\\u{code:04x} without its other half), which no text can "
            "hold: a text was cut inside of it"
        ) from None


def dump_line(values: Mapping[str, Any]) -> bytes:
    r"""Spell an object as one line of UTF-8 that ends with ``\n``; keys keep their order.

    Raises:
        InputError: If it holds NaN, an infinity, half a character or what JSON has no form for.
    """
    try:
        return json.dumps(values, ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n"
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"A record cannot be written as JSON: {error}.") from None


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    """Write a file whose name shows the old or the new content, never a part.

    Args:
        path: Where; its folder must exist.
        rows: Objects, written as they come.

    Returns:
        The SHA-256 of the file.

    Raises:
        InputError: If an object cannot be written.
        OutOfSpaceError: If the disk is full; the old content stays.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with HashingFile(draft) as file:
            _fill(file, rows)
            file.sync()
            digest = file.hexdigest()
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return digest


def _fill(file: HashingFile, rows: Iterable[Mapping[str, Any]]) -> None:
    waiting = bytearray()
    for row in rows:
        waiting += dump_line(row)
        if len(waiting) >= MIB:
            file.write(waiting)
            waiting = bytearray()
    file.write(waiting)
