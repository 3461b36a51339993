"""``loragraft train plan``: the memory and the time of a run, before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loragraft.cli.paths import PATH

if TYPE_CHECKING:
    from loragraft.training.compute_request import Request
    from loragraft.training.config import TrainConfig
    from loragraft.training.effort import Effort
    from loragraft.training.machine import Machine
    from loragraft.training.plan import Fit, MemoryPlan

REQUESTS = Path("docs/compute_requests.md")


@click.command()
@click.argument("config", type=PATH, metavar="CONFIG")
@click.option("--base", help="The base's folder, or another name of it. [default: the CONFIG's]")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="Another value than the CONFIG's, as optimiser.batch=2; may be "
                   "repeated.")  # fmt: skip
@click.option("--request", "wanted", is_flag=True,
              help="Draft a request for a larger machine, where this one has no GPU that takes the "
                   "run.")  # fmt: skip
@click.option("--request-file", type=PATH, default=REQUESTS, show_default=True,
              help="File that requests are appended to.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def plan(
    config: Path,
    base: str | None,
    changes: tuple[str, ...],
    wanted: bool,
    request_file: Path,
    as_json: bool,
) -> None:
    """Estimate the memory and time of a run.

    Of the base only the headers are read; one that is not on the disk is planned by its name, if
    its sizes are known. The data are read where they are there.
    """
    from loragraft.cli.output import print_json, print_warnings
    from loragraft.training.overrides import configure

    settings = configure(config, changes, None)
    made = _make(settings, base)
    request = _request(settings, made) if wanted else None
    written = request is not None and _append(request, request_file)
    if as_json:
        print_json({**_json(settings, made), "request": _request_json(request, request_file)})
        return
    print_warnings(made.notes)
    _show(settings, made)
    if wanted:
        click.echo(_told(request, request_file, written))


@dataclass(frozen=True)
class _Made:
    """A plan, and what was found on the way."""

    plan: MemoryPlan
    rows: Sequence[Any] | None
    effort: Effort
    seconds: float | None
    elsewhere: tuple[tuple[Machine, MemoryPlan, Fit | None], ...]
    notes: tuple[str, ...]


def _make(config: TrainConfig, base: str | None) -> _Made:
    from loragraft.training.effort import cpu_seconds, processor_speed, run_effort
    from loragraft.training.machine import this_machine
    from loragraft.training.plan import OTHERS, fit, plan_memory
    from loragraft.training.sizes import find_sizes

    name = base or config.base
    sizes = find_sizes(name)
    rows, notes = _read_rows(config, name)
    machine = this_machine()
    made = plan_memory(config, sizes, machine=machine, rows=rows)
    lengths = None if rows is None else [len(row.labels) for row in rows]
    effort = run_effort(config, sizes, made.batch, lengths)
    seconds = None
    if machine.device == "cpu" and _has_torch():
        seconds = cpu_seconds(effort, processor_speed())
    elsewhere = tuple(
        (m, plan_memory(config, sizes, machine=m, rows=rows),
         fit(config, sizes, machine=m, rows=rows))
        for m in (machine, *OTHERS)
    )  # fmt: skip
    return _Made(made, rows, effort, seconds, elsewhere, notes)


def _has_torch() -> bool:
    import importlib.util

    return importlib.util.find_spec("torch") is not None


def _read_rows(config: TrainConfig, base: str) -> tuple[Sequence[Any] | None, tuple[str, ...]]:
    """Read the data where base and data are here; else say what is assumed."""
    from loragraft.artifact.progress import Silent
    from loragraft.checkpoint.resolve import existing_path
    from loragraft.errors import InputError, UnavailableError

    folder = existing_path(base)
    if folder is None:
        return None, (f"{base} is not on the disk: its sizes are those of the published base, and "
                      "batches are taken to be full, a quarter of them answers.",)  # fmt: skip
    from loragraft.training.causal_lm import read_causal_data
    from loragraft.training.load import require_training

    try:
        require_training(config)
        return read_causal_data(config, folder, Silent()).rows, ()
    except (InputError, UnavailableError) as error:
        return None, (f"The data were not read, so batches are taken to be full, a quarter of them "
                      f"answers. {error}",)  # fmt: skip


def _request(config: TrainConfig, made: _Made) -> Request | None:
    """Draft a request, unless a GPU is here that takes the run."""
    from loragraft.training.compute_request import draft_request

    if made.plan.fits and made.plan.machine.device != "cpu":
        return None
    return draft_request(config, made.plan, made.effort, made.rows)


def _append(request: Request, path: Path) -> bool:
    from loragraft.training.compute_request import append_request

    return append_request(request, path)


def _told(request: Request | None, path: Path, written: bool) -> str:
    if request is None:
        return "The run fits this machine's GPU: no request is needed."
    return f"{'Request written' if written else 'Unchanged, it stands there'}: {path}"


def _show(config: TrainConfig, made: _Made) -> None:
    from loragraft.artifact.space import format_bytes
    from loragraft.cli.output import print_table

    plan = made.plan
    print_table(f"{config.experiment_id}, planned", ["", ""], _facts(config, made))
    total = ("together", plan.now.total)
    parts = [pair for pair in (*plan.now.parts.items(), total) if pair[1]]
    rows = [[name, format_bytes(size)] for name, size in parts]
    print_table("Memory as configured", ["part", "bytes"], rows)
    names = [m.name for m, _, _ in made.elsewhere]
    print_table(
        "Memory otherwise (four bits: QLoRA)", ["base", "checkpointing", *names], _ways(made)
    )
    for machine, _, found in made.elsewhere:
        click.echo(_advice(machine, found))


def _facts(config: TrainConfig, made: _Made) -> list[list[str]]:
    from loragraft.artifact.space import format_bytes

    plan, batch, effort = made.plan, made.plan.batch, made.effort
    of = "" if plan.measured else ", assumed"
    facts = {
        "base": f"{plan.sizes.name}, {plan.sizes.parameters:,} parameters, from its "
                + ("files' headers" if plan.sizes.source == "files" else "published sizes"),
        "trained": f"{plan.trained:,} parameters",
        "precision": f"{plan.precision.name}. {plan.precision.why}",
        "largest batch": f"{batch.rows} x {batch.length:,} tokens, logits at {batch.logits:,}{of}",
        "tokens": f"{effort.tokens:,.0f}" + ("" if effort.steps else " for 1,000 of the longest "
                                             "examples in all epochs"),
        "steps": "" if effort.steps is None else f"{effort.steps:,}",
        "time here": "" if made.seconds is None else _time(made.seconds, known=bool(effort.steps)),
        "memory here": f"{format_bytes(plan.machine.memory)} available",
    }  # fmt: skip
    return [[name, value] for name, value in facts.items() if value]


def _time(seconds: float, *, known: bool) -> str:
    from loragraft.artifact.progress import format_seconds

    span = f"{format_seconds(seconds / 2)} to {format_seconds(seconds * 2)}"
    span += "" if known else " for these"
    return f"{span}, by the speed of one product; a run measures it before it begins"


def _ways(made: _Made) -> list[list[str]]:
    from loragraft.artifact.space import format_bytes
    from loragraft.training.memory import fits

    rows = []
    for number, way in enumerate(made.plan.ways):
        cells = [
            f"{format_bytes(p.ways[number].total)}{'' if fits(p.ways[number], m) else ', too much'}"
            for m, p, _ in made.elsewhere
        ]
        base = "four bits (nf4)" if way.quantization == "nf4" else "whole"
        rows.append([base, "yes" if way.checkpointing else "no", *cells])
    return rows


def _advice(machine: Machine, found: Fit | None) -> str:
    """Say what to change first for a machine."""
    name = machine.name[:1].upper() + machine.name[1:]
    if found is None:
        return f"{name}: too small whatever is changed. Take a smaller base."
    if not found.changes:
        return f"{name}: fits as configured."
    return f"{name}: fits with " + " ".join(f"--set {change}" for change in found.changes)


def _json(config: TrainConfig, made: _Made) -> dict[str, Any]:
    plan, batch = made.plan, made.plan.batch
    return {
        "experiment_id": config.experiment_id,
        "base": {"name": plan.sizes.name, "parameters": plan.sizes.parameters,
                 "source": plan.sizes.source},
        "trained_parameters": plan.trained,
        "precision": {"name": plan.precision.name, "why": plan.precision.why},
        "batch": {"rows": batch.rows, "length": batch.length, "logits": batch.logits,
                  "measured": plan.measured},
        "tokens": made.effort.tokens,
        "steps": made.effort.steps,
        "seconds_here": made.seconds,
        "memory": plan.now.to_json(),
        "machines": [_machine_json(*one) for one in made.elsewhere],
        "notes": list(made.notes),
    }  # fmt: skip


def _machine_json(machine: Machine, plan: MemoryPlan, found: Fit | None) -> dict[str, Any]:
    return {
        "name": machine.name,
        "memory": machine.memory,
        "fits": plan.fits,
        "total": plan.now.total,
        "ways": [way.to_json() for way in plan.ways],
        "changes_to_fit": None if found is None else list(found.changes),
    }


def _request_json(request: Request | None, path: Path) -> dict[str, Any] | None:
    if request is None:
        return None
    return {"file": str(path), "gpu": request.gpu, "gpu_hours": request.hours,
            "text": request.text}  # fmt: skip
