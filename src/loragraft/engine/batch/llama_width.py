"""How many conversations one batch holds, by the memory that the machine has."""

from __future__ import annotations

from loragraft.artifact.space import format_bytes, machine_memory
from loragraft.checkpoint.bundle import LocalModel
from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.engine.batch.llama_reading import ROOM
from loragraft.engine.batch.llama_slots import cells
from loragraft.engine.llama_memory import BUFFERS, cache_bytes
from loragraft.errors import OutOfMemoryError

WIDTHS = (32, 16, 8, 4, 2, 1)
"""Tried in this order. More than 32 gains little on a processor."""
SHARE = 0.7
"""Of the machine's memory that a model may take: the embedder and the system need some too."""


def choose_width(model: LocalModel, context: int, memory: int | None = None) -> int:
    """Return the most conversations that fit into memory, at most 32.

    Width is part of what decides an answer. So it follows from the machine's memory, not from what
    happens to be free: the same command finds the same width tomorrow.

    Args:
        model: As :func:`~loragraft.checkpoint.bundle.open_model` gives it.
        context: Tokens of each conversation with its answer.
        memory: Bytes to be had; None for what the machine has.

    Raises:
        OutOfMemoryError: If not even one fits.
        BundleError: If the file is broken.
    """
    room = (machine_memory() if memory is None else memory) * SHARE
    with GgufFile(model.gguf) as file:
        needs = {width: needed_bytes(file, context, width) for width in WIDTHS}
    for width in WIDTHS:
        if needs[width] <= room:
            return width
    raise OutOfMemoryError(
        f"{model.name} with one conversation of {context} tokens takes "
        f"{format_bytes(needs[1])}, and {format_bytes(room)} of this machine's memory are for it. "
        "Use a smaller quantization (quant), shorter prompts (context), or another engine."
    )


def needed_bytes(file: GgufFile, context: int, width: int) -> int:
    """Return what a model with so many conversations takes, weights included."""
    weights = sum(tensor.nbytes for tensor in file.tensors.values())
    # Common beginnings are kept beside the cache.
    return weights + cache_bytes(file, cells(context)) * (width + ROOM) + BUFFERS
