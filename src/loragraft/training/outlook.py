"""What is to be known of a run before it begins: memory, time, and where it fits."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loragraft.artifact.progress import Silent
from loragraft.checkpoint.resolve import existing_path
from loragraft.errors import InputError, UnavailableError
from loragraft.training.compute_request import Request, draft_request
from loragraft.training.config import TrainConfig
from loragraft.training.effort import Effort, cpu_seconds, processor_speed, run_effort
from loragraft.training.machine import Machine, this_machine
from loragraft.training.memory import GIVING_BACK
from loragraft.training.plan import OTHERS, Fit, MemoryPlan, Row, fit, plan_memory
from loragraft.training.sizes import find_sizes


@dataclass(frozen=True)
class Elsewhere:
    """A machine, and what the run takes there.

    Attributes:
        machine: This one, or another.
        plan: What the run takes as it is configured.
        fit: What to change so that it fits; None where nothing helps.
    """

    machine: Machine
    plan: MemoryPlan
    fit: Fit | None

    def to_json(self) -> dict[str, Any]:
        """Return what a program reads."""
        return {
            "name": self.machine.name,
            "memory": self.machine.memory,
            "fits": self.plan.fits,
            "total": self.plan.now.total,
            "ways": [way.to_json() for way in self.plan.ways],
            "changes_to_fit": None if self.fit is None else list(self.fit.changes),
        }


@dataclass(frozen=True)
class Outlook:
    """A run before it begins.

    Attributes:
        config: Of the run.
        plan: What it takes here.
        rows: What goes through the model; None where the data were not read.
        effort: What it computes.
        seconds: That it takes on this processor, roughly; None where a GPU is used.
        machines: This machine and others.
        giving_back: Bytes where freed blocks go back to the system at once; None where the run fits
            without, or it is of no use.
        notes: What a person should read.
    """

    config: TrainConfig
    plan: MemoryPlan
    rows: Sequence[Row] | None
    effort: Effort
    seconds: float | None
    machines: tuple[Elsewhere, ...]
    giving_back: int | None
    notes: tuple[str, ...]

    def request(self) -> Request | None:
        """Draft a request for a larger machine; None where a GPU is here that takes the run."""
        if self.plan.fits and self.plan.machine.device != "cpu":
            return None
        return draft_request(self.config, self.plan, self.effort, self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return what a program reads."""
        plan, batch = self.plan, self.plan.batch
        return {
            "experiment_id": self.config.experiment_id,
            "base": {"name": plan.sizes.name, "parameters": plan.sizes.parameters,
                     "source": plan.sizes.source},
            "trained_parameters": plan.trained,
            "precision": {"name": plan.precision.name, "why": plan.precision.why},
            "batch": {"rows": batch.rows, "length": batch.length, "logits": batch.logits,
                      "measured": plan.measured},
            "tokens": self.effort.tokens,
            "steps": self.effort.steps,
            "seconds_here": self.seconds,
            "memory": plan.now.to_json(),
            "machines": [one.to_json() for one in self.machines],
            "total_giving_back": self.giving_back,
            "notes": list(self.notes),
        }  # fmt: skip


def look_ahead(config: TrainConfig, base: str | None = None) -> Outlook:
    """Plan a run on this machine and on others. Of the base only headers are read.

    Args:
        config: Of the run.
        base: The base's folder, or another name of it.

    Raises:
        InputError: As :func:`loragraft.training.plan.plan_memory`.
    """
    name = base or config.base
    sizes = find_sizes(name)
    rows, notes = _read_rows(config, name)
    here = this_machine()
    plan = plan_memory(config, sizes, machine=here, rows=rows)
    lengths = [len(row.labels) for row in rows] if rows else None
    effort = run_effort(config, sizes, plan.batch, lengths)
    machines = tuple(
        Elsewhere(machine, plan_memory(config, sizes, machine=machine, rows=rows),
                  fit(config, sizes, machine=machine, rows=rows))
        for machine in (here, *OTHERS)
    )  # fmt: skip
    return Outlook(
        config, plan, rows, effort, _seconds(here, effort), machines,
        _giving_back(config, plan, rows), notes,
    )  # fmt: skip


def _seconds(machine: Machine, effort: Effort) -> float | None:
    if machine.device != "cpu" or importlib.util.find_spec("torch") is None:
        return None
    return cpu_seconds(effort, processor_speed())


def _giving_back(config: TrainConfig, plan: MemoryPlan, rows: Sequence[Row] | None) -> int | None:
    if plan.fits or plan.machine.device != "cpu":
        return None
    less = plan_memory(
        config, plan.sizes, machine=plan.machine, rows=rows, environment=GIVING_BACK
    ).now.total
    return less if less < plan.now.total else None


def _read_rows(config: TrainConfig, base: str) -> tuple[Sequence[Row] | None, tuple[str, ...]]:
    """Read the data where base and data are here; else say what is assumed."""
    folder = existing_path(base)
    if folder is None:
        return None, (
            f"{base} is no folder here: its sizes are those of the published base, and batches are "
            "taken to be full, a quarter of them answers.",
        )
    from loragraft.training.causal_lm import read_causal_data
    from loragraft.training.load import require_training

    try:
        require_training(config)
        return read_causal_data(config, folder, Silent()).rows, ()
    except (InputError, UnavailableError) as error:
        return None, (
            "The data were not read, so batches are taken to be full, a quarter of them answers. "
            f"{error}",
        )
