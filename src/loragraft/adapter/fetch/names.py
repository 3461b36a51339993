"""Names that come from elsewhere become names that are safe on every system, or are refused.

What leads out of the folder or means different files on different systems is refused; what only
cannot be spelled everywhere is spelled with ``-``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from loragraft.errors import AdapterError

WORK = ".fetch"
"""Folder of unfinished downloads inside the staging folder: no fetched file may claim the name."""

_MAX_PART_BYTES = 200
"""Most file systems take 255; some are needed by names made from these."""
_MAX_BYTES = 1000
"""Of a whole path: Linux takes 4,096, macOS 1,024, with the folder it is stored in."""
_MAX_DEPTH = 16
_REPLACED = re.compile(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]')
_DRIVE = re.compile(r"[A-Za-z]:")
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?", re.I)
_RUBBISH = re.compile(r"(.*/)?(__MACOSX/.*|\._[^/]*|\.DS_Store|Thumbs\.db|desktop\.ini)")


def is_rubbish(name: str) -> bool:
    """Whether a file is what a desktop leaves in archives (``__MACOSX``, ``.DS_Store``)."""
    return _RUBBISH.fullmatch(name.replace("\\", "/")) is not None


def safe_name(name: str) -> PurePosixPath:
    """Return the path, relative to the folder, under which a fetched file is stored.

    Raises:
        AdapterError: If the name leads out of the folder, is empty, too long or too deep, or is
            reserved on Windows.
    """
    path = name.replace("\\", "/")
    if path.startswith("/") or _DRIVE.match(path):
        raise _refuse(name, "is absolute")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts:
        raise _refuse(name, "is empty")
    if ".." in parts:
        raise _refuse(name, "leads out of its folder")
    if "\0" in path:
        raise _refuse(name, "holds a zero byte")
    if len(parts) > _MAX_DEPTH:
        raise _refuse(name, f"is more than {_MAX_DEPTH} folders deep")
    if parts[0].lower() == WORK:
        raise _refuse(name, "is taken by unfinished downloads")
    safe = PurePosixPath(*(_safe_part(part, name) for part in parts))
    if len(str(safe).encode("utf-8")) > _MAX_BYTES:
        raise _refuse(name, f"is longer than {_MAX_BYTES} bytes")
    return safe


def _safe_part(part: str, name: str) -> str:
    safe = _REPLACED.sub("-", part)
    safe = safe.rstrip(". ") or "-"
    if _RESERVED.fullmatch(safe):
        raise _refuse(name, "is reserved on Windows")
    if len(safe.encode("utf-8")) > _MAX_PART_BYTES:
        raise _refuse(name, f"is longer than {_MAX_PART_BYTES} bytes")
    return safe


def _refuse(name: str, why: str) -> AdapterError:
    shown = name if len(name) <= 80 else f"{name[:60]}... ({len(name)} characters)"
    return AdapterError(
        f"The file name {shown!r} {why}. Nothing was kept. If you trust where this comes from, "
        "look into it with another tool, and give the adapter's folder."
    )


class SafeNames:
    """The names of one folder: none twice, not even for systems that ignore case.

    A file and a folder of one name count as the same, too.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def add(self, name: str) -> PurePosixPath:
        """Return the safe path for a name.

        Raises:
            AdapterError: As :func:`safe_name`; or if it is taken.
        """
        path = safe_name(name)
        key = _fold(str(path))
        if key in self._files:
            other = self._files[key]
            again = "twice" if other == name else f"beside {other!r}, one file on some systems,"
            raise _refuse(name, f"stands {again} in the same folder")
        if key in self._folders:
            raise _refuse(name, "is both a file and a folder")
        for parent in path.parents[:-1]:
            folder = _fold(str(parent))
            if folder in self._files:
                raise _refuse(name, f"lies in {str(parent)!r}, which is a file")
            known = self._folders.setdefault(folder, str(parent))
            if known != str(parent):
                raise _refuse(name, f"lies beside {known!r}, one folder on some systems")
        self._files[key] = name
        return path


def _fold(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def find_renamed(pairs: Iterable[tuple[str, PurePosixPath]]) -> list[str]:
    """Say which names were spelled anew."""
    return [
        f"{name!r} is stored as {str(path)!r}."
        for name, path in pairs
        if name.replace("\\", "/").removeprefix("./") != str(path)
    ]
