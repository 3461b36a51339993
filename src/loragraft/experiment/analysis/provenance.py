"""What every experiment was made from, as far as files tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loragraft.artifact.metadata import METADATA_NAME, read_metadata
from loragraft.errors import LoragraftError
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.run_info import RunInfo

_OF_BUNDLE = ("name", "kind", "created", "base", "adapters", "precision", "quantization",
              "dataset_tag", "split_seed", "hyper_parameters", "training_runtime", "tools",
              "verification", "verdict")  # fmt: skip
"""Of a bundle's or an adapter's metadata: what made the model. Its gates stay with it."""
_OF_INDEX = ("documents", "chunks", "dimensions", "embedder", "chunking", "versions", "search")
_OF_SPLIT = ("tag", "seed", "fractions", "stratified_by", "group_by", "source", "files",
             "papers", "loragraft_version")  # fmt: skip


def provenance_of(info: RunInfo) -> dict[str, Any]:
    """Return what a run was made from: its inputs, its files, its model's own papers."""
    told: dict[str, Any] = {
        "key": info.key,
        "started": info.started,
        "updated": info.updated,
        "loragraft": info.version,
        "inputs": info.inputs,
        "facts": info.facts,
        "questions": info.source,
        "samples": info.samples,
        "scores": info.scores,
    }
    papers = {part: found for part in ("model", "adapter")
              if (found := _metadata(info.facts.get(part)))}  # fmt: skip
    return {**told, **papers}


def sources_of(config: SeriesConfig) -> dict[str, Any]:
    """Return what all experiments share: the split's manifest and the index, where they are."""
    found = {"split": _split(config), "index": _index(config)}
    return {name: told for name, told in found.items() if told}


def _metadata(fact: object) -> dict[str, Any]:
    """Return what a model's folder says of itself; nothing where it is gone or says nothing."""
    path = fact.get("path") if isinstance(fact, Mapping) else None
    if not isinstance(path, str) or not path:
        return {}
    try:
        metadata = read_metadata(Path(path))
    except (LoragraftError, ValueError):
        return {}
    return {"file": METADATA_NAME, **_some(metadata, _OF_BUNDLE)}


def _split(config: SeriesConfig) -> dict[str, Any]:
    from loragraft.dataset.split.load import read_manifest
    from loragraft.dataset.split.manifest import manifest_path

    if config.data.tag is None:
        return {}
    try:
        return _some(read_manifest(manifest_path(config.data.splits, config.data.tag)), _OF_SPLIT)
    except LoragraftError:
        return {}


def _index(config: SeriesConfig) -> dict[str, Any]:
    from loragraft.rag.index.layout import read_info

    if config.retrieval is None:
        return {}
    try:
        return _some(read_info(config.retrieval.index).to_json(), _OF_INDEX)
    except LoragraftError:
        return {}


def _some(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}
