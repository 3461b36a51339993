"""The state of a run on a machine that may vanish: kept elsewhere, and brought back.

A run works on the machine's own disk, which locks and renames as it must; what it can go on from
is copied to where it stays, one archive that is whole at every moment.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loragraft.adapter.fetch.archive import unpack
from loragraft.adapter.fetch.limits import Limits
from loragraft.artifact.checksums import CHECKSUMS_NAME
from loragraft.artifact.files import write_atomically
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.names import check_name
from loragraft.errors import LoragraftError
from loragraft.training.notebook.tar import Packed, draft_of, write_tar
from loragraft.training.resume import FOLDER, PREFIX

KEEP_SECONDS = 600.0
"""Between two copies: a checkpoint of a small model is written every minute, and a drive is slow.
This much work is lost at most, besides what came after the last checkpoint."""
_GIB = 1 << 30
_LIMITS = Limits(100 * _GIB, 100 * _GIB, 100_000, ratio=float("inf"))
_TRIES = 5


def _journal(outputs: Path, name: str) -> Path:
    return outputs / f".{check_name(name)}.journal"


def _staging(outputs: Path, name: str) -> Path:
    return outputs / f".{check_name(name)}.staging"


def _size(outputs: Path, name: str) -> Path:
    return outputs / f".{check_name(name)}.size.json"


def _archive(folder: Path, name: str) -> Path:
    return folder / f"{name}_unfinished.tar"


def choose_size(
    outputs: Path,
    name: str,
    sizes: Mapping[str, Mapping[str, Any]],
    gpu: str,
    own: Mapping[str, Any],
) -> Mapping[str, Any]:
    """Return how a step is divided: as the run began, or as suits the GPU.

    A run that went on with other batches would not be the same run, so an unfinished one keeps
    its own, whichever GPU it is on.

    Args:
        outputs: Where the run writes.
        name: Its id.
        sizes: By a part of the GPU's name.
        gpu: The GPU's name.
        own: What the configuration says, for other GPUs.
    """
    kept = _size(outputs, name)
    if _journal(outputs, name).exists() and kept.exists():
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    size = next((size for part, size in sizes.items() if part in gpu), own)
    outputs.mkdir(parents=True, exist_ok=True)
    write_atomically(kept, json.dumps(size).encode())
    return size


def pack_unfinished(outputs: Path, name: str, into: Path) -> Packed | None:
    """Pack what a run needs to go on as ``NAME_unfinished.tar``; it may be running.

    Returns:
        The archive; None where there is no whole checkpoint yet.

    Raises:
        OutOfSpaceError: If the disk is full.
    """
    path = _archive(into, name)
    for _ in range(_TRIES):
        try:
            files = list(_files(outputs, name))
            if not _sealed(outputs, name):
                return None
            with draft_of(path) as draft, draft.open("wb") as out:
                write_tar(out, outputs, files)
            return Packed(path, path.stat().st_size, sha256_file(path))
        except FileNotFoundError:  # a checkpoint was deleted meanwhile: a newer one is there
            continue
        except OSError as error:
            if error.errno is not None:
                raise
            continue  # tarfile's: a file became shorter while it was read
    return None


def _sealed(outputs: Path, name: str) -> frozenset[str]:
    """Return the names of the checkpoints that are whole."""
    found = (_staging(outputs, name) / FOLDER).glob(f"{PREFIX}*/{CHECKSUMS_NAME}")
    return frozenset(path.parent.name for path in found)


def _files(outputs: Path, name: str) -> Iterator[Path]:
    """Yield the files of a run, the journal last, without checkpoints that are being written."""
    staging, sealed = _staging(outputs, name), _sealed(outputs, name)
    for path in sorted(staging.rglob("*")):
        parts = path.relative_to(staging).parts
        whole = len(parts) < 2 or parts[0] != FOLDER or parts[1] in sealed
        if whole and path.is_file():
            yield path
    yield from (p for p in (_size(outputs, name), _journal(outputs, name)) if p.exists())


def restore_unfinished(outputs: Path, name: str, places: Iterable[Path]) -> Path | None:
    """Unpack the state of a stopped run, where there is none yet.

    Args:
        outputs: Where the run writes.
        name: Its id.
        places: Folders that the archive may lie in; an earlier one wins.

    Returns:
        The archive that was unpacked; None if none was.

    Raises:
        AdapterError: If it is broken.
    """
    journal = _journal(outputs, name)
    if (outputs / name).exists() or journal.exists():
        return None
    found = next((p for p in (_archive(q, name) for q in places) if p.is_file()), None)
    if found is None:
        return None
    draft = outputs / f".{name}.restored"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    unpack(found, draft, _LIMITS)
    for path in (_staging(outputs, name), _size(outputs, name), journal):  # it vouches: last
        shutil.rmtree(path, ignore_errors=True)
        if (draft / path.name).exists():
            (draft / path.name).replace(path)
    shutil.rmtree(draft)
    return found


def forget_unfinished(name: str, into: Path) -> None:
    """Delete the copy of a run that is done."""
    _archive(into, name).unlink(missing_ok=True)


@contextmanager
def keeping(outputs: Path, name: str, into: Path, seconds: float = KEEP_SECONDS) -> Iterator[None]:
    """Copy the state of a run while the block runs, and at its end.

    Args:
        outputs: Where the run writes.
        name: Its id.
        into: Where the copy goes; nothing is copied to where the run itself writes.
        seconds: Between two looks.
    """
    if into in (outputs, *outputs.parents):
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_keep, args=(outputs, name, into, seconds, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _keep(outputs: Path, name: str, into: Path, seconds: float, done: threading.Event) -> None:
    kept: frozenset[str] = frozenset()
    over = False
    while not over:
        over = done.wait(seconds)
        sealed = _sealed(outputs, name)
        if sealed == kept:
            continue
        try:
            pack_unfinished(outputs, name, into)
            kept = sealed
        except (LoragraftError, OSError) as error:  # the run itself goes on
            print(f"Its state could not be copied to {into}: {error}")  # noqa: T201 - a notebook
