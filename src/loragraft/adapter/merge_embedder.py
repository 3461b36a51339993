"""An adapter merged into the encoder of its SentenceTransformer, as a folder of its own.

The folder needs no PEFT. Before it gets its name it is loaded from the disk again and must embed
as the adapted model does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loragraft import __version__
from loragraft.adapter.diagnose.structure import Shift, adapted_paths, find_shift, shifted_folder
from loragraft.adapter.embedder import (
    MODULES_FILE,
    PROBE_SENTENCES,
    embed,
    encoder_folder,
    get_encoder,
    is_embedder,
    load_embedder,
    set_encoder,
)
from loragraft.adapter.peft_loading import attach_strictly, peft_folder, quiet, require_packages
from loragraft.adapter.reader import Adapter, open_adapter
from loragraft.artifact.checksums import write_checksums
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.metadata import write_metadata
from loragraft.artifact.progress import Progress, Silent
from loragraft.artifact.publish import Staging
from loragraft.artifact.space import explain_full_disk, require_disk
from loragraft.errors import CheckFailedError, NonFiniteError, UnsupportedError

KIND = "merged-embedder"
TOLERANCE = 1e-5
"""Largest difference of an element of a unit vector: float32 rounds the merged weights once, which
moves MiniLM's embeddings by some 1e-7; a lost layer moves them by 1e-2."""
PURPOSE = "Merging an embedding model"


@dataclass(frozen=True)
class MergeEmbedderReport:
    """What was merged.

    Attributes:
        folder: The published SentenceTransformer.
        base: The base's folder.
        adapter: The adapter's file.
        parameters: Of the merged model.
        largest_difference: Of an element between merged and adapted embeddings of the probes.
        change: The same between merged model and base: what the adapter did.
        bytes: Size of the folder.
        notes: What was decided on the way.
    """

    folder: Path
    base: Path
    adapter: Path
    parameters: int
    largest_difference: float
    change: float
    bytes: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        paths = {name: str(getattr(self, name)) for name in ("folder", "base", "adapter")}
        return {**vars(self), **paths, "notes": list(self.notes)}


def merge_embedder(
    base: Path,
    adapter: Path,
    out: Path,
    *,
    replace: bool = False,
    progress: Progress | None = None,
) -> MergeEmbedderReport:
    """Merge an adapter into a SentenceTransformer, prove the result and publish it.

    An adapter whose keys were saved at another level (``0.auto_model.…``) is merged all the same,
    with a note.

    Args:
        base: The SentenceTransformer's folder.
        adapter: The adapter's path.
        out: The folder to make.
        replace: Whether a folder of that name that loragraft wrote gives way.
        progress: Told of each stage.

    Raises:
        MissingExtraError: If torch, peft or sentence-transformers is missing.
        UnsupportedError: If the base is no SentenceTransformer.
        AdapterError: If a key does not land.
        NonFiniteError: If the merge gives NaN or Inf.
        CheckFailedError: If the saved model does not embed as the adapted one; nothing is
            published then.
        BundleError: If the name is taken.
        OutOfSpaceError: If the disk is too small.
    """
    require_packages(PURPOSE, "torch", "transformers", "peft", "sentence_transformers")
    base, out = Path(base), Path(out)
    if not is_embedder(base):
        raise UnsupportedError(
            f"{base} is no SentenceTransformer: it has no {MODULES_FILE}. A language model is "
            "merged by loragraft export merge."
        )
    watcher = progress or Silent()
    target = out.absolute()
    try:
        with (
            quiet(), open_adapter(adapter) as opened,
            Staging(target.parent, target.name, replace=replace) as staging,
        ):  # fmt: skip
            return _merge(base, opened, staging, watcher)
    finally:
        watcher.end()


