"""Whether the output head shares the embedding's tensor, once adapters have had their say.

A checkpoint with tied embeddings has one matrix for both. An adapter that changes only one side
(a LoRA on ``embed_tokens``, a saved ``lm_head``) was trained with the other side unchanged, so
merging into the shared matrix would change the model: the two are written apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loragraft.adapter.reader import Adapter
from loragraft.checkpoint.model import Checkpoint
from loragraft.export.delta import HEAD_NAME, Changes, TensorChange, TokenRowsTerm


@dataclass(frozen=True)
class Tying:
    """The decision, and the sentence that explains it where it differs from the base's."""

    untie: bool
    note: str | None = None


def _only_token_rows(changes: Changes, name: str) -> bool:
    change = changes.by_tensor[name]
    return change.origin is None and all(isinstance(t(), TokenRowsTerm) for t in change.terms)


def decide_tying(
    base: Checkpoint, embedding: str, changes: Changes, adapters: Sequence[Adapter]
) -> Tying:
    """Decide for a base whose embeddings are tied.

    Args:
        base: The checkpoint.
        embedding: Name of its embedding tensor.
        changes: What the adapters do; a change of :data:`HEAD_NAME` is one of the head alone.
        adapters: The adapters, for their own word (``ensure_weight_tying``).
    """
    embedding_changes, head_changes = embedding in changes.by_tensor, HEAD_NAME in changes.by_tensor
    if not embedding_changes and not head_changes:
        return Tying(untie=False)
    if embedding_changes and not head_changes:
        if _only_token_rows(changes, embedding):
            return Tying(untie=False)  # PEFT ties trained token rows on both sides by itself
        if any(adapter.config.raw.get("ensure_weight_tying") for adapter in adapters):
            return Tying(untie=False, note="the adapter asks for tied embeddings; kept tied")
        if _rows(changes, embedding) not in (None, base.tensors[embedding].shape[0]):
            return Tying(
                untie=False,
                note="the adapter resized the tied embedding and saved no lm_head; kept tied",
            )
        return Tying(True, "the adapter changes the embedding and not the tied lm_head: untied")
    if embedding_changes and _same_saved(changes, embedding):
        return Tying(untie=False)
    what = "both sides differently" if embedding_changes else "lm_head and not the tied embedding"
    return Tying(True, f"the adapter changes {what}: untied")


def _rows(changes: Changes, name: str) -> int | None:
    origin = changes.by_tensor[name].origin
    return None if origin is None else origin().shape[0]


def _same_saved(changes: Changes, embedding: str) -> bool:
    """Whether both sides were saved whole and hold the same values (a resized tied model)."""
    left, right = changes.by_tensor[embedding], changes.by_tensor[HEAD_NAME]
    if left.origin is None or right.origin is None or not _same_rows(left, right):
        return False
    a, b = left.origin(), right.origin()
    if a.shape != b.shape:
        return False
    step = 4096
    return all(
        (a.read(i, min(i + step, a.shape[0])) == b.read(i, min(i + step, a.shape[0]))).all()
        for i in range(0, a.shape[0], step)
    )


def _same_rows(left: TensorChange, right: TensorChange) -> bool:
    """Whether nothing but the same trained token rows comes on top of either side."""
    pairs = [(a(), b()) for a, b in zip(left.terms, right.terms, strict=False)]
    return len(left.terms) == len(right.terms) and all(
        isinstance(a, TokenRowsTerm)
        and isinstance(b, TokenRowsTerm)
        and np.array_equal(a.indices, b.indices)
        and np.array_equal(a.values, b.values)
        for a, b in pairs
    )
