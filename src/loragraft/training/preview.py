"""What a run would learn, told before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.artifact.progress import Progress, Silent
from loragraft.training.config import TrainConfig
from loragraft.training.job import Job, build_job
from loragraft.training.machine import Machine, this_machine
from loragraft.training.memory import Memory
from loragraft.training.plan import plan_memory
from loragraft.training.precision import choose_precision
from loragraft.training.steps import count_steps, count_warmup
from loragraft.training.time_estimate import TimeEstimate, estimate_time

if TYPE_CHECKING:
    from loragraft.training.causal_lm import CausalData
    from loragraft.training.encoding import Example

SHOWN = 3
"""Examples that are shown in words."""


@dataclass(frozen=True)
class Shown:
    """An example in words.

    Attributes:
        id: The record's.
        mode: How it is asked.
        tokens: Of the whole.
        parts: Its text in pieces, each with whether it is learnt.
    """

    id: str
    mode: str
    tokens: int
    parts: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Preview:
    """What a run would be.

    Attributes:
        facts: Of the data, as the metadata would have them.
        steps: Of the optimiser.
        warmup: Of these, until the learning rate is reached.
        shown: Examples.
        notes: What a person should read.
        time: How long it would take here.
        memory: What it would take, part by part; None where that is not known of a task.
        available: Bytes that this machine has for it.
    """

    facts: Mapping[str, Any]
    steps: int
    warmup: int
    shown: tuple[Shown, ...]
    notes: tuple[str, ...]
    time: TimeEstimate
    memory: Memory | None
    available: int


def preview(config: TrainConfig, base: Path, progress: Progress | None = None) -> Preview:
    """Read the data and load the model as a run would, and measure; nothing is written.

    Args:
        config: Of the run.
        base: The base's folder.
        progress: Who wants to know how far it is.

    Raises:
        InputError: If data, base and configuration do not fit each other.
        OutOfMemoryError: If a batch does not fit into the memory.
    """
    progress = progress or Silent()
    machine = this_machine()
    if config.task != "causal-lm":
        job = build_job(config, base, progress)
        return _preview(config, job, (), None, machine, progress)
    from loragraft.training.causal_lm import build_causal_lm, read_causal_data

    data = read_causal_data(config, base, progress)
    memory = plan_memory(config, base, machine=machine, rows=data.rows).now
    job = build_causal_lm(config, base, progress, read=lambda *_: data)
    return _preview(config, job, _shown(data), memory, machine, progress)


def _preview(
    config: TrainConfig,
    job: Job,
    shown: tuple[Shown, ...],
    memory: Memory | None,
    machine: Machine,
    progress: Progress,
) -> Preview:
    progress.begin("Measuring some batches", 0)
    precision = choose_precision(config, machine)
    if config.quantization == "none":  # four bits are where they were unpacked to
        job.model.to(precision.device)
    time = estimate_time(config, job, precision)
    progress.end()
    steps = count_steps(config, len(job.train))
    warmup = count_warmup(config, steps)
    return Preview(job.facts, steps, warmup, shown, job.notes, time, memory, machine.memory)


def _shown(data: CausalData) -> tuple[Shown, ...]:
    """Return examples of each mode, the middle one by length first."""
    chosen: dict[str, list[Example]] = {}
    for example in sorted(data.train.examples, key=lambda one: len(one.ids)):
        chosen.setdefault(data.train.conversation(example).mode, []).append(example)
    middles = [(mode, examples[len(examples) // 2]) for mode, examples in chosen.items()]
    return tuple(
        Shown(one.id, mode, len(one.ids), parts_of(data.tokenizer, one.ids, one.labels))
        for mode, one in middles[:SHOWN]
    )


def parts_of(
    tokenizer: Any,  # noqa: ANN401
    ids: Sequence[int],
    labels: Sequence[int],
) -> tuple[tuple[str, bool], ...]:
    """Return an example's text in pieces, each with whether it is learnt."""
    borders = [at for at in range(1, len(ids)) if (labels[at] < 0) != (labels[at - 1] < 0)]
    pieces = zip([0, *borders], [*borders, len(ids)], strict=True)
    return tuple((tokenizer.decode(list(ids[a:b])), labels[a] >= 0) for a, b in pieces if a < b)
