"""What leaves a hosted machine: the trained adapter, or the state of a run that is not done."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loragraft.adapter.fetch.archive import unpack
from loragraft.adapter.fetch.limits import Limits
from loragraft.artifact.checksums import check_checksums
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.names import check_name
from loragraft.artifact.space import explain_full_disk
from loragraft.errors import BundleError

_MODE = 0o644
_STATE = (".{}.journal", ".{}.staging")
"""What a run that was stopped leaves beside its output (see ``artifact/publish.py``)."""
_GIB = 1 << 30
_STATE_LIMITS = Limits(100 * _GIB, 100 * _GIB, 100_000, ratio=float("inf"))


@dataclass(frozen=True)
class Packed:
    """An archive: where it is, its bytes and its SHA-256."""

    path: Path
    bytes: int
    sha256: str


def pack_result(folder: Path, into: Path) -> Packed:
    """Pack a published adapter as ``NAME.tar.gz``; the same files give the same bytes.

    Args:
        folder: What ``train run`` published.
        into: The folder that the archive goes into.

    Raises:
        BundleError: If a file is not what ``checksums.txt`` says.
        OutOfSpaceError: If the disk is full.
    """
    problems = check_checksums(folder)
    if problems:
        raise BundleError(
            f"{folder} is not what its checksums say: {problems[0].message} Train it again, or "
            "fetch it from where it was trained."
        )
    path = into / f"{folder.name}.tar.gz"
    # Neither name nor time: they would make every archive another one.
    with (
        _draft(path) as draft,
        draft.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
    ):
        _write(packed, folder.parent, (folder,))
    return Packed(path, path.stat().st_size, sha256_file(path))


def pack_unfinished(outputs: Path, experiment_id: str, into: Path) -> Packed | None:
    """Pack what a stopped run needs to go on as ``NAME_unfinished.tar``.

    Returns:
        The archive; None where there is nothing to go on from.
    """
    state = [outputs / name.format(check_name(experiment_id)) for name in _STATE]
    if not all(path.exists() for path in state):
        return None
    path = _unfinished(into, experiment_id)
    with _draft(path) as draft, draft.open("wb") as raw:
        _write(raw, outputs, state)
    return Packed(path, path.stat().st_size, sha256_file(path))


def restore_unfinished(outputs: Path, experiment_id: str, places: Iterable[Path]) -> Path | None:
    """Unpack the state of a stopped run, where there is none yet.

    Args:
        outputs: Where the run writes.
        experiment_id: Its name.
        places: Folders that the archive may lie in; an earlier one wins.

    Returns:
        The archive that was unpacked; None if none was.

    Raises:
        AdapterError: If it is broken.
    """
    state = [outputs / name.format(check_name(experiment_id)) for name in _STATE]
    if (outputs / experiment_id).exists() or state[0].exists():
        return None
    found = next((p for p in (_unfinished(q, experiment_id) for q in places) if p.is_file()), None)
    if found is None:
        return None
    draft = outputs / f".{experiment_id}.restored"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    unpack(found, draft, _STATE_LIMITS)
    for path in reversed(state):  # the journal vouches for the rest: it comes last
        shutil.rmtree(path, ignore_errors=True)
        (draft / path.name).rename(path)
    draft.rmdir()
    return found


def _unfinished(folder: Path, experiment_id: str) -> Path:
    return folder / f"{experiment_id}_unfinished.tar"


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """Give a path to write to, which gets its name at the end."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with explain_full_disk(path):
            yield draft
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _write(out: object, top: Path, paths: Iterable[Path]) -> None:
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for path in paths:
            files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
            for file in files:
                _add(archive, file, file.relative_to(top).as_posix())


def _add(archive: tarfile.TarFile, file: Path, name: str) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = file.stat().st_size, _MODE
    with file.open("rb") as source:
        archive.addfile(info, source)
