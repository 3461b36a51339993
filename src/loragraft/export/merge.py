"""A merged Hugging Face checkpoint by PEFT's ``merge_and_unload``, for vLLM and transformers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft import __version__
from loragraft.adapter.locate import locate_adapter
from loragraft.artifact.checksums import write_checksums
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.metadata import write_metadata
from loragraft.artifact.progress import Progress, Silent
from loragraft.artifact.publish import Staging
from loragraft.artifact.space import explain_full_disk, require_disk, require_memory
from loragraft.checkpoint.model import read_json
from loragraft.errors import InputError
from loragraft.export.carried import tokenizer_owner
from loragraft.export.peft_engine import (
    DTYPE_BYTES,
    checkpoint_parameters,
    load_model,
    memory_needed,
    merge_adapters,
    require_peft,
)
from loragraft.export.places import Places, adapter_name, hub_commit, places_of, shared_name

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "tokenizer.model",
)  # fmt: skip
TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")
TEMPLATE_FOLDER = "additional_chat_templates"
GENERATION_FILE = "generation_config.json"
MAX_SHARD = "4GB"
MERGED_KIND = "merged-checkpoint"
_ORIGINS = (("config.json", "_name_or_path"), ("tokenizer_config.json", "name_or_path"))
"""Where versions of transformers write the folder that a model was loaded from."""
_STREAM_INSTEAD = (
    "Use the stream engine (loragraft export merge-and-quantize --engine stream), which needs a "
    "few hundred MiB whatever the model's size."
)


@dataclass(frozen=True)
class MergeReport:
    """What was merged.

    Attributes:
        folder: The checkpoint.
        dtype: Type of its weights.
        parameters: Number of values.
        notes: What was decided or warned of on the way.
    """

    folder: Path
    dtype: str
    parameters: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**vars(self), "folder": str(self.folder), "notes": list(self.notes)}


def base_dtype(base: Path) -> str:
    """Return the type that a checkpoint's configuration names, float32 where it names none."""
    config = read_json(base / "config.json")
    sections = [config, config.get("text_config")]
    named = (
        s.get(key) for s in sections if isinstance(s, dict) for key in ("dtype", "torch_dtype")
    )
    name = next((name for name in named if isinstance(name, str)), "float32")
    return name if name in DTYPE_BYTES else "float32"


def merge_into(
    base: Path,
    adapters: Sequence[tuple[Path, float]],
    folder: Path,
    *,
    dtype: str = "auto",
    compute: str | None = None,
    progress: Progress | None = None,
) -> MergeReport:
    """Merge into a folder, which is made if missing; nothing is published.

    Args:
        base: The base checkpoint's folder.
        adapters: Each adapter's path and the factor on its scale.
        folder: Where the checkpoint goes.
        dtype: Type of the result: float32, bfloat16, float16, or auto for the base's own.
        compute: Type in which PEFT merges; that of the result where None. float32 rounds once,
            at the end, while bfloat16 rounds the delta as well.
        progress: Told of each stage.

    Raises:
        MissingExtraError: If torch, transformers or peft is missing.
        OutOfMemoryError: If the model does not fit, naming the engine that would do.
        OutOfSpaceError: If the disk is too small.
        AdapterError: If a key does not land.
    """
    require_peft()
    wanted = base_dtype(base) if dtype == "auto" else dtype
    merging = compute or wanted
    for name in (wanted, merging):
        if name not in DTYPE_BYTES:
            raise InputError(f"{name!r} is no type to merge in. Choose one of {list(DTYPE_BYTES)}.")
    require_memory(memory_needed(base, merging), f"Merging {base.name} with PEFT", _STREAM_INSTEAD)
    size = checkpoint_parameters(base) * DTYPE_BYTES[wanted]
    require_disk(folder, size, "The merged checkpoint")
    watcher = progress or Silent()
    watcher.begin(f"Loading {base.name} in {merging}", 0)
    model = load_model(base, merging)
    watcher.begin("Merging with PEFT", 0)
    model, notes = merge_adapters(model, adapters)
    watcher.begin("Saving", 0)
    _save(model, wanted, folder, size)
    carry_over(folder, [locate_adapter(path).folder for path, _ in adapters], base)
    return MergeReport(folder, wanted, sum(p.numel() for p in model.parameters()), notes)


def _save(model: Any, dtype: str, folder: Path, size: int) -> None:  # noqa: ANN401
    import torch
    import transformers

    from loragraft.export.peft_engine import check_finite

    model = model.to(getattr(torch, dtype))
    check_finite(model)
    # transformers refuses to save odd generation settings; the file itself is carried over.
    settings: Any = transformers.GenerationConfig
    model.generation_config = settings()
    folder.mkdir(parents=True, exist_ok=True)
    with explain_full_disk(folder, size):
        model.save_pretrained(str(folder), max_shard_size=MAX_SHARD)


