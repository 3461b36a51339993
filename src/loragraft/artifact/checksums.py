"""``checksums.txt``, in the format that ``sha256sum -c`` reads.

One line a file: 64 hexadecimal digits, a space, a space or ``*``, the name. A name with a
backslash or a line break is escaped, and its line then starts with a backslash (GNU coreutils,
"cksum output modes").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from loragraft.artifact.files import write_atomically
from loragraft.artifact.hashing import sha256_file
from loragraft.errors import BundleError

CHECKSUMS_NAME = "checksums.txt"

_LINE = re.compile(r"(?P<escaped>\\?)(?P<digest>[0-9a-fA-F]{64}) [ *](?P<name>.+)", re.DOTALL)
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)
_UNESCAPES = {"\\": "\\", "n": "\n", "r": "\r"}


@dataclass(frozen=True)
class ChecksumProblem:
    """One file that is not what the list says.

    Attributes:
        name: Its name, relative to the folder.
        kind: Whether it is gone, altered, unreadable, or in the folder but not in the list.
        message: What was found and expected, as a sentence.
    """

    name: str
    kind: Literal["missing", "changed", "unreadable", "unlisted"]
    message: str


def _check_inside(name: str) -> None:
    """Refuse a name that leads out of the folder.

    Raises:
        BundleError: If it is absolute, climbs up or cannot be a path.
    """
    path = PurePath(name)
    if path.is_absolute() or path.drive or path.root or ".." in path.parts or "\0" in name:
        raise BundleError(
            f"The checksum list names {name!r}, which leads out of its folder. "
            "Do not use this bundle; fetch it again from its source."
        )


def _format_line(name: str, digest: str) -> str:
    escaped = "".join(_ESCAPES.get(character, character) for character in name)
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n"


def _unescape(name: str) -> str:
    def replace(match: re.Match[str]) -> str:
        try:
            return _UNESCAPES[match[1]]
        except KeyError:
            raise BundleError(f"The checksum list holds the odd escape {match[0]!r}.") from None

    return _ESCAPED.sub(replace, name)


def format_checksums(digests: Mapping[str, str]) -> str:
    """Spell a checksum list, sorted by name.

    Args:
        digests: SHA-256 in hexadecimal by file name, relative to the folder, with ``/``.

    Raises:
        BundleError: If a name leads out of the folder.
    """
    for name in digests:
        _check_inside(name)
    return "".join(_format_line(name, digests[name].lower()) for name in sorted(digests))


def parse_checksums(text: str) -> dict[str, str]:
    """Read a checksum list: either mark, CRLF, escaped names, comments and empty lines are fine.

    Returns:
        SHA-256 in lower-case hexadecimal by file name, in the order of the list.

    Raises:
        BundleError: If a line is no checksum, a name leads out of the folder or stands twice.
    """
    digests: dict[str, str] = {}
    # Only "\n" ends a line here: str.splitlines also breaks at characters that names may hold.
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        line = raw.removesuffix("\r")
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise BundleError(
                f"Line {number} of the checksum list is {line[:80]!r}; expected 64 hexadecimal "
                "digits, two spaces and a file name, as sha256sum writes."
            )
        name = _unescape(match["name"]) if match["escaped"] else match["name"]
        _check_inside(name)
        if name in digests:
            raise BundleError(f"The checksum list names {name!r} twice (line {number}).")
        digests[name] = match["digest"].lower()
    return digests


def write_checksums(folder: Path, digests: Mapping[str, str]) -> Path:
    """Write ``checksums.txt`` into a folder, whole or not at all.

    Returns:
        The path of the list.
    """
    path = folder / CHECKSUMS_NAME
    write_atomically(path, format_checksums(digests).encode("utf-8", "surrogateescape"))
    return path


def read_checksums(folder: Path) -> dict[str, str]:
    """Read a folder's ``checksums.txt``.

    Raises:
        BundleError: If it is missing or no checksum list.
    """
    path = folder / CHECKSUMS_NAME
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read ({error.strerror}): {folder} is not a bundle."
        ) from None
    return parse_checksums(data.decode("utf-8", "surrogateescape"))


def check_checksums(
    folder: Path, on_bytes: Callable[[int], object] | None = None
) -> list[ChecksumProblem]:
    """Compare a folder with its ``checksums.txt``.

    Args:
        folder: The bundle.
        on_bytes: Called with the number of bytes of each block read.

    Returns:
        What differs; nothing if all is well. Hidden files that are not listed are passed over.

    Raises:
        BundleError: If there is no readable list.
    """
    digests = read_checksums(folder)
    problems = [_check_file(folder, name, digest, on_bytes) for name, digest in digests.items()]
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    unlisted = sorted(present - set(digests) - {CHECKSUMS_NAME})
    problems += [
        ChecksumProblem(name, "unlisted", f"{name} is not in {CHECKSUMS_NAME}.")
        for name in unlisted
        if not name.startswith(".")
    ]
    return [problem for problem in problems if problem is not None]


def _check_file(
    folder: Path, name: str, expected: str, on_bytes: Callable[[int], object] | None
) -> ChecksumProblem | None:
    try:
        found = sha256_file(folder / name, on_bytes)
    except (FileNotFoundError, NotADirectoryError):
        return ChecksumProblem(name, "missing", f"{name} is listed but not there.")
    except OSError as error:
        return ChecksumProblem(name, "unreadable", f"{name} cannot be read: {error.strerror}.")
    if found == expected:
        return None
    return ChecksumProblem(
        name, "changed", f"{name} has SHA-256 {found}, but the list says {expected}."
    )
