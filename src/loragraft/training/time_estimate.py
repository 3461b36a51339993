"""How long a run takes: a few of its batches are measured before it begins."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from loragraft.artifact.progress import format_seconds
from loragraft.errors import OutOfMemoryError
from loragraft.training.config import TrainConfig
from loragraft.training.job import Batch, Job
from loragraft.training.precision import Precision
from loragraft.training.steps import count_steps

DRAWN = 100
"""Batches whose sizes stand for those of all."""
REPEATS = 2
"""Times that each of three batches is measured."""
SLACK = (0.85, 1.3)
"""Around the measured time: other programs, checkpoints, sample answers."""
_TOO_LITTLE = ("out of memory", "can't allocate memory", "not enough memory")


@dataclass(frozen=True)
class TimeEstimate:
    """How long the rest of a run takes.

    Attributes:
        low: Seconds, where all goes well.
        high: Seconds that it should not exceed.
        step: Seconds of an optimiser's step.
        evaluation: Seconds of an evaluation.
        tokens: A second, padding left out.
    """

    low: float
    high: float
    step: float
    evaluation: float
    tokens: float

    @property
    def words(self) -> str:
        """Return it as a sentence."""
        low, high = format_seconds(self.low), format_seconds(self.high)
        span = low if low == high else f"{low} to {high}"
        return (
            f"Training takes about {span}: {self.step:.2g} s a step, {self.evaluation:.2g} s an "
            f"evaluation, {self.tokens:,.0f} tokens a second."
        )


@dataclass(frozen=True)
class _Line:
    """Seconds of a batch by its size."""

    fixed: float
    each: float

    def of(self, size: float) -> float:
        return self.fixed + self.each * size


def estimate_time(
    config: TrainConfig, job: Job, precision: Precision, done: int = 0
) -> TimeEstimate:
    """Measure a small, a middling and the largest of some batches, and tell how long all take.

    Nothing is changed: gradients are thrown away, and random numbers are drawn as if nothing had
    been.

    Args:
        config: Of the run.
        job: What is trained.
        precision: What it is computed in.
        done: Steps that are over.

    Raises:
        OutOfMemoryError: If the largest of these batches does not fit.
    """
    steps = count_steps(config, len(job.train))
    chosen = _draw(job, config)
    with _untouched(job):
        batches = [(_size(job, b), b) for b in (job.collate([job.train[i] for i in c])
                                                for c in chosen)]  # fmt: skip
        ordered = sorted(batches, key=lambda pair: pair[0])
        tried = [ordered[0], ordered[len(ordered) // 2], ordered[-1]]
        line = _measure(job, precision, tried)
        evaluation = _evaluation(config, job, precision)
    micro = sum(line.of(size) for size, _ in batches) / len(batches)
    tokens = sum(job.tokens(batch) for _, batch in batches) / len(batches)
    per_epoch = math.ceil(len(job.train) / config.optimiser.batch)
    step = micro * per_epoch / math.ceil(per_epoch / config.optimiser.accumulation)
    left = max(0, steps - done)
    whole = left * step + evaluation * _evaluations(config, job, steps, done)
    return TimeEstimate(
        whole * SLACK[0], whole * SLACK[1], step, evaluation, tokens / max(micro, 1e-9)
    )


def _draw(job: Job, config: TrainConfig) -> list[list[int]]:
    """Return the indices of some batches of an epoch."""
    drawn = random.Random(config.seed)
    order = list(range(len(job.train)))
    drawn.shuffle(order)
    size = config.optimiser.batch
    return [order[at : at + size] for at in range(0, len(order), size)][:DRAWN]


def _size(job: Job, batch: Batch) -> int:
    """Return the tokens of a batch, padding counted where it is plain to see."""
    ids = batch.get("input_ids") if hasattr(batch, "get") else None
    return int(ids.numel()) if ids is not None else job.tokens(batch)


def _measure(job: Job, precision: Precision, batches: Sequence[tuple[int, Batch]]) -> _Line:
    """Return the line through the measured times of batches, the largest last."""
    _train_once(job, precision, batches[0][1])  # the first call of anything is slow
    points = [
        (size, min(_train_once(job, precision, batch) for _ in range(REPEATS)))
        for size, batch in batches
    ]
    return _fit(points)


def _fit(points: Sequence[tuple[int, float]]) -> _Line:
    """Return the line of least squares, through the origin if it would begin below it."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    if slope <= 0:
        return _Line(mean_y, 0.0)
    fixed = mean_y - slope * mean_x
    return _Line(fixed, slope) if fixed >= 0 else _Line(0.0, mean_y / mean_x)


