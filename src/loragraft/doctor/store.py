"""Where Ollama keeps its models on this machine, and what lies there; only ever read.

The layout is Ollama's own (server/manifest, server/images.go, 0.1 to 0.32): ``manifests/HOST/
NAMESPACE/MODEL/TAG`` are JSON files that name blobs by digest, ``blobs/sha256-HEX`` hold them. When
it starts, a server removes blobs that no manifest names (newer ones: only those an hour old),
unless ``OLLAMA_NOPRUNE`` is set; new versions keep further files under the same digest. So nothing
is removed here: the server tidies up better.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft.doctor.sizes import Size, tree_size

SERVICE = Path("/usr/share/ollama/.ollama/models")
"""Of the service that Ollama's installer sets up on Linux (its FAQ)."""
SNAP = Path("/var/snap/ollama/common/models")
MOST_MANIFESTS = 5_000
LARGEST_MANIFEST = 4 << 20
"""Bytes; a manifest has some hundred."""
REGISTRY, NAMESPACE = "registry.ollama.ai", "library"
"""What a model's name leaves out."""


@dataclass(frozen=True)
class Store:
    """A folder with Ollama's models.

    Attributes:
        folder: Where.
        size: What it takes; not whole where something cannot be read.
        blobs: Digests of the files in it, in hexadecimal, with their bytes.
        used: Digests that a model refers to; None where a manifest cannot be read.
    """

    folder: Path
    size: Size
    blobs: Mapping[str, int]
    used: frozenset[str] | None

    def unused(self, digests: Iterable[str]) -> dict[str, int]:
        """Return which of some files no model refers to, with their bytes; none if in doubt."""
        if self.used is None:
            return {}
        return {d: self.blobs[d] for d in digests if d in self.blobs and d not in self.used}


def store_folders(environ: Mapping[str, str]) -> list[Path]:
    """Return the folders where a server of this machine may keep its models, the likeliest first.

    ``OLLAMA_MODELS`` counts for a server that was started with it; a service has its own.
    """
    given = environ.get("OLLAMA_MODELS", "").strip().strip("\"'").strip()
    folders = [Path(given)] if given else []
    with suppress(RuntimeError):  # this user has no home
        folders.append(Path.home() / ".ollama" / "models")
    if sys.platform.startswith("linux"):
        folders += [SERVICE, SNAP]
    return list(dict.fromkeys(folders))


def find_stores(environ: Mapping[str, str], seconds: float = 3.0) -> list[Store]:
    """Return the folders among :func:`store_folders` that are there, with what they hold."""
    return [read_store(f, seconds) for f in store_folders(environ) if _is_folder(f)]


def _is_folder(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:  # a folder on the way is closed to this user
        return False


def read_store(folder: Path, seconds: float = 3.0) -> Store:
    """Read what a folder with Ollama's models holds."""
    return Store(folder, tree_size(folder, seconds), _blobs(folder), _used(folder))


def holds_model(folder: Path, name: str) -> bool:
    """Whether a folder has the manifest of a model: proof that its server keeps it there."""
    path, _, tag = name.rpartition(":")
    if not path or "/" in tag:
        path, tag = name, "latest"
    parts = path.split("/")
    whole = [*(REGISTRY, NAMESPACE)[: max(0, 3 - len(parts))], *parts]
    if ".." in whole or not all(whole):
        return False
    return folder.joinpath("manifests", *whole, tag).is_file()


def _blobs(folder: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    try:
        for path in (folder / "blobs").iterdir():
            digest = path.name.removeprefix("sha256-")
            if path.name.startswith("sha256-") and len(digest) == 64:
                found[digest] = path.lstat().st_size
    except OSError:
        return found
    return found


def _used(folder: Path) -> frozenset[str] | None:
    used: set[str] = set()
    for count, manifest in enumerate(_manifests(folder / "manifests")):
        if manifest is None or count >= MOST_MANIFESTS:
            return None
        config = manifest.get("config")
        layers = manifest.get("layers")
        for layer in [config, *(layers if isinstance(layers, list) else [])]:
            digest = layer.get("digest") if isinstance(layer, dict) else None
            if isinstance(digest, str):
                used.add(digest.replace("-", ":").partition(":")[2])
    return frozenset(used)


def _manifests(folder: Path) -> Iterator[dict[str, Any] | None]:
    """Yield each manifest, and None for one that cannot be read."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        yield None
        return
    for path in entries:
        if path.is_dir() and not path.is_symlink():
            yield from _manifests(path)
            continue
        try:
            small = path.stat().st_size <= LARGEST_MANIFEST
            value = json.loads(path.read_bytes()) if small else None
        except (OSError, ValueError, RecursionError):
            value = None
        yield value if isinstance(value, dict) else None
