"""What of ours may lie about: every name that a writer of loragraft leaves when it is killed.

```
OUTPUTS/.NAME.staging, .journal    artifact/publish: unfinished work, which the same command resumes
OUTPUTS/.NAME.old                  artifact/publish: a replaced folder that could not be deleted
OUTPUTS/.NAME.merged, .scratch     export/engine: a merged base, logits; of one run
OUTPUTS/.NAME.float.gguf           export/converted: what llama.cpp's converter wrote
OUTPUTS/.NAME.lock                 artifact/lock: stays for good, and shows that the rest is ours
FOLDER/.FILE.PID.tmp               artifact/files, export/lora_gguf: a file on its way
TEMP/loragraft-pickle-*            adapter/opening: weights of a pickle
TEMP/loragraft-trace-*             trace: a merged model, unquantized files
```

Downloads (``.fetch``, ``*.part``) lie inside staging folders. In a bundle, ``.FILE.next``
(ollama/bundle_files) is finished or undone by the next command that reads it, and stays. A name
alone proves nothing: without the lock beside it, which every run makes first and leaves, nothing in
OUTPUTS is taken for ours.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from loragraft.artifact.checksums import CHECKSUMS_NAME
from loragraft.artifact.metadata import METADATA_NAME
from loragraft.artifact.names import check_name
from loragraft.doctor.mounts import Mount, mounted_inside
from loragraft.doctor.owner import lock_owner
from loragraft.doctor.sizes import Size, tree_size
from loragraft.errors import InputError

Kind = Literal["unfinished work", "draft", "temporary folder", "cache", "Ollama blob"]

RESUMABLE = ("staging", "journal")
OF_ONE_RUN = ("merged", "scratch", "float.gguf")
REPLACED = "old"
_PART = re.compile(
    rf"\.(?P<name>.+?)\.(?:{'|'.join(map(re.escape, (*RESUMABLE, *OF_ONE_RUN, REPLACED)))})",
    re.DOTALL,
)
_DRAFT = re.compile(
    rf"\.(?:.+\.gguf|Modelfile|{re.escape(METADATA_NAME)}|{re.escape(CHECKSUMS_NAME)})\.\d+\.tmp"
)
TEMPORARY = re.compile(r"loragraft-(?:pickle|tests|trace)-\w+")

DEPTH = 4
"""Levels below a folder: a workspace has outputs/experiments/SERIES/EXPERIMENT."""
MOST_ENTRIES = 50_000
"""Looked at; a workspace has some hundred."""
WALK_SECONDS = 5.0
SIZE_SECONDS = 5.0
HOUR = 3600.0
DRAFT_AGE = HOUR
"""A draft is written within seconds; the largest adapters take minutes."""
TEMPORARY_AGE = 24 * HOUR
"""Test runs and traces take hours at most."""
_NOT_ENTERED = frozenset({"node_modules", "__pycache__", "site-packages"})


@dataclass(frozen=True)
class Leftover:
    """Something of ours that can go, or that is kept and why.

    Attributes:
        kind: What it is.
        paths: What is removed, in this order.
        size: What that frees.
        about: What it is, and what its removal costs.
        lock: The lock to hold meanwhile.
        kept: Why it stays; empty if it can go.
        busy: Who seems to be working on it; the lock itself has the last word.
        target: The folder's final name, for work in an output folder.
    """

    kind: Kind
    paths: tuple[Path, ...]
    size: Size
    about: str
    lock: Path | None = None
    kept: str = ""
    busy: str = ""
    target: Path | None = None

    @property
    def path(self) -> Path:
        """What stands for it in a list."""
        return self.paths[0]


@dataclass
class Search:
    """A walk that ends: by depth, by number and by time.

    Attributes:
        entries: Looked at so far.
        cut: Whether something was left out.
    """

    end: float = field(default_factory=lambda: time.monotonic() + WALK_SECONDS)
    entries: int = 0
    cut: bool = False

    def folders(self, top: Path, depth: int = DEPTH) -> Iterator[tuple[Path, list[str]]]:
        """Yield folders with the names in them; hidden ones and links are not entered."""
        waiting = [(top, depth)]
        while waiting:
            folder, left = waiting.pop(0)
            names: list[str] = []
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        self.entries += 1
                        if self.entries > MOST_ENTRIES or time.monotonic() > self.end:
                            self.cut = True
                            return
                        names.append(entry.name)
                        if left and _is_entered(entry):
                            waiting.append((Path(entry.path), left - 1))
            except OSError:  # unreadable: then nothing in it can be removed either
                continue
            yield folder, names


def _is_entered(entry: os.DirEntry[str]) -> bool:
    hidden = entry.name.startswith(".") or entry.name in _NOT_ENTERED
    return not hidden and entry.is_dir(follow_symlinks=False)


def find_work(folders: Sequence[Path], known: Sequence[Mount], search: Search) -> list[Leftover]:
    """Find what killed runs left in output folders and below.

    Args:
        folders: Where to look.
        known: What is mounted, as :func:`~loragraft.doctor.mounts.mounts` says.
        search: Bounds the walk.
    """
    found: dict[Path, Leftover] = {}
    for top in folders:
        for folder, names in search.folders(Path(os.path.abspath(top))):
            for name in sorted({m["name"] for n in names if (m := _PART.fullmatch(n))}):
                leftover = describe_work(folder, name, known)
                if leftover is not None:
                    found.setdefault(leftover.path, leftover)
            for name in sorted(n for n in names if _DRAFT.fullmatch(n)):
                draft = _describe_draft(folder / name)
                if draft is not None:
                    found.setdefault(draft.path, draft)
    return list(found.values())


def work_paths(folder: Path, name: str) -> list[Path]:
    """Return what there is of a name's unfinished work, in the order of removal.

    The journal goes first: a staging folder without one is rubbish for every later run, so that
    whoever is killed halfway leaves nothing that looks like work to go on with.
    """
    order = ("journal", "staging", *OF_ONE_RUN, REPLACED)
    return [p for part in order if os.path.lexists(p := folder / f".{name}.{part}")]


def describe_work(folder: Path, name: str, known: Sequence[Mount]) -> Leftover | None:
    """Describe what lies about of one name; None where it is not proven to be ours."""
    lock = folder / f".{name}.lock"
    if not is_plain_file(lock) or not _is_name(name):
        return None
    paths = work_paths(folder, name)
    if not paths:
        return None
    size = sum((tree_size(path, SIZE_SECONDS) for path in paths), Size())
    target = folder / name
    resumable = (folder / f".{name}.journal").exists()
    about = "the same command would go on with it" if resumable else "of no use to any later run"
    kept = why_kept(paths, known)
    if not kept and _is_only_copy(paths, target):
        kept = f"it is the only copy of {target.name}: rename {paths[-1].name} to that"
    busy = lock_owner(lock)
    return Leftover("unfinished work", tuple(paths), size, about, lock, kept, busy, target)


def why_kept(paths: Sequence[Path], known: Sequence[Mount]) -> str:
    """Return why paths must not be removed, whatever they are; empty if they may be."""
    for path in paths:
        if path.is_symlink():
            return f"{path.name} is a link: loragraft makes none, look at it yourself"
        mount = mounted_inside(path, known)
        if mount is not None:
            return f"another file system is mounted at {mount}"
    return ""


def _is_only_copy(paths: Sequence[Path], target: Path) -> bool:
    """Whether a crash between the two renames of a replacement left only the old folder."""
    return paths[-1].name.endswith(f".{REPLACED}") and not os.path.lexists(target)


def _describe_draft(path: Path) -> Leftover | None:
    """Describe a file that was on its way; None where it may still be, or is no plain file."""
    age = age_of_file(path)
    if age is None or age < DRAFT_AGE or _lives(int(path.name.split(".")[-2])):
        return None
    return Leftover("draft", (path,), tree_size(path), "a file that was never finished")


def find_temporary() -> list[Leftover]:
    """Find temporary folders of killed runs: ours, this user's, a day old."""
    try:
        folder = Path(tempfile.gettempdir())
        names = sorted(name for name in os.listdir(folder) if TEMPORARY.fullmatch(name))
    except OSError:
        return []
    found: list[Leftover] = []
    for path in (folder / name for name in names):
        if not is_own_folder(path):
            continue
        size = tree_size(path, SIZE_SECONDS)
        if time.time() - size.newest > TEMPORARY_AGE:
            found.append(Leftover("temporary folder", (path,), size, "of a run that was killed"))
    return found


def is_own_folder(path: Path) -> bool:
    """Whether a path is a folder, no link, and belongs to this user."""
    try:
        status = path.lstat()
    except OSError:
        return False
    mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return mine and stat.S_ISDIR(status.st_mode)


def is_plain_file(path: Path) -> bool:
    """Whether a path is a file, no link and no device."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def age_of_file(path: Path) -> float | None:
    """Return seconds since a plain file was written; None for anything else."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return time.time() - status.st_mtime if stat.S_ISREG(status.st_mode) else None


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except InputError:
        return False
    return True


def _lives(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.pid_exists(pid))
    except (OverflowError, ValueError):  # no process has such a number
        return False
