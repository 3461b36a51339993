"""What a run was made from, told by its files alone: has any of it changed since?

No model is loaded. A file is the same while its size and time are; where the time differs, its
content is hashed and compared.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from loragraft.artifact.checksums import CHECKSUMS_NAME
from loragraft.artifact.hash_cache import cached_sha256
from loragraft.artifact.metadata import METADATA_NAME, plain
from loragraft.checkpoint.bundle import open_model
from loragraft.checkpoint.resolve import existing_path, looks_like_repository
from loragraft.dataset.split.manifest import manifest_path
from loragraft.engine.batch.specs import LlamaSpec, OllamaSpec, TransformersSpec
from loragraft.errors import LoragraftError
from loragraft.experiment.config import ClassifierSpec, EmbedderArm, RetrievalConfig, SeriesConfig
from loragraft.experiment.key import digest
from loragraft.rag.index.layout import read_info
from loragraft.settings import read_settings

CHECKPOINT = (".safetensors", ".json", ".jinja", ".model", ".txt", ".bin", ".gguf")
"""Ends of names of the files that a checkpoint or an adapter consists of."""
_TOLD = frozenset({METADATA_NAME, CHECKSUMS_NAME})
"""What tells of a folder, such as that it was promoted: no answer depends on it."""
MOST_SOURCES = 100_000
"""Files of a corpus that are looked at."""

Facts = dict[str, Any]
"""By part (model, adapter, index ...): JSON values."""


def facts_of(config: SeriesConfig, name: str) -> Facts:
    """Return what the inputs of an experiment are now, by part; what is not there is None."""
    experiment = config.experiments[name]
    parts = _engine_parts(experiment.engine)
    retrieval = config.retrieval
    if retrieval is not None and (experiment.retrieval or experiment.stuffed):
        index = retrieval.index
        parts["index"] = lambda: {"contents": _contents(retrieval)}
        parts["corpus"] = lambda: _corpus(index)
    if config.data.tag is not None and experiment.task in ("score", "embedding"):
        manifest = manifest_path(config.data.splits, config.data.tag)
        parts["split"] = lambda: _files([manifest])  # examples and thresholds come of its parts
    scoring = experiment.scoring
    if isinstance(scoring, Path):
        parts["scoring"] = lambda: {"values": digest(read_settings(scoring).values)}
    return {part: _tried(look) for part, look in parts.items()}


def engine_facts(spec: object) -> Facts:
    """Return what a model is now, by part (model, adapter); what is not there is None."""
    return {part: _tried(look) for part, look in _engine_parts(spec).items()}


def _tried(look: Callable[[], Any]) -> Any:  # noqa: ANN401
    try:
        return plain(look())
    except (OSError, LoragraftError, RuntimeError):
        return None


def _engine_parts(spec: object) -> dict[str, Callable[[], Any]]:
    if isinstance(spec, LlamaSpec):
        return {"model": lambda: _files([open_model(Path(spec.model), spec.quant).gguf])}
    if isinstance(spec, OllamaSpec):
        return {"model": lambda: _tag(spec)}
    if isinstance(spec, TransformersSpec | ClassifierSpec | EmbedderArm):
        adapter = spec.adapter
        parts: dict[str, Callable[[], Any]] = {"model": lambda: _checkpoint(spec.model)}
        if adapter is not None:
            parts["adapter"] = lambda: _checkpoint(adapter)
        return parts
    return {}


def _files(paths: Iterable[Path]) -> dict[str, Any]:
    """Return size, time and hash of files by their names."""
    return {"files": {path.name: _file(path) for path in paths}, "path": _folder(paths)}


def _folder(paths: Iterable[Path]) -> str:
    return next((str(path.parent.resolve()) for path in paths), "")


def _file(path: Path) -> list[Any]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, cached_sha256(path)]


def _checkpoint(name: str) -> Any:  # noqa: ANN401
    """Return the facts of a checkpoint's or an adapter's folder, or of a Hub's repository."""
    path = existing_path(name)
    if path is None:
        return _revision(name) if looks_like_repository(name) else None
    if path.is_file():
        return _files([path])
    return _files(sorted(p for p in path.iterdir() if p.is_file() and p.suffix in CHECKPOINT))


def _revision(name: str) -> Any:  # noqa: ANN401
    """Return which revision of a repository the Hub's cache holds; nobody is asked."""
    from huggingface_hub.constants import HF_HUB_CACHE

    repository, _, revision = name.partition("@")
    folder = Path(HF_HUB_CACHE) / ("models--" + repository.replace("/", "--"))
    reference = folder / "refs" / (revision or "main")
    if reference.is_file():
        return {"revision": reference.read_text(encoding="ascii").strip()}
    return {"revision": revision} if (folder / "snapshots" / revision).is_dir() else None


def _contents(config: RetrievalConfig) -> Any:  # noqa: ANN401
    """Return hashes of what an index holds: one built again of the same documents is the same."""
    from loragraft.experiment.arms.retrieval import Retrieval

    return Retrieval(config).identity["files"]


def _tag(spec: OllamaSpec) -> Any:  # noqa: ANN401
    """Return which model a tag is on its server; None where the server does not answer."""
    from loragraft.engine.ollama_server import OllamaServer

    wanted = spec.model if ":" in spec.model.rpartition("/")[2] else f"{spec.model}:latest"
    with OllamaServer(spec.host) as server:
        for model in server.models():
            if str(model.get("name", "")).casefold() == wanted.casefold():
                return {"digest": model.get("digest")}
    return None


def _corpus(index: Path) -> Any:  # noqa: ANN401
    """Return the facts of the documents that an index was made from, those that are still there."""
    found: dict[str, Any] = {}
    for source in read_info(index).sources:
        path = existing_path(source)
        if path is not None:
            found[source] = _source(path)
    return {"sources": found}


def _source(path: Path) -> Any:  # noqa: ANN401
    if path.is_file():
        return {"files": {path.name: _file(path)}}
    listing = []
    for here, folders, names in os.walk(path):
        folders.sort()
        for file in sorted(names):
            stat = os.stat(Path(here) / file)
            listing.append([os.path.relpath(Path(here) / file, path), stat.st_size,
                            stat.st_mtime_ns])  # fmt: skip
        if len(listing) > MOST_SOURCES:
            return None
    return {"listing": digest(listing), "count": len(listing)}


def unreachable(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return parts that were there when a run was made and cannot be looked at now."""
    return sorted(part for part, fact in before.items() if fact is not None and not now.get(part))


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return parts that are there and are not what they were.

    A part that cannot be looked at now has not changed: see :func:`unreachable`.
    """
    return sorted(
        part for part, fact in now.items() if fact is not None and not _same(before.get(part), fact)
    )


def _same(before: Any, now: Any) -> bool:  # noqa: ANN401
    if before is None:  # nobody could look at it then
        return True
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return bool(before == now)
    if "files" in now or "files" in before:
        return bool(_hashes(before) == _hashes(now))
    if "sources" in now:
        old = before.get("sources")
        shared = old.keys() & now["sources"].keys() if isinstance(old, Mapping) else ()
        return all(_same(old[name], now["sources"][name]) for name in shared)  # type: ignore[index]
    return bool(before == now)


def _hashes(part: Mapping[str, Any]) -> Any:  # noqa: ANN401
    files = part.get("files")
    if not isinstance(files, Mapping):
        return None
    return {name: fact[-1] if isinstance(fact, list) and fact else fact
            for name, fact in files.items() if name not in _TOLD}  # fmt: skip
