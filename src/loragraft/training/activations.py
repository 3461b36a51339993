"""What a backward pass needs to be kept of a forward pass, counted tensor by tensor.

The counts are those of transformers 5 and PEFT 0.21 as autograd keeps them: a frozen matrix keeps
nothing of its input, an adapted one keeps what goes into A and what comes out of it. The tests
compare them with what autograd says it kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from loragraft.training.config import LoraSettings
from loragraft.training.sizes import BaseSizes

FLOAT = 4
_SHARED_INPUTS = (
    frozenset({"q_proj", "k_proj", "v_proj", "qkv_proj"}),
    frozenset({"gate_proj", "up_proj", "gate_up_proj"}),
)
"""Modules that read the same tensor: kept once, where nothing is done to it in between."""
_FUSED_QUERY = "qkv_proj"


@dataclass(frozen=True)
class Batch:
    """What goes through the model at once.

    Attributes:
        rows: Sequences.
        length: Tokens of each, padding counted.
        learnt: Positions of a row at which logits are computed; None is all.
    """

    rows: int
    length: int
    learnt: int | None = None

    @property
    def tokens(self) -> int:
        """Return the tokens, padding counted."""
        return self.rows * self.length

    @property
    def logits(self) -> int:
        """Return the positions at which logits are computed."""
        return self.rows * (self.length if self.learnt is None else min(self.learnt, self.length))


@dataclass(frozen=True)
class Compute:
    """How it is computed.

    Attributes:
        item: Bytes of a number: 4, or 2 in bfloat16 and float16.
        mask: Bytes of an element of dropout's mask: on a CPU as wide as what it multiplies.
        checkpointing: Whether activations of a layer are computed again.
    """

    item: int
    mask: int | None = None
    checkpointing: bool = False


def adapted_modules(sizes: BaseSizes, targets: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Return the linear modules that an adapter is put on, with their widths."""
    return {
        name: sides for name, sides in sizes.linear.items()
        if any(name == target or name.endswith(f".{target}") for target in targets)
    }  # fmt: skip


def layer_bytes(
    sizes: BaseSizes, lora: LoraSettings, targets: tuple[str, ...], batch: Batch, how: Compute
) -> float:
    """Return the bytes that autograd keeps of one layer, a mean over the layers."""
    adapted = adapted_modules(sizes, targets)
    leaves = [(n.rpartition(".")[2], *sides) for n, sides in adapted.items()]
    per_token = _base_bytes(sizes, batch, how, {leaf for leaf, _, _ in leaves})
    whole = float(batch.tokens * per_token * sizes.layers)
    whole += _adapter_bytes(leaves, lora, batch, how, sizes.layers)
    return whole / sizes.layers


def _base_bytes(sizes: BaseSizes, batch: Batch, how: Compute, adapted: set[str]) -> int:
    """Return the bytes of a token of a layer that the base itself keeps."""
    norms = sizes.norms * sizes.hidden * FLOAT  # computed in float32 always
    if sizes.head_norms:
        norms += (sizes.query + sizes.key_value) * FLOAT
    return norms + _attention(sizes, batch, how) + 3 * sizes.intermediate * how.item


def _attention(sizes: BaseSizes, batch: Batch, how: Compute) -> int:
    """Return the bytes of a token: queries, keys and values for each head, and the result."""
    kept = 4 * sizes.query * how.item + sizes.heads * FLOAT
    if any(name.endswith(_FUSED_QUERY) for name in sizes.linear):
        kept += (sizes.query + sizes.key_value) * how.item
    if sizes.eager:  # scores, capped and as probabilities
        kept += sizes.heads * batch.length * (how.item + FLOAT)
    return kept


def _adapter_bytes(
    leaves: list[tuple[str, int, int]], lora: LoraSettings, batch: Batch, how: Compute, layers: int
) -> float:
    """Return the bytes that all layers' adapters keep."""
    inner = sum(lora.r * how.item for _ in leaves)
    kept = batch.tokens * (inner + _inputs(leaves, lora, how, layers))
    if lora.dora:  # the base's result twice, and an identity matrix as wide as the input
        kept += batch.tokens * sum(2 * outside * how.item for _, _, outside in leaves)
        kept += sum(inside * inside * how.item for _, inside, _ in leaves)
    return kept


def _inputs(
    leaves: list[tuple[str, int, int]], lora: LoraSettings, how: Compute, layers: int
) -> float:
    """Return the bytes of a token that are kept of what goes into the adapters."""
    own = sum(inside * how.item for _, inside, _ in leaves)
    if lora.dropout:
        return own + sum(inside * (how.mask or FLOAT) for _, inside, _ in leaves)
    if how.item != FLOAT:  # cast to the adapter's float32 and back: a copy for each module
        return own
    shared = [group & {leaf for leaf, _, _ in leaves} for group in _SHARED_INPUTS]
    widths = {leaf: inside for leaf, inside, _ in leaves}
    common = sum(widths[next(iter(group))] for group in shared if group)
    others = sum(w for leaf, w in widths.items() if not any(leaf in g for g in shared))
    others -= widths.get("o_proj", 0)  # the result of attention, which is kept anyway
    return layers * how.item * (common + others)


def kept_bytes(
    sizes: BaseSizes, lora: LoraSettings, targets: tuple[str, ...], batch: Batch, how: Compute
) -> int:
    """Return the bytes that a backward pass needs of the forward pass, at its beginning.

    With checkpointing: what goes into each layer, and all of the one that is computed again.
    """
    layer = layer_bytes(sizes, lora, targets, batch, how)
    last = batch.tokens * sizes.hidden * FLOAT  # of the last norm
    if how.checkpointing:
        return int(batch.tokens * sizes.hidden * how.item * sizes.layers + layer + last)
    return int(layer * sizes.layers + last)
