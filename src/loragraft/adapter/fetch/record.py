"""What a fetched folder says about itself: ``checksums.txt`` and where it came from.

``EXPERIMENT_METADATA.json`` holds, under ``origin``, the source as typed, the pinned revision,
addresses without credentials, times, and size and SHA-256 of every file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from loragraft.adapter.fetch.names import SafeNames, find_renamed
from loragraft.artifact.checksums import (
    CHECKSUMS_NAME,
    check_checksums,
    parse_checksums,
    write_checksums,
)
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.metadata import METADATA_NAME, read_metadata, write_metadata
from loragraft.artifact.progress import Progress
from loragraft.artifact.space import explain_full_disk
from loragraft.errors import AdapterError, BundleError

_LARGEST_LIST = 16 << 20
"""Bytes of a fetched checksum list or metadata file that are read."""
_SHOWN = 4


@dataclass(frozen=True)
class FetchedFile:
    """One file of a fetched folder: its name with ``/``, its size in bytes, its hash."""

    name: str
    bytes: int
    sha256: str


def clear_folder(folder: Path) -> Path:
    """Make a folder empty, and return it."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def adopt(
    source: Path, names: Sequence[str], target: Path, progress: Progress
) -> tuple[list[FetchedFile], list[str]]:
    """Move files to where they stay, under safe names, and hash them.

    Args:
        source: The folder they lie in.
        names: Which, relative to it.
        target: The folder they go to, on the same file system.
        progress: Who wants to know.

    Returns:
        The files as they now are, sorted by name, and what was renamed.

    Raises:
        AdapterError: If two names are one on some system, or a name is unfit.
    """
    safe = SafeNames()
    pairs = [(name, safe.add(name)) for name in names]
    progress.begin("Hashing", sum((source / name).stat().st_size for name in names))
    files: list[FetchedFile] = []
    for name, path in pairs:
        digest = sha256_file(source / name, progress.advance)
        files.append(FetchedFile(str(path), (source / name).stat().st_size, digest))
    for name, path in pairs:  # at the very end: a run that is killed before has lost nothing
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with explain_full_disk(place):
            (source / name).replace(place)
    return sorted(files, key=lambda file: file.name), find_renamed(pairs)


def check_upstream(folder: Path, files: Sequence[FetchedFile]) -> dict[str, Any] | None:
    """Compare a folder with the checksum list it came with, and take that away.

    Files that the list has and that were not fetched are no problem. Ours is written instead.

    Returns:
        The metadata it came with, if it did and they are readable.

    Raises:
        AdapterError: If a file is not what the list says.
    """
    found = {file.name: file.sha256 for file in files}
    path = folder / CHECKSUMS_NAME
    if CHECKSUMS_NAME in found and path.stat().st_size <= _LARGEST_LIST:
        # A checksums.txt in another form than ours is simply a file that is replaced.
        try:
            listed = parse_checksums(path.read_text(encoding="utf-8", errors="surrogateescape"))
        except BundleError:
            listed = {}
        wrong = sorted(n for n, digest in listed.items() if found.get(n, digest) != digest)
        wrong = [name for name in wrong if name != METADATA_NAME]
        if wrong:
            raise AdapterError(
                f"{', '.join(wrong[:_SHOWN])} did not arrive as the source's own "
                f"{CHECKSUMS_NAME} says: damaged, or changed after it was written. Fetch it "
                "again, or ask its author."
            )
    return _upstream_metadata(folder) if METADATA_NAME in found else None


def _upstream_metadata(folder: Path) -> dict[str, Any] | None:
    path = folder / METADATA_NAME
    if path.stat().st_size > _LARGEST_LIST:
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def now() -> str:
    """Return the time as ISO 8601 in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def write_record(
    folder: Path, files: Sequence[FetchedFile], origin: Mapping[str, Any]
) -> dict[str, Any]:
    """Write metadata and checksums into a folder.

    Returns:
        The origin as it is recorded.
    """
    import loragraft

    kept = [file for file in files if file.name not in (CHECKSUMS_NAME, METADATA_NAME)]
    listed = [{"name": f.name, "bytes": f.bytes, "sha256": f.sha256} for f in kept]
    whole = {**origin, "files": listed, "bytes": sum(file.bytes for file in kept)}
    body = {"kind": "fetched adapter", "loragraft": loragraft.__version__, "origin": whole}
    (folder / CHECKSUMS_NAME).unlink(missing_ok=True)
    (folder / METADATA_NAME).unlink(missing_ok=True)
    path = write_metadata(folder, body)
    digests = {file.name: file.sha256 for file in kept}
    write_checksums(folder, {**digests, METADATA_NAME: sha256_file(path)})
    recorded = read_metadata(folder)["origin"]
    assert isinstance(recorded, dict)
    return recorded


def check_folder(folder: Path, progress: Progress | None = None) -> list[str]:
    """Compare a folder with its ``checksums.txt``.

    Returns:
        A sentence for each file that is missing, changed, unreadable or not listed; nothing if
        all is as it was fetched.

    Raises:
        BundleError: If there is no readable list.
    """
    problems = check_checksums(folder, None if progress is None else progress.advance)
    return [problem.message for problem in problems]
