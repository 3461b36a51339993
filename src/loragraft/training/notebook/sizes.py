"""Batches for the GPUs that are lent for nothing, by the estimate of memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from loragraft.errors import InputError
from loragraft.training.config import TrainConfig
from loragraft.training.machine import P100, T4, Machine

if TYPE_CHECKING:
    from loragraft.training.sizes import BaseSizes

GPUS = (T4, P100)
ROOM = 0.9
"""Share of a GPU's memory that a batch may take by the estimate: the rest is for its error, and
for what the allocator cannot use."""


@dataclass(frozen=True)
class Size:
    """How a step is divided on a GPU.

    Attributes:
        batch: Examples at once.
        gradient_checkpointing: Whether activations are computed twice instead of kept.
        fits: Whether the estimate is within the memory.
        bytes: The estimate; None where the base is unknown.
    """

    batch: int
    gradient_checkpointing: bool
    fits: bool = True
    bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def own_size(config: TrainConfig) -> Size:
    """Return what a configuration says itself, for a GPU that nobody foresaw."""
    return Size(config.optimiser.batch, config.optimiser.gradient_checkpointing)


def suggest_sizes(config: TrainConfig) -> tuple[Mapping[str, Size], list[str]]:
    """Return a division for each GPU by its name, and what a person should read.

    The examples of a step stay those of the configuration; gradient checkpointing, which changes
    no result, is switched on only where nothing fits without it.
    """
    from loragraft.training.sizes import find_sizes

    try:
        base = find_sizes(config.base)
        sizes = {gpu.name: _size(config, base, gpu) for gpu in GPUS}
    except InputError as error:
        return {}, [f"The batch stays {config.optimiser.batch} on every GPU: {error}"]
    notes = [
        f"By the estimate {config.base} does not fit on a {name}, even with one example at a "
        "time. Give --set quantization=nf4, or a smaller optimiser.max_length."
        for name, size in sizes.items() if not size.fits
    ]  # fmt: skip
    return sizes, notes


def _size(config: TrainConfig, base: BaseSizes, gpu: Machine) -> Size:
    """Return the largest batch that fits; the smallest of all where none does."""
    effective = config.optimiser.batch * config.optimiser.accumulation
    batches = [n for n in range(effective, 0, -1) if effective % n == 0]
    own = config.optimiser.gradient_checkpointing
    for checkpointing in dict.fromkeys((own, True)):
        for batch in batches:
            size = _estimate(config, base, gpu, batch, checkpointing=checkpointing)
            if size.fits:
                return size
    return size


def _estimate(
    config: TrainConfig, base: BaseSizes, gpu: Machine, batch: int, *, checkpointing: bool
) -> Size:
    from loragraft.training.plan import plan_memory, with_optimiser

    accumulation = config.optimiser.batch * config.optimiser.accumulation // batch
    divided = with_optimiser(
        config, batch=batch, accumulation=accumulation, gradient_checkpointing=checkpointing
    )
    total = plan_memory(divided, base, machine=gpu).now.total
    return Size(batch, checkpointing, total <= ROOM * gpu.memory, total)
