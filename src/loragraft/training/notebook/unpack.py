"""The other end: a notebook finds its data, unpacks it, and trusts nothing but its hash."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from loragraft.adapter.fetch.archive import unpack
from loragraft.adapter.fetch.limits import Limits
from loragraft.artifact.checksums import CHECKSUMS_NAME, check_checksums
from loragraft.artifact.files import write_atomically
from loragraft.errors import InputError
from loragraft.training.notebook.parcel import CONFIG_NAME

_MOST_FILES = 100_000
"""Documents of a corpus, say; the hash of the list has vouched for the sender already."""


def unpack_data(
    name: str,
    checksums_sha256: str,
    places: Iterable[Path],
    folder: Path,
    *,
    content_bytes: int,
    inside: str | None = None,
) -> Path:
    """Put the data of a run into a folder, and check every file.

    Args:
        name: Of the archive. Some platforms unpack what is uploaded: its files do as well.
        checksums_sha256: Of its ``checksums.txt``.
        places: Folders that it may lie in; an earlier one wins.
        folder: Where to; replaced, unless it is the data already.
        content_bytes: Of all files; no more is unpacked.
        inside: The archive itself in base64, where the notebook holds it.

    Returns:
        The path of the run's configuration.

    Raises:
        InputError: If the data is nowhere, or not that for which the notebook was written.
    """
    if not _is_data(folder, checksums_sha256):
        draft = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        _bring(name, checksums_sha256, list(places), draft, content_bytes, inside)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    return folder / CONFIG_NAME


def _bring(
    name: str, digest: str, places: list[Path], draft: Path, most: int, inside: str | None
) -> None:
    limits = Limits(most, most, _MOST_FILES, ratio=float("inf"))
    if inside is not None:
        archive = draft.with_name(f".{name}")
        write_atomically(archive, base64.b64decode(inside))
        unpack(archive, draft, limits)
        archive.unlink()
    elif (found := _find(name, digest, places)).is_dir():
        shutil.copytree(found, draft, dirs_exist_ok=True)
    else:
        unpack(found, draft, limits)
    if not _is_data(draft, digest):
        raise InputError(
            f"{name} is not the data that this notebook was written for: it is damaged, or of "
            "another `loragraft train notebook`. Take notebook and data of the same run of it."
        )


def _find(name: str, digest: str, places: list[Path]) -> Path:
    """Return the archive, or a folder with its files."""
    for place in places:
        if (place / name).is_file():
            return place / name
        for folder in (place, place / name, place / name.removesuffix(".zip")):
            if _listed(folder) == digest:
                return folder
    shown = ", ".join(str(place) for place in places[:8])
    raise InputError(
        f"{name} is not there. It lies beside the notebook where that was written: upload it, "
        f"and run this cell again. Looked in: {shown}."
    )


def _is_data(folder: Path, digest: str) -> bool:
    return _listed(folder) == digest and not check_checksums(folder)


def _listed(folder: Path) -> str | None:
    """Return the hash of a folder's list of checksums; None where there is none."""
    try:
        return hashlib.sha256((folder / CHECKSUMS_NAME).read_bytes()).hexdigest()
    except OSError:
        return None
