"""How many steps a run takes."""

from __future__ import annotations

import math

from loragraft.training.config import TrainConfig


def count_steps(config: TrainConfig, examples: int) -> int:
    """Return the optimiser's steps of a run over so many examples (or packed rows)."""
    settings = config.optimiser
    per_epoch = math.ceil(math.ceil(examples / settings.batch) / settings.accumulation)
    steps = math.ceil(settings.epochs * per_epoch)
    return steps if settings.max_steps is None else min(steps, settings.max_steps)


def count_warmup(config: TrainConfig, steps: int) -> int:
    """Return the steps in which the learning rate rises."""
    settings = config.optimiser
    if settings.warmup_steps is not None:
        return settings.warmup_steps
    return math.ceil(settings.warmup_share * steps)
