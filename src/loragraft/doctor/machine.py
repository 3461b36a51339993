"""This machine: Python, processor, memory, disks, the folder for temporary files."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from loragraft.artifact.hash_cache import cache_folder
from loragraft.artifact.space import available_memory, format_bytes, free_disk
from loragraft.doctor.cpu import NEEDED_FOR_SPEED, read_cpu
from loragraft.doctor.mounts import IN_MEMORY, mount_of, mounts
from loragraft.doctor.rows import Row, Surroundings, fine, note, shown

_GIB = 1 << 30
LITTLE_MEMORY = 2 * _GIB
"""A Q4_K_M model of 1.5 billion parameters takes 1 GiB and its context some more to answer."""
LITTLE_DISK = 5 * _GIB
"""A Q4_K_M bundle of 7 billion parameters has 4.4 GiB."""
LITTLE_TEMP = 1 * _GIB
"""Compiling llama-cpp-python takes some 700 MiB below the temporary folder."""


def check_python(surroundings: Surroundings) -> list[Row]:
    """Say which Python runs, and where."""
    words = f"Python {platform.python_version()} ({platform.python_implementation()})"
    words += f", {platform.system()} {platform.machine()}, {shown(sys.prefix)}"
    facts = {
        "version": platform.python_version(),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "system": platform.platform(),
    }
    if sys.maxsize <= 1 << 32:
        return [
            note("system.python", f"{words}, 32 bits", "64 bits", "Files above 2 GiB cannot be "
                 "read by a Python of 32 bits: install one of 64 bits.", facts)
        ]  # fmt: skip
    return [fine("system.python", words, "64 bits", facts=facts)]


def check_processor(surroundings: Surroundings) -> list[Row]:
    """Say what processor there is."""
    cpu = read_cpu()
    model = shown(cpu.model or platform.processor() or platform.machine() or "unknown")
    facts = {"model": model, "features": None if cpu.features is None else sorted(cpu.features)}
    if cpu.features is None:
        words = f"{model}; the system does not say which instruction sets it has"
        return [fine("system.processor", words, "AVX2 or NEON", facts=facts)]
    words = f"{model}: {', '.join(sorted(cpu.features)) or 'no vector instructions'}"
    if not cpu.features & {"AVX2", "NEON"} and platform.machine() in ("x86_64", "AMD64", "aarch64"):
        missing = ", ".join(sorted(NEEDED_FOR_SPEED & {"AVX2", "F16C", "FMA"}))
        step = (
            "Everything works, slowly. In a virtual machine, hand the host's processor through "
            f"(QEMU: -cpu host), if that has {missing}."
        )
        return [note("system.processor", words, "AVX2 or NEON", step, facts)]
    return [fine("system.processor", words, "AVX2 or NEON", facts=facts)]


def check_memory(surroundings: Surroundings) -> list[Row]:
    """Say how much memory there is, a container's limit included."""
    import psutil

    total, free = int(psutil.virtual_memory().total), available_memory()
    words = f"{format_bytes(free)} of {format_bytes(total)} available"
    facts = {"total": total, "available": free, "swap": int(psutil.swap_memory().total)}
    expected = f"{format_bytes(LITTLE_MEMORY)} for a small model"
    if free < LITTLE_MEMORY:
        step = "Close other programs, or choose a smaller model: exports need little, answers more."
        return [note("system.memory", words, expected, step, facts)]
    return [fine("system.memory", words, expected, facts=facts)]


def check_disks(surroundings: Surroundings) -> list[Row]:
    """Say how much room there is where loragraft writes."""
    places: list[tuple[str, Path | None]] = [
        ("workspace", folder) for folder in surroundings.folders
    ]
    places += [("cache", _own_cache()), ("the Hub's cache", hub_cache())]
    known = mounts()
    facts: list[dict[str, Any]] = []
    for purpose, path in places:
        if path is not None:
            facts.append(_measure(purpose, path, known))
    full = [fact for fact in facts if fact["free"] is not None and fact["free"] < LITTLE_DISK]
    words = "; ".join(_describe(fact) for fact in facts)
    expected = f"{format_bytes(LITTLE_DISK)} free for a bundle"
    found = {"places": facts}
    if full:
        step = "Free some, choose another --output, or see what can go: loragraft doctor --clean"
        return [note("system.disk", words, expected, step, found)]
    return [fine("system.disk", words, expected, facts=found)]


def _measure(purpose: str, path: Path, known: Any) -> dict[str, Any]:  # noqa: ANN401 - mounts
    try:
        free: int | None = free_disk(path)
    except OSError:
        free = None
    mount = mount_of(path, known)
    return {
        "purpose": purpose,
        "path": os.path.abspath(path),
        "free": free,
        "file_system": mount.kind if mount else None,
        "mounted_at": str(mount.folder) if mount else None,
    }


def _describe(fact: dict[str, Any]) -> str:
    free = "unknown" if fact["free"] is None else format_bytes(fact["free"])
    return f"{fact['purpose']} {free} ({shown(fact['path'])})"


def _own_cache() -> Path | None:
    try:
        return cache_folder()
    except RuntimeError:  # this user has no home
        return None


def hub_cache() -> Path:
    """Return where the Hub's client keeps what it downloads."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def check_temporary(surroundings: Surroundings) -> list[Row]:
    """Say where temporary files go, and whether they fit there."""
    expected = "a folder on a disk with room"
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError:
        step = "Set TMPDIR to a folder that can be written to."
        return [note("system.temporary", "no folder can be written to", expected, step)]
    free, mount = free_disk(folder), mount_of(folder, mounts())
    kind = mount.kind if mount else ""
    words = f"{shown(folder)}, {format_bytes(free)} free" + (f", {kind}" if kind else "")
    facts = {"folder": str(folder), "free": free, "file_system": kind or None}
    given = surroundings.environ.get("TMPDIR")
    if given and os.path.abspath(given) != os.path.abspath(folder):
        step = f"TMPDIR says {shown(given)}, which cannot be written to: make it, or unset TMPDIR."
        return [note("system.temporary", words, expected, step, facts)]
    if free < LITTLE_TEMP:
        step = "Set TMPDIR to a folder with more room: compiling a package may need it."
        return [note("system.temporary", words, expected, step, facts)]
    hint = ""
    if kind in IN_MEMORY:
        hint = "It lies in memory: what is written there is missing elsewhere."
    return [fine("system.temporary", words, expected, hint, facts)]
