"""How much memory a model and its context take, from the header alone."""

from __future__ import annotations

from typing import Any

from loragraft.artifact.space import require_memory
from loragraft.checkpoint.gguf_file import GgufFile

CACHE_BYTES = 2
"""Of a key or value in the cache: float16."""
BUFFERS = 1 << 28
"""Bytes of working buffers: 100 to 250 MiB for models up to 8B with batches of 256 tokens."""


def cache_bytes(file: GgufFile, context: int) -> int:
    """Return the bytes of the key-value cache for a context of so many tokens.

    Sizes that a file does not give are taken from the embedding, which errs on the large side.
    """
    name = file.get("general.architecture", "")

    def number(key: str, default: int) -> int:
        value = file.get(f"{name}.{key}")
        return value if type(value) is int and value > 0 else default

    layers, width = number("block_count", 0), number("embedding_length", 0)
    heads = number("attention.head_count", 1)
    head = width // heads
    widths = number("attention.key_length", head) + number("attention.value_length", head)
    per_layer = _heads(file.get(f"{name}.attention.head_count_kv"), heads, layers)
    return context * per_layer * widths * CACHE_BYTES


def _heads(value: Any, default: int, layers: int) -> int:  # noqa: ANN401 - a number or a list
    """Return the key-value heads of all layers together."""
    if isinstance(value, list):
        return sum(item for item in value if type(item) is int and item > 0)
    return layers * (value if type(value) is int and value > 0 else default)


def require_model_memory(file: GgufFile, context: int) -> None:
    """Refuse a model that would not fit.

    Raises:
        OutOfMemoryError: Naming what is there and what is needed.
    """
    weights = sum(tensor.nbytes for tensor in file.tensors.values())
    needed = weights + cache_bytes(file, context) + BUFFERS
    require_memory(
        needed,
        f"{file.path.name} with a context of {context} tokens",
        "Choose a smaller context (--context), a smaller quantization (--quant), or close other "
        "programs.",
    )
