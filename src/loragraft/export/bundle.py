"""What stands in a bundle beside its GGUF files: Modelfile, metadata, model card, checksums."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from loragraft import __version__
from loragraft.adapter.locate import locate_adapter
from loragraft.artifact.checksums import CHECKSUMS_NAME, write_checksums
from loragraft.artifact.files import write_atomically
from loragraft.artifact.hash_cache import cached_sha256
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.metadata import METADATA_NAME, read_metadata, write_metadata
from loragraft.errors import LoragraftError
from loragraft.export.card import render_card
from loragraft.export.places import adapter_name, claimed_name, hub_commit, places_of
from loragraft.export.prepare import OpenAdapter
from loragraft.export.request import ExportReport, ExportRequest
from loragraft.export.serving import Serving

MODELFILE_NAME = "Modelfile"
CARD_NAME = "README.md"
BUNDLE_KIND = "export"

_TOOLS = ("llama-cpp-python", "gguf", "numpy", "numba", "tokenizers", "safetensors", "peft",
          "torch", "transformers")  # fmt: skip

INPUT_FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
"""Files beside the weights that decide what is exported."""

BaseHashes = dict[str, str]
"""SHA256 of each shard by file name."""


def hash_base(files: Sequence[Path], on_bytes: Callable[[int], object] | None = None) -> BaseHashes:
    """Hash the shards of a base checkpoint; ``on_bytes`` hears of every block read."""
    return {file.name: cached_sha256(file, on_bytes=on_bytes) for file in files}


def tool_versions() -> dict[str, str]:
    """Return the versions of what had a hand in the bundle, where installed."""
    versions = {"loragraft": __version__, "python": platform.python_version()}
    for name in _TOOLS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def hash_inputs(folder: Path, *more: str) -> dict[str, str]:
    """Return the SHA256 of every file beside the weights that decides what is exported.

    Args:
        folder: A checkpoint's or an adapter's folder.
        *more: Names of further files.
    """
    present = (folder / name for name in (*more, *INPUT_FILES))
    return {path.name: sha256_file(path) for path in present if path.is_file()}


def _describe_adapter(opened: OpenAdapter) -> dict[str, Any]:
    adapter = opened.adapter
    return {
        "name": adapter_name(adapter.path),
        "sha256": adapter.sha256,
        "files": hash_inputs(adapter.location.folder, adapter.location.config.name),
        "scale": opened.scale,
        "type": adapter.config.peft_type,
        "rank": adapter.config.r,
        "alpha": adapter.config.lora_alpha,
        "modules": len(adapter.modules),
        "base_claimed": claimed_name(adapter.config.base_model_name_or_path),
        "base_revision_claimed": adapter.config.revision,
    }


def training_facts(folder: Path) -> dict[str, Any]:
    """Return what the adapter's own metadata says of its training, if it has any.

    ``dataset_tag``, ``split_seed``, ``hyper_parameters``, ``training_runtime`` and
    ``evaluation_summary`` travel from the adapter's folder into the bundle. Where it was fetched,
    they stand in the metadata that it came with.
    """
    keys = ("dataset_tag", "split_seed", "hyper_parameters", "training_runtime",
            "evaluation_summary")  # fmt: skip
    try:
        known = read_metadata(folder)
    except LoragraftError:
        known = {}
    origin = known.get("origin")
    upstream = origin.get("upstream_metadata") if isinstance(origin, dict) else None
    if isinstance(upstream, dict):
        known = upstream
    return {key: known.get(key) for key in keys}


def describe_inputs(
    request: ExportRequest,
    architecture: str,
    base_hashes: BaseHashes,
    adapters: Sequence[OpenAdapter] = (),
) -> dict[str, Any]:
    """Return the metadata's account of what went in, apart from the report.

    Args:
        request: What was asked for.
        architecture: Name of the model's family.
        base_hashes: SHA256 of the base's shards.
        adapters: Opened adapters; where PEFT merged, those of the request are named.
    """
    described = [_describe_adapter(opened) for opened in adapters]
    folder = locate_adapter(request.adapters[-1][0]).folder if request.adapters else None
    return {
        "kind": BUNDLE_KIND,
        "name": request.name,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "base": {
            "id": request.base_id,
            "name": request.base_name,
            "revision": hub_commit(request.base),
            "architecture": architecture,
            "shards": base_hashes,
            "files": hash_inputs(request.base),
        },
        "adapters": described or [_name_adapter(path, s) for path, s in request.adapters],
        "precision": request.precision,
        "tools": tool_versions(),
        **(training_facts(folder) if folder is not None else {}),
    }


def _name_adapter(path: Path, scale: float) -> dict[str, Any]:
    found = locate_adapter(path)
    return {
        "name": adapter_name(found.weights),
        "sha256": sha256_file(found.weights),
        "files": hash_inputs(found.folder, found.config.name),
        "scale": scale,
    }


def fill_bundle(
    folder: Path,
    request: ExportRequest,
    report: ExportReport,
    inputs: Mapping[str, Any],
    *,
    serving: Serving,
    context: int | None,
) -> None:
    """Write everything that belongs to a bundle beside the GGUF files that are there.

    Args:
        folder: The staging folder.
        request: What was asked for.
        report: What was made.
        inputs: As :func:`describe_inputs` gives them.
        serving: What the bundle says of conversations.
        context: The model's context length.
    """
    context = context if type(context) is int and context > 0 else None  # as config.json says it
    places = places_of(request.base, request.adapters, request.outputs, request.converter)
    write_atomically(folder / MODELFILE_NAME, serving.modelfile.encode("utf-8"))
    body = {key: value for key, value in report.to_json().items() if key != "bundle"}
    write_metadata(
        folder,
        places.hide({**inputs, "context_length": context, "stops": list(serving.stops), **body}),
    )
    card = places.hide(render_card(request, report, inputs))
    # The name of a folder may hold bytes that are no UTF-8; the card then shows their numbers.
    write_atomically(folder / CARD_NAME, card.encode("utf-8", "backslashreplace"))
    digests = {file.name: file.sha256 for file in report.files}
    for name in (MODELFILE_NAME, METADATA_NAME, CARD_NAME):
        digests[name] = sha256_file(folder / name)
    write_checksums(folder, digests)
    expected = {*digests, CHECKSUMS_NAME}
    for path in folder.iterdir():
        if path.name not in expected and path.is_file():
            path.unlink()
