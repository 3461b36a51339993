"""Archives that appear whole or not at all, and are the same for the same files."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loragraft.artifact.space import explain_full_disk

_MODE = 0o644


@dataclass(frozen=True)
class Packed:
    """An archive: where it is, its bytes and its SHA-256."""

    path: Path
    bytes: int
    sha256: str


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Give a path to write to, which gets its name at the end.

    Raises:
        OutOfSpaceError: If the disk is full; an old file of that name stays.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with explain_full_disk(path):
            yield draft
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_tar(out: object, top: Path, files: Iterable[Path]) -> None:
    """Write a tar archive of plain files, without their owners and times.

    Args:
        out: A binary file.
        top: What their names are relative to.
        files: In this order.
    """
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for file in files:
            info = tarfile.TarInfo(file.relative_to(top).as_posix())
            info.size, info.mode = file.stat().st_size, _MODE
            with file.open("rb") as source:
                archive.addfile(info, source)