def _train_once(job: Job, precision: Precision, batch: Batch) -> float:
    """Return the seconds of one batch there and back.

    Raises:
        OutOfMemoryError: If it does not fit.
    """
    begun = time.perf_counter()
    with explain_memory():
        with _computing_in(precision):
            loss = job.loss(job.model, _moved(batch, precision))
        loss.backward()
        _wait(precision)
    job.model.zero_grad(set_to_none=True)
    return time.perf_counter() - begun


def _evaluation(config: TrainConfig, job: Job, precision: Precision) -> float:
    """Return the seconds of an evaluation, by one of its batches and one sample."""
    import torch

    if not job.validation:
        return 0.0
    size = config.optimiser.batch
    starts = range(0, len(job.validation), size)
    middle = starts[len(starts) // 2]
    batch = job.collate(job.validation[middle : middle + size])
    job.model.eval()
    with torch.no_grad():
        begun = time.perf_counter()
        job.loss(job.model, _moved(batch, precision))
        _wait(precision)
        whole = (time.perf_counter() - begun) * len(starts)
        begun = time.perf_counter()
        if config.evaluation.samples and job.answer(0) is not None:
            whole += (time.perf_counter() - begun) * config.evaluation.samples
    return whole


def _evaluations(config: TrainConfig, job: Job, steps: int, done: int) -> int:
    """Return how many evaluations are to come, one before the first step among them."""
    if not job.validation:
        return 0
    per_epoch = max(1, round(steps / config.optimiser.epochs))
    every = config.evaluation.every or per_epoch
    return math.ceil((steps - done) / every) + (done == 0)


@contextmanager
def _untouched(job: Job) -> Iterator[None]:
    """Leave the model's mode and gradients, and torch's random numbers, as they were."""
    import torch

    trains = job.model.training
    job.model.train()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        job.model.zero_grad(set_to_none=True)
        job.model.train(trains)


@contextmanager
def _computing_in(precision: Precision) -> Iterator[None]:
    import torch

    if precision.name == "float32":
        yield
        return
    with torch.autocast(precision.device, dtype=precision.dtype):
        yield


@contextmanager
def explain_memory() -> Iterator[None]:
    """Say what to change where a batch does not fit into the memory.

    Raises:
        OutOfMemoryError: In place of torch's.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        said = str(error).lower()
        if isinstance(error, RuntimeError) and not any(words in said for words in _TOO_LITTLE):
            raise
        raise OutOfMemoryError(
            "The largest batches do not fit into the memory. loragraft train plan CONFIG says "
            "what would: a smaller optimiser.batch with more accumulation, gradient checkpointing, "
            "nf4, or a smaller max_length."
        ) from error


def _moved(batch: Batch, precision: Precision) -> Batch:
    """Return a batch on the device."""
    if hasattr(batch, "to"):
        return batch.to(precision.device)
    if isinstance(batch, dict):
        return {name: _moved(value, precision) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(_moved(value, precision) for value in batch)
    return batch


def _wait(precision: Precision) -> None:
    """Wait for a GPU, which computes while Python goes on."""
    import torch

    if precision.device == "cuda":
        torch.cuda.synchronize()
    elif precision.device == "mps":
        torch.mps.synchronize()
