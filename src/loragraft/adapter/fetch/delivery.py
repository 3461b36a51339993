"""What every way of fetching hands over: a folder of plain files, and where they came from."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loragraft.adapter.fetch.archive import archive_kind, unpack
from loragraft.adapter.fetch.limits import Limits
from loragraft.adapter.fetch.names import safe_name
from loragraft.adapter.fetch.record import clear_folder
from loragraft.artifact.progress import Progress

_LOOK_SECONDS = 0.5
"""Between two looks at how far a foreign program has come."""


@dataclass(frozen=True)
class Delivery:
    """What arrived.

    Attributes:
        folder: Its files; they may be moved away.
        files: Their names, relative to the folder, with ``/``.
        revision: The exact revision they are of, where the source has such.
        origin: What else there is to say of where they came from, for the record.
        notes: Sentences for the user.
        resumed: Bytes that an earlier, interrupted run had brought.
    """

    folder: Path
    files: tuple[str, ...]
    revision: str | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    resumed: int = 0


def list_files(folder: Path) -> list[str]:
    """Return the plain files of a folder, links left out, sorted."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def open_parcel(
    file: Path, name: str, work: Path, limits: Limits, progress: Progress
) -> tuple[Path, list[str]]:
    """Turn one file into a folder: an archive unpacked, anything else moved into it.

    Returns:
        The folder, and what the user should read.
    """
    folder = clear_folder(work / "parcel")
    if archive_kind(file, name) is not None:
        notes = unpack(file, folder, limits, progress)
        return without_wrapping(folder), notes
    file.replace(folder / safe_name(name).name)
    return folder, []


def without_wrapping(folder: Path) -> Path:
    """Return the one folder that an archive holds at its top, or the folder itself."""
    children = list(folder.iterdir())
    alone = len(children) == 1 and children[0].is_dir()
    return children[0] if alone else folder


@contextmanager
def watch_growth(folder: Path, stage: str, total: int, progress: Progress) -> Iterator[None]:
    """Tell a progress how a folder grows while another program writes into it."""
    progress.begin(stage, total)
    done = threading.Event()
    start = folder_bytes(folder)

    def watch() -> None:
        seen = start
        while not done.wait(_LOOK_SECONDS):
            now = folder_bytes(folder)
            if now > seen:
                progress.advance(now - seen)
                seen = now

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def folder_bytes(folder: Path) -> int:
    """Return the size of all files in a folder, which may change meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # gone meanwhile
            continue
    return total
