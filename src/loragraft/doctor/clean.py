"""Remove what of ours can go: only what was listed, looked at once more, and under its lock."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loragraft.artifact.lock import hold_lock
from loragraft.doctor.caches import CLEANED, find_caches, own_cache, refuse_cache
from loragraft.doctor.leftovers import (
    Leftover,
    Search,
    describe_work,
    find_temporary,
    find_work,
    why_kept,
)
from loragraft.doctor.mounts import mounts
from loragraft.doctor.registered import find_blobs
from loragraft.doctor.sizes import tree_size
from loragraft.errors import LoragraftError


@dataclass(frozen=True)
class Plan:
    """What can go, and what stays.

    Attributes:
        leftovers: Everything that was found.
        notes: What was not looked at, and why.
    """

    leftovers: tuple[Leftover, ...]
    notes: tuple[str, ...]

    @property
    def removable(self) -> tuple[Leftover, ...]:
        """Those that nothing speaks against."""
        return tuple(leftover for leftover in self.leftovers if not leftover.kept)

    @property
    def bytes(self) -> int:
        """What goes if nobody is working on any of it."""
        return sum(leftover.size.bytes for leftover in self.removable if not leftover.busy)


@dataclass(frozen=True)
class Removal:
    """What became of a leftover: bytes that were freed, and why it stays where it does."""

    leftover: Leftover
    freed: int
    problem: str = ""


def find_leftovers(folders: Sequence[Path], kernels: Sequence[Path] = ()) -> Plan:
    """Look for what of ours can go.

    Args:
        folders: Workspaces, output folders or what holds them.
        kernels: Folders where numba keeps our compiled kernels.
    """
    known, search = mounts(), Search()
    found = [
        *find_work(folders, known, search),
        *find_temporary(),
        *find_caches(known, kernels),
        *find_blobs(os.environ),
    ]
    notes: list[str] = []
    if search.cut:
        notes.append(
            f"Not all folders were looked through ({search.entries - 1} entries were). Name the "
            "output folders: loragraft doctor --clean outputs/exports"
        )
    cache = own_cache()
    if cache is not None and (why := refuse_cache(cache)):
        notes.append(f"The cache {cache} is left alone: {why}.")
    return Plan(tuple(found), tuple(notes))


def remove(leftover: Leftover) -> Removal:
    """Remove one leftover; what cannot be removed is said, not raised.

    Killed in between, it leaves only what the next run of the same command, or of this one,
    takes for rubbish.
    """
    if leftover.kept:
        return Removal(leftover, 0, leftover.kept)
    try:
        with ExitStack() as stack:
            if leftover.lock is not None:
                stack.enter_context(hold_lock(leftover.lock))
            fresh = _look_again(leftover)
            if fresh is None:
                return Removal(leftover, 0, "it is gone already")
            if fresh.kept:
                return Removal(leftover, 0, fresh.kept)
            return _remove_paths(fresh)
    except LoragraftError as error:
        return Removal(leftover, 0, str(error))


def _look_again(leftover: Leftover) -> Leftover | None:
    """Return the leftover as it is now: much may have happened while a person was asked."""
    known = mounts()
    if leftover.target is not None:
        return describe_work(leftover.target.parent, leftover.target.name, known)
    paths = tuple(path for path in leftover.paths if os.path.lexists(path))
    return replace(leftover, paths=paths, kept=why_kept(paths, known)) if paths else None


def _remove_paths(leftover: Leftover) -> Removal:
    freed = 0
    for path in leftover.paths:
        size = tree_size(path).bytes
        try:
            _remove_path(path, leftover)
        except OSError as error:
            freed += max(0, size - tree_size(path).bytes)
            return Removal(leftover, freed, f"{error.filename or path}: {error.strerror or error}")
        freed += size
    return Removal(leftover, freed)


def _remove_path(path: Path, leftover: Leftover) -> None:
    """Remove a file, or a folder after it got a name under which nobody uses it."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    if leftover.target is not None:
        # A staging folder without its journal is rubbish under every run's eyes.
        rubbish = path.with_name(f".{leftover.target.name}.staging")
    elif path.name.startswith("."):
        rubbish = path
    else:
        rubbish = path.with_name(f".{path.name}{CLEANED}")
    if rubbish != path:
        if os.path.lexists(rubbish):
            shutil.rmtree(rubbish)
        path.rename(rubbish)
    shutil.rmtree(rubbish)


def to_json(plan: Plan, removals: Sequence[Removal]) -> dict[str, Any]:
    """Return what was found and what became of it as JSON values."""
    done = {removal.leftover.path: removal for removal in removals}
    return {
        "found": [
            {
                "kind": leftover.kind,
                "paths": [str(path) for path in leftover.paths],
                "bytes": leftover.size.bytes,
                "about": leftover.about,
                "kept": leftover.kept,
                "busy": leftover.busy,
                "removed": leftover.path in done and not done[leftover.path].problem,
                "problem": done[leftover.path].problem if leftover.path in done else "",
            }
            for leftover in plan.leftovers
        ],
        "bytes": plan.bytes,
        "freed": sum(removal.freed for removal in removals),
        "notes": list(plan.notes),
    }
