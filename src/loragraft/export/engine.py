"""Which engine merges: the stream of row blocks, or PEFT's own ``merge_and_unload``."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from loragraft.adapter.config import streamable, unmergeable
from loragraft.adapter.reader import Adapter, open_adapter
from loragraft.artifact.progress import Progress
from loragraft.artifact.publish import Staging
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import UnsupportedError
from loragraft.export.prepare import open_base
from loragraft.export.request import ExportRequest


@dataclass(frozen=True)
class EngineChoice:
    """The engine and the reason, which stands in the metadata."""

    engine: str
    reason: str


def _obstacle(adapters: Sequence[tuple[Path, float]]) -> str | None:
    """Return why the stream engine cannot take these adapters, if it cannot."""
    for path, _ in adapters:
        with open_adapter(path) as adapter:
            reason = streamable(adapter.config) or _not_by_rows(adapter)
        if reason is not None:
            return f"the adapter {path} {reason}"
    return None


def _not_by_rows(adapter: Adapter) -> str | None:
    """Return why a merge would need whole matrices at once, if it would."""
    for module in adapter.modules.values():
        if module.kind == "embedding" and module.magnitude_key is not None:
            return f"has DoRA on the embedding {module.name}, which rescales columns, not rows"
    return None


def choose_engine(request: ExportRequest, base: Checkpoint) -> EngineChoice:
    """Choose the engine.

    Raises:
        UnsupportedError: If no engine can merge an adapter, or ``--engine stream`` cannot.
    """
    for path, _ in request.adapters:
        with open_adapter(path) as adapter:
            reason = unmergeable(adapter.config)
        if reason is not None:
            raise UnsupportedError(
                f"The adapter {path} {reason}. No merged model does what it was trained to: serve "
                "it unmerged with PEFT."
            )
    if request.engine == "peft" and request.adapters:
        return EngineChoice("peft", "asked for by --engine peft")
    obstacle = _obstacle(request.adapters)
    if obstacle is None:
        what = "plain LoRA" if request.adapters else f"no adapter, {base.folder.name} alone"
        return EngineChoice("stream", f"{what}: merged row by row in one pass")
    if request.engine == "stream":
        raise UnsupportedError(
            f"The stream engine cannot take this: {obstacle}. Leave --engine out, or "
            "choose --engine peft."
        )
    return EngineChoice("peft", obstacle)


def merged_base(
    request: ExportRequest,
    choice: EngineChoice,
    base: Checkpoint,
    staging: Staging,
    stack: ExitStack,
    progress: Progress,
) -> tuple[Checkpoint, Sequence[tuple[Path, float]]]:
    """Return what the writer reads: base and adapters, or PEFT's merged checkpoint and none."""
    if choice.engine == "stream":
        return base, request.adapters
    return open_base(merge_beside(request, staging, stack, progress), stack), ()


def merge_beside(
    request: ExportRequest, staging: Staging, stack: ExitStack, progress: Progress
) -> Path:
    """Merge with PEFT into a hidden folder beside the bundle; it goes with the stack."""
    from loragraft.export.merge import merge_into

    dtype = "bfloat16" if request.precision == "reference" else "float32"
    folder = hidden_folder(staging, "merged", stack)
    merge_into(request.base, request.adapters, folder, dtype=dtype, progress=progress)
    return folder


def hidden_folder(staging: Staging, purpose: str, stack: ExitStack) -> Path:
    """Name a folder beside the bundle that is empty now and removed with the stack."""
    folder = staging.target.with_name(f".{staging.target.name}.{purpose}")
    shutil.rmtree(folder, ignore_errors=True)  # what a killed run left
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder
