"""What a run takes on this machine and on others, and what to change where it does not fit."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from loragraft.errors import UnsupportedError
from loragraft.training.activations import Batch
from loragraft.training.config import TrainConfig
from loragraft.training.machine import P100, T4, Machine
from loragraft.training.memory import Memory, adapter_parameters, estimate_memory, fits
from loragraft.training.precision import Precision, choose_precision
from loragraft.training.sizes import BaseSizes, find_sizes
from loragraft.training.targets import choose_targets

LEARNT_SHARE = 0.25
"""Share of an example's tokens that are an answer, where no data were read: the example collection
has half closed-book (60 % answer) and half with passages (10 %)."""
DRAWN_BATCHES = 200
"""Random batches among which the largest stands for the run's largest."""
SHORTEST = 256
"""Tokens below which no shorter examples are proposed."""
LARGEST_BATCH = 1024
"""Examples beyond which no smaller batch is proposed: a batch of millions is a slip of the pen."""
OTHERS = (T4, P100)
WAYS: tuple[tuple[str, bool], ...] = (
    ("none", False), ("none", True), ("nf4", False), ("nf4", True)
)  # fmt: skip
"""Quantization and gradient checkpointing."""


class Row(Protocol):
    """An example, or several packed together."""

    @property
    def labels(self) -> tuple[int, ...]:
        """Return a label for each token, negative where nothing is learnt."""


@dataclass(frozen=True)
class MemoryPlan:
    """What a run takes, as it is configured and otherwise.

    Attributes:
        sizes: Of the base.
        batch: The largest that goes through the model at once.
        trained: Numbers of the adapter.
        precision: What is computed in.
        now: As it is configured.
        ways: With and without four bits, with and without gradient checkpointing.
        machine: Where it is to run.
        measured: Whether the batch is that of the data; else an assumption.
    """

    sizes: BaseSizes
    batch: Batch
    trained: int
    precision: Precision
    now: Memory
    ways: tuple[Memory, ...]
    machine: Machine
    measured: bool

    @property
    def fits(self) -> bool:
        """Whether it fits the machine."""
        return fits(self.now, self.machine)


@dataclass(frozen=True)
class Fit:
    """A configuration that fits, and what was changed for it.

    Attributes:
        config: Of the run.
        changes: Keys with their new values, as ``--set`` takes them.
        plan: What it takes.
    """

    config: TrainConfig
    changes: tuple[str, ...]
    plan: MemoryPlan


def plan_memory(
    config: TrainConfig,
    base: Path | str | BaseSizes,
    *,
    machine: Machine,
    rows: Sequence[Row] | None = None,
    environment: Mapping[str, str] | None = None,
) -> MemoryPlan:
    """Estimate what a run takes; nothing is loaded.

    Args:
        config: Of the run.
        base: Its folder, its name, or its sizes.
        machine: Where it is to run.
        rows: What goes through the model, where the data were read.
        environment: Variables that the C library reads; None is this process's.

    Raises:
        InputError: If the base is neither here nor known, or lacks a module that is adapted.
        CheckpointError: If it is broken.
        UnsupportedError: If it is quantized, or the task's memory is not known.
    """
    if config.task != "causal-lm":
        raise UnsupportedError(
            f"The memory of task {config.task} is not estimated: encoders are small. loragraft "
            "train run CONFIG --dry-run loads the model and measures its time."
        )
    sizes = base if isinstance(base, BaseSizes) else find_sizes(base)
    targets = choose_targets(config.lora, tuple(sizes.linear), sizes.name)
    precision = choose_precision(config, machine)
    batch = largest_batch(config, rows)

    def estimate(one: TrainConfig) -> Memory:
        return estimate_memory(one, sizes, targets, batch, precision, environment)

    return MemoryPlan(
        sizes, batch, adapter_parameters(sizes, config.lora, targets), precision, estimate(config),
        tuple(estimate(with_way(config, *way)) for way in WAYS), machine, bool(rows),
    )  # fmt: skip


def with_way(config: TrainConfig, quantization: str, checkpointing: bool) -> TrainConfig:
    """Return a configuration with another quantization and checkpointing."""
    return with_optimiser(config, gradient_checkpointing=checkpointing).model_copy(
        update={"quantization": quantization}
    )


def with_optimiser(config: TrainConfig, **changes: Any) -> TrainConfig:  # noqa: ANN401
    """Return a configuration with other settings of the optimiser."""
    optimiser = config.optimiser.model_copy(update=changes)
    return config.model_copy(update={"optimiser": optimiser})


def largest_batch(config: TrainConfig, rows: Sequence[Row] | None) -> Batch:
    """Return the largest batch of the data, or of the longest examples where there are none."""
    settings = config.optimiser
    if not rows:
        learnt = max(1, round(settings.max_length * LEARNT_SHARE))
        union = min(settings.max_length, learnt * settings.batch)
        return Batch(settings.batch, settings.max_length, union)
    cut = [row.labels[-settings.max_length :] for row in rows]
    drawn = random.Random(config.seed)
    size = min(settings.batch, len(cut))
    batches = [sorted(cut, key=len)[-size:]]
    batches += [drawn.sample(cut, size) for _ in range(DRAWN_BATCHES if len(cut) > size else 0)]
    length = max(len(row) for row in cut)
    return Batch(size, length, max(_learnt(batch) for batch in batches))


def _learnt(labels: Sequence[Sequence[int]]) -> int:
    """Return the positions at which any row of a batch learns."""
    places = {at for row in labels for at, label in enumerate(row) if label >= 0}
    return len(places)


def fit(
    config: TrainConfig,
    base: Path | str | BaseSizes,
    *,
    machine: Machine,
    rows: Sequence[Row] | None = None,
) -> Fit | None:
    """Return the configuration, changed as little as needed to fit a machine; None if nothing does.

    What costs least comes first: a smaller batch with more accumulation, so that the effective
    batch stays; computing activations twice; four bits; shorter examples.

    Raises:
        InputError: As :func:`plan_memory`.
    """
    sizes = base if isinstance(base, BaseSizes) else find_sizes(base)
    for changes, changed in _changes(config):
        plan = plan_memory(changed, sizes, machine=machine, rows=rows)
        if plan.fits:
            return Fit(changed, changes, plan)
    return None


def _changes(config: TrainConfig) -> Iterator[tuple[tuple[str, ...], TrainConfig]]:
    for lengths in _lengths(config):
        for quantization in dict.fromkeys((config.quantization, "nf4")):
            for checkpointing in dict.fromkeys((config.optimiser.gradient_checkpointing, True)):
                for batch, accumulation in _batches(config):
                    changed = with_optimiser(
                        with_way(config, quantization, checkpointing),
                        batch=batch, accumulation=accumulation, max_length=lengths,
                    )  # fmt: skip
                    yield _told(config, changed), changed


def _batches(config: TrainConfig) -> Iterator[tuple[int, int]]:
    """Yield batch and accumulation of the same product, the batch falling."""
    batch, whole = config.optimiser.batch, config.optimiser.batch * config.optimiser.accumulation
    yield batch, config.optimiser.accumulation
    smaller = range(min(batch - 1, LARGEST_BATCH), 0, -1)
    yield from ((size, whole // size) for size in smaller if whole % size == 0)


def _lengths(config: TrainConfig) -> Iterator[int]:
    length = config.optimiser.max_length
    yield length
    while length // 2 >= SHORTEST:
        length //= 2
        yield length


def _told(config: TrainConfig, changed: TrainConfig) -> tuple[str, ...]:
    """Return what differs, as ``--set`` takes it."""
    keys = ("batch", "accumulation", "gradient_checkpointing", "max_length")
    pairs = [(k, getattr(changed.optimiser, k)) for k in keys
             if getattr(changed.optimiser, k) != getattr(config.optimiser, k)]  # fmt: skip
    told = [f"optimiser.{key}={str(value).lower()}" for key, value in pairs]
    if changed.quantization != config.quantization:
        told.append(f"quantization={changed.quantization}")
    return tuple(told)