def carry_over(folder: Path, adapters: Sequence[Path], base: Path) -> None:
    """Copy tokenizer, chat template and generation settings, an adapter's before the base's.

    Args:
        folder: The merged checkpoint.
        adapters: The adapters' folders, in the order they are merged in.
        base: The base checkpoint's folder.
    """
    sources = [*reversed(adapters), base]
    owner = tokenizer_owner(adapters, base)
    for name in TOKENIZER_FILES:
        if (owner / name).is_file():
            shutil.copyfile(owner / name, folder / name)
    _carry_template(folder, sources)
    (folder / GENERATION_FILE).unlink(missing_ok=True)
    settings = next((s for s in sources if (s / GENERATION_FILE).is_file()), None)
    if settings is not None:
        shutil.copyfile(settings / GENERATION_FILE, folder / GENERATION_FILE)


def _carry_template(folder: Path, sources: Sequence[Path]) -> None:
    """Copy the files of the first folder that has a template, in whatever form."""
    for source in sources:
        found = [name for name in TEMPLATE_FILES if (source / name).is_file()]
        for name in found:
            shutil.copyfile(source / name, folder / name)
        if (source / TEMPLATE_FOLDER).is_dir():
            shutil.copytree(source / TEMPLATE_FOLDER, folder / TEMPLATE_FOLDER, dirs_exist_ok=True)
        config = source / "tokenizer_config.json"
        template = read_json(config).get("chat_template") if config.is_file() else None
        if found:
            return
        if isinstance(template, str):
            # The tokenizer's own settings may come from another folder: state it where it counts.
            (folder / TEMPLATE_FILES[0]).write_text(template, encoding="utf-8")
            return
        if template:
            return


def merge_checkpoint(
    base: Path,
    adapters: Sequence[tuple[Path, float]],
    out: Path,
    *,
    dtype: str = "auto",
    compute: str = "float32",
    replace: bool = False,
    progress: Progress | None = None,
) -> MergeReport:
    """Merge and publish a checkpoint folder, whole or not at all.

    Args:
        base: The base checkpoint's folder.
        adapters: Each adapter's path and the factor on its scale.
        out: The folder to make.
        dtype: As :func:`merge_into`.
        compute: As :func:`merge_into`.
        replace: Whether a folder of that name gives way.
        progress: Told of each stage, and of the bytes hashed in the last.

    Raises:
        LoragraftError: As :func:`merge_into`; BundleError if the name is taken.
    """
    with Staging(out.parent, out.name, replace=replace) as staging:
        report = merge_into(
            base, adapters, staging.folder, dtype=dtype, compute=compute, progress=progress
        )
        places = places_of(base, adapters, out.parent)
        _hide_origin(staging.folder, places)
        files = sorted(p for p in staging.folder.rglob("*") if p.is_file())
        watcher = progress or Silent()
        watcher.begin("Computing checksums", sum(path.stat().st_size for path in files))
        digests: dict[str, str] = {}
        for path in files:
            digests[path.relative_to(staging.folder).as_posix()] = sha256_file(path)
            watcher.advance(path.stat().st_size)
        described = places.hide(_describe(base, adapters, report, digests))
        metadata = write_metadata(staging.folder, described)
        digests[metadata.name] = sha256_file(metadata)
        write_checksums(staging.folder, digests)
        folder = staging.publish()
    return MergeReport(folder, report.dtype, report.parameters, report.notes)


def _hide_origin(folder: Path, places: Places) -> None:
    """Take this machine's folders out of the entries that say where a model was loaded from."""
    for name, key in _ORIGINS:
        path = folder / name
        settings = read_json(path) if path.is_file() else {}
        if key in settings and settings[key] != places.hide(settings[key]):
            settings[key] = places.hide(settings[key])
            path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _describe(
    base: Path,
    adapters: Sequence[tuple[Path, float]],
    report: MergeReport,
    digests: dict[str, str],
) -> dict[str, Any]:
    return {
        "kind": MERGED_KIND,
        "loragraft": __version__,
        "base": {"name": shared_name(base), "revision": hub_commit(base)},
        "adapters": [
            {"name": adapter_name(weights), "scale": scale, "sha256": sha256_file(weights)}
            for weights, scale in ((locate_adapter(path).weights, s) for path, s in adapters)
        ],
        "dtype": report.dtype,
        "parameters": report.parameters,
        "notes": list(report.notes),
        "files": digests,
    }
