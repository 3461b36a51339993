"""How much there is to compute, and how long it takes by what a device can do."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from loragraft.training.activations import Batch
from loragraft.training.config import TrainConfig
from loragraft.training.machine import P100, T4, Machine
from loragraft.training.sizes import BaseSizes
from loragraft.training.steps import count_steps

_GIB = 1 << 30
TERA = 1e12
GPU_SHARE = 0.3
"""Of what a GPU's data sheet promises, what training reaches; an assumption, not measured here:
published runs of this kind lie between a fifth and a half."""
CPU_SHARE = 0.5
"""Of the speed of one large product, what training reaches: 0.58 measured on SmolLM2-135M by the
processor's time, 0.3 over the example's whole run on two busy cores, evaluations among it."""
PRODUCT_SIDE = 768
PRODUCT_SECONDS = 0.2
"""What the speed of a processor is measured by: a product of square matrices, for so long."""


@dataclass(frozen=True)
class Gpu:
    """A GPU that may be asked for.

    Attributes:
        machine: Its name and memory.
        teraflops: Dense products in 16 bits a second, by its maker's data sheet.
    """

    machine: Machine
    teraflops: float


GPUS = (
    Gpu(T4, 65),
    Gpu(P100, 18.7),
    Gpu(Machine("L4", "cuda", True, int(22.5 * _GIB)), 121),
    Gpu(Machine("A100 40 GB", "cuda", True, int(39.4 * _GIB)), 312),
    Gpu(Machine("A100 80 GB", "cuda", True, int(79.2 * _GIB)), 312),
    Gpu(Machine("H100 80 GB", "cuda", True, int(79.6 * _GIB)), 989),
)
"""The smallest first."""


@dataclass(frozen=True)
class Effort:
    """What a run computes.

    Attributes:
        tokens: That go through the model in all epochs.
        operations: Multiplications and additions of the training.
        steps: Of the optimiser; None where no data were read.
    """

    tokens: float
    operations: float
    steps: int | None


def run_effort(
    config: TrainConfig, sizes: BaseSizes, batch: Batch, lengths: Sequence[int] | None
) -> Effort:
    """Return what a run computes, evaluations left out.

    Args:
        config: Of the run.
        sizes: Of the base.
        batch: The largest, for its share of logits.
        lengths: Tokens of each example or packed row; None takes 1,000 of the greatest length.
    """
    settings = config.optimiser
    known = lengths if lengths is not None else [settings.max_length] * 1000
    epochs = settings.epochs
    steps = count_steps(config, len(known))
    if settings.max_steps is not None and known:
        epochs = min(epochs, steps * settings.batch * settings.accumulation / len(known))
    tokens = sum(known) * epochs
    positions = tokens * batch.logits / max(1, batch.tokens)
    passes = 3 if settings.gradient_checkpointing else 2  # forward, back, forward again
    operations = 2.0 * passes * tokens * sizes.linear_parameters
    operations += 4.0 * positions * sizes.hidden * sizes.vocabulary
    return Effort(tokens, operations, steps if lengths is not None else None)


def gpu_hours(effort: Effort, gpu: Gpu) -> float:
    """Return the hours of a GPU that a run takes, roughly."""
    return effort.operations / (gpu.teraflops * TERA * GPU_SHARE) / 3600


def cpu_seconds(effort: Effort, speed: float) -> float:
    """Return the seconds of this processor that a run takes, roughly.

    Args:
        effort: Of the run.
        speed: Of :func:`processor_speed`.
    """
    return effort.operations / (speed * CPU_SHARE)


def processor_speed() -> float:
    """Measure the operations a second of a large product in float32, on torch's threads.

    The fastest of several counts: other programs only ever slow one down.
    """
    import torch

    left = torch.ones(PRODUCT_SIDE, PRODUCT_SIDE)
    left @ left
    fastest, begun = math.inf, time.perf_counter()
    while fastest == math.inf or time.perf_counter() - begun < PRODUCT_SECONDS:
        before = time.perf_counter()
        left @ left
        fastest = min(fastest, time.perf_counter() - before)
    return 2.0 * PRODUCT_SIDE**3 / fastest