def _merge(
    base: Path, adapter: Adapter, staging: Staging, progress: Progress
) -> MergeEmbedderReport:
    progress.begin(f"Loading {base.name}", 0)
    model = load_embedder(base)
    plain = embed(model, PROBE_SENTENCES)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    require_disk(staging.folder, parameters * 4, "The merged model")
    progress.begin("Merging", 0)
    adapted, notes = attach_and_merge(model, adapter)
    progress.begin("Saving", 0)
    with explain_full_disk(staging.folder):
        _save(model, base, staging.folder)
    del model
    progress.begin("Proving", 0)
    merged = embed(load_embedder(staging.folder), PROBE_SENTENCES)
    difference = float(np.abs(merged - adapted).max())
    change = float(np.abs(merged - plain).max())
    _check(difference, change, staging.target)
    report = MergeEmbedderReport(
        staging.target, base, adapter.path, parameters, difference, change,
        sum(file.stat().st_size for file in staging.folder.rglob("*") if file.is_file()), notes,
    )  # fmt: skip
    _describe(report, adapter, staging.folder)
    staging.publish()
    return report


def attach_and_merge(model: Any, adapter: Adapter) -> tuple[Any, tuple[str, ...]]:  # noqa: ANN401
    """Put the merged encoder into a model; return the adapted model's embeddings before that."""
    encoder = get_encoder(model)
    notes = list(adapter.notes)
    names = {name for name, _ in encoder.named_modules()}
    shift = find_shift(adapted_paths(adapter.tensors), names)
    with peft_folder(adapter.location) as folder:
        if shift is not None and shift.needed:
            notes.append(_said(shift))
            with shifted_folder(folder, shift) as changed:
                attached = attach_strictly(encoder, changed, adapter.path)
        else:
            attached = attach_strictly(encoder, folder, adapter.path)
    set_encoder(model, attached.model)
    adapted = embed(model, PROBE_SENTENCES)
    if not np.isfinite(adapted).all():
        raise NonFiniteError(
            f"With {adapter.path} the model embeds as NaN or Inf. Take an earlier checkpoint."
        )
    try:
        merged = attached.model.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise NonFiniteError(
            f"Merging {adapter.path} gives NaN or Inf ({error}). Take an earlier checkpoint."
        ) from error
    except (NotImplementedError, AttributeError) as error:
        kind = adapter.config.peft_type
        raise UnsupportedError(
            f"PEFT cannot merge adapters of type {kind}: {error}. Use it with PEFT as it is."
        ) from error
    set_encoder(model, merged)
    return adapted, tuple(notes)


def _said(shift: Shift) -> str:
    return (
        f"the adapter's keys begin with {shift.drop!r}; they were read as if they began with "
        f"{shift.add!r}, where the encoder has these modules"
    )


def _save(model: Any, base: Path, folder: Path) -> None:  # noqa: ANN401
    """Save a model, with the base's default prompt, which loading had switched off."""
    from sentence_transformers import SentenceTransformer

    original: Any = SentenceTransformer(str(base), device="cpu", local_files_only=True)
    model.default_prompt_name = original.default_prompt_name
    model.save_pretrained(str(folder), create_model_card=False)


def _check(difference: float, change: float, target: Path) -> None:
    if not difference <= TOLERANCE:
        raise CheckFailedError(
            f"The merged model embeds the probe sentences up to {difference:.3g} away from the "
            f"adapted one, expected at most {TOLERANCE:g}. {target} was not published. Run "
            "loragraft adapter diagnose on base and adapter."
        )
    if change == 0:
        raise CheckFailedError(
            f"The merged model embeds the probe sentences exactly as the base: the adapter "
            f"changes nothing. {target} was not published. Run loragraft adapter diagnose on base "
            "and adapter."
        )


def _describe(report: MergeEmbedderReport, adapter: Adapter, folder: Path) -> None:
    import peft
    import sentence_transformers
    import torch
    import transformers

    weights = sorted(encoder_folder(report.base).glob("*.safetensors"))
    write_metadata(folder, {
        "kind": KIND,
        "name": report.folder.name,
        "base": {"path": str(report.base), "files": {f.name: sha256_file(f) for f in weights}},
        "adapter": {"path": str(report.adapter), "sha256": adapter.sha256},
        "proof": {
            "sentences": len(PROBE_SENTENCES),
            "largest_difference": report.largest_difference,
            "tolerance": TOLERANCE,
            "change_against_base": report.change,
        },
        "notes": report.notes,
        "tools": {
            "loragraft": __version__, "peft": peft.__version__, "torch": torch.__version__,
            "sentence-transformers": sentence_transformers.__version__,
            "transformers": transformers.__version__,
        },
    })  # fmt: skip
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    write_checksums(folder, {f.relative_to(folder).as_posix(): sha256_file(f) for f in files})
