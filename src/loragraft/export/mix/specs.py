"""What goes into the choice of tensor types and what comes out."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from loragraft.export.mix.tensor_types import block_bytes, block_elements

_LAYER = re.compile(r"blk\.(\d+)\.")


@dataclass(frozen=True)
class ModelShape:
    """The hyper-parameters of a model that decide tensor types.

    `architecture` is GGUF's name ("llama", "qwen2", …); all sizes count elements.
    """

    architecture: str
    layers: int
    embedding: int
    feed_forward: int
    heads: int
    heads_kv: int
    key_length: int
    value_length: int
    experts: int = 0
    vocab: int = 0

    @property
    def heads_per_kv(self) -> int:
        """Query heads that share one key-value head (grouped-query attention)."""
        return self.heads // self.heads_kv if self.heads_kv else 0


@dataclass(frozen=True)
class TensorSpec:
    """A tensor by its GGUF name; `shape` in numpy order, the row length last."""

    name: str
    shape: tuple[int, ...]

    @property
    def row_length(self) -> int:
        """Elements of one row."""
        return self.shape[-1]

    @property
    def size(self) -> int:
        """Elements in total."""
        return math.prod(self.shape)

    @property
    def order(self) -> tuple[int, str]:
        """Where the tensor stands in a file of llama.cpp: outside of blocks, by layer, by name."""
        layer = _LAYER.match(self.name)
        return (int(layer[1]) if layer else -1, self.name)


@dataclass(frozen=True)
class Assignment:
    """The type a tensor gets.

    `wanted` is what the mix would give it if its rows were long enough; where that differs from
    `qtype`, `reason` says why in words.
    """

    name: str
    qtype: int
    wanted: int
    reason: str | None


def tensor_bytes(spec: TensorSpec, qtype: int) -> int:
    """Bytes of a tensor's data in a GGUF, without the padding between tensors."""
    return spec.size // block_elements(qtype) * block_bytes(qtype)
