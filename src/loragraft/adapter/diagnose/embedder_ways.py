"""An adapter on a SentenceTransformer, in each way that people put it there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loragraft.adapter.diagnose.difference import Vectors, compare
from loragraft.adapter.diagnose.facts import WayResult
from loragraft.adapter.diagnose.structure import hierarchy
from loragraft.adapter.embedder import (
    embed,
    embed_by_hand,
    get_encoder,
    load_embedder,
    set_encoder,
)
from loragraft.adapter.peft_loading import adapter_layers, attach
from loragraft.errors import AdapterError, UnsupportedError

RIGHT = "inner"


@dataclass(frozen=True)
class Put:
    """A SentenceTransformer with an adapter somewhere on it.

    Attributes:
        outer: What the user then calls ``encode`` on.
        model: The SentenceTransformer itself.
        encoder: What a forward pass by hand calls.
        toggle: Switches the adapter off for a block; None where it is merged.
        missing: Parameters of the adapter that the file did not fill.
        unexpected: Keys of the file that landed nowhere.
    """

    outer: Any
    model: Any
    encoder: Any
    toggle: Callable[[], AbstractContextManager[Any]] | None
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()


def _wrapper(model: Any, folder: Path) -> Put:  # noqa: ANN401
    attached = attach(model, folder, folder)
    wrapped = attached.model
    return Put(
        wrapped, model, get_encoder(model), wrapped.disable_adapter,
        attached.missing, attached.unexpected,
    )  # fmt: skip


def _inner(model: Any, folder: Path) -> Put:  # noqa: ANN401
    attached = attach(get_encoder(model), folder, folder)
    set_encoder(model, attached.model)
    return Put(
        model, model, attached.model, attached.model.disable_adapter,
        attached.missing, attached.unexpected,
    )  # fmt: skip


def _load_adapter(model: Any, folder: Path) -> Put:  # noqa: ANN401
    missing, unexpected = load_by_transformers(get_encoder(model), folder)
    encoder = get_encoder(model)
    return Put(model, model, encoder, lambda: SwitchedOff(encoder), missing, unexpected)


def _merged(model: Any, folder: Path) -> Put:  # noqa: ANN401
    attached = attach(get_encoder(model), folder, folder)
    merged = attached.model.merge_and_unload()
    set_encoder(model, merged)
    return Put(model, model, merged, None, attached.missing, attached.unexpected)


def load_by_transformers(model: Any, folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:  # noqa: ANN401
    """Load an adapter by a model's own ``load_adapter``; return missing and left-over keys.

    Up to transformers 4 the method returns nothing, so that both are empty there.

    Raises:
        AdapterError: If it refuses.
    """
    try:
        info = model.load_adapter(str(folder))
    except Exception as error:  # given a stranger's configuration it may fail in any way
        raise AdapterError(f"load_adapter refuses: {str(error)[:300]}") from error
    missing = {str(key) for key in getattr(info, "missing_keys", None) or ()}
    mismatched = {str(key) for key in getattr(info, "mismatched_keys", None) or ()}
    if mismatched:
        raise AdapterError(f"load_adapter leaves {len(mismatched)} parameters of other sizes out")
    unexpected = {str(key) for key in getattr(info, "unexpected_keys", None) or ()}
    return tuple(sorted(missing)), tuple(sorted(unexpected))


class SwitchedOff(AbstractContextManager[None]):
    """Switch the adapters of a plain transformers model off for a block."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401
        """Keep the model."""
        self.model = model

    def __enter__(self) -> None:
        """Switch off."""
        self.model.disable_adapters()

    def __exit__(self, *details: object) -> None:
        """Switch on again."""
        self.model.enable_adapters()


Way = Callable[[Any, Path], Put]
WAYS: Mapping[str, tuple[str, Way]] = {
    "wrapper": ("PeftModel.from_pretrained(SentenceTransformer(base), adapter)", _wrapper),
    "inner": ("PeftModel on the encoder inside the SentenceTransformer", _inner),
    "load_adapter": ("SentenceTransformer(base).load_adapter(adapter)", _load_adapter),
    "merged": ("merge_and_unload of the encoder, put back", _merged),
}
"""How people do it, and the function that does."""


@dataclass(frozen=True)
class Reference:
    """The base's embeddings.

    Attributes:
        texts: The probe sentences.
        vectors: Theirs, ``[texts, width]``.
        pair_texts: Both sides of the labelled pairs, where there are any.
        pair_vectors: Theirs.
        modules: Module names by level, outermost first.
        parameters: Of the whole base.
    """

    texts: tuple[str, ...]
    vectors: Vectors
    pair_texts: tuple[str, ...]
    pair_vectors: Vectors | None
    modules: Mapping[str, frozenset[str]]
    parameters: int


def measure_reference(base: Path, texts: Sequence[str], pair_texts: Sequence[str]) -> Reference:
    """Embed texts with the base alone, and note the names of its modules."""
    model = load_embedder(base)
    encoder = get_encoder(model)
    levels = {"SentenceTransformer": model, "first module": model[0], "encoder": encoder}
    return Reference(
        tuple(texts),
        embed(model, texts),
        tuple(pair_texts),
        embed(model, pair_texts) if pair_texts else None,
        {name: frozenset(n for n, _ in part.named_modules()) for name, part in levels.items()},
        sum(parameter.numel() for parameter in model.parameters()),
    )


def measure_way(base: Path, folder: Path, name: str, reference: Reference) -> WayResult:
    """Load a base and an adapter in one way, and measure what comes of it.

    Args:
        base: The SentenceTransformer's folder; loaded anew, because PEFT changes what it is given.
        folder: The adapter, with PEFT's own file names.
        name: One of :data:`WAYS`, or ``renamed`` for the right way with changed keys.
        reference: The base's own embeddings.
    """
    code, put_on = WAYS[RIGHT if name == "renamed" else name]
    try:
        put = put_on(load_embedder(base), folder)
    except (AdapterError, UnsupportedError) as error:
        return WayResult(name, code, error=str(error))
    tuned = embed(put.outer, reference.texts)
    if put.toggle is not None:
        with put.toggle():
            embed(put.outer, reference.texts[:1])
    again = embed(put.outer, reference.texts)
    hand = embed_by_hand(put.model, put.encoder, reference.texts)
    layers = adapter_layers(put.outer)
    usual, direct = compare(reference.vectors, tuned, again), compare(reference.vectors, hand, hand)
    gap = float(np.abs(hand - tuned).max())
    return WayResult(
        name, code,
        difference=usual,
        by_hand=f"encode() and a forward pass by hand differ by at most {gap:.2g}",
        bypassed=direct.verdict == "effective" and usual.verdict == "identical",
        missing=put.missing, unexpected=put.unexpected, layers=len(layers),
        is_peft_model=_is_peft(put), place=hierarchy(put.outer, layers),
        trainable=sum(p.numel() for n, p in put.outer.named_parameters() if "lora_" in n),
        total=sum(p.numel() for p in put.outer.parameters()),
        pair_vectors=embed(put.outer, reference.pair_texts) if reference.pair_texts else None,
    )  # fmt: skip


def _is_peft(put: Put) -> bool:
    from peft import PeftModel

    return isinstance(put.outer, PeftModel) or isinstance(put.encoder, PeftModel)
