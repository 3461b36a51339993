"""``loragraft train plan``: the memory and the time of a run, before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loragraft.cli.paths import PATH

if TYPE_CHECKING:
    from loragraft.training.compute_request import Request
    from loragraft.training.outlook import Elsewhere, Outlook

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
    from loragraft.training.compute_request import append_request
    from loragraft.training.outlook import look_ahead
    from loragraft.training.overrides import configure

    found = look_ahead(configure(config, changes), base)
    request = found.request() if wanted else None
    written = request is not None and append_request(request, request_file)
    if as_json:
        told = None if request is None else _request_json(request, request_file, written)
        print_json({**found.to_json(), "request": told})
        return
    print_warnings(found.notes)
    _show(found)
    if wanted:
        click.echo(_told(request, request_file, written))


def _told(request: Request | None, path: Path, written: bool) -> str:
    if request is None:
        return "The run fits this machine's GPU: no request is needed."
    return f"{'Request written' if written else 'Unchanged, it stands there'}: {path}"


def _request_json(request: Request, path: Path, written: bool) -> dict[str, Any]:
    return {
        "file": str(path),
        "written": written,
        "gpu": request.gpu,
        "gpu_hours": request.hours,
        "text": request.text,
    }


def _show(found: Outlook) -> None:
    from loragraft.artifact.space import format_bytes
    from loragraft.cli.output import print_table

    now = found.plan.now
    print_table(f"{found.config.experiment_id}, planned", ["", ""], _facts(found))
    parts = [pair for pair in (*now.parts.items(), ("together", now.total)) if pair[1]]
    print_table("Memory as configured", ["part", "bytes"],
                [[name, format_bytes(size)] for name, size in parts])  # fmt: skip
    names = [one.machine.name for one in found.machines]
    title = "Memory otherwise (four bits: QLoRA)"
    print_table(title, ["base", "checkpointing", *names], _ways(found))
    for one in found.machines:
        click.echo(_advice(one))
    if found.giving_back is not None:
        click.echo(_giving_back(found.giving_back))


def _facts(found: Outlook) -> list[list[str]]:
    from loragraft.artifact.space import format_bytes

    plan, batch, effort = found.plan, found.plan.batch, found.effort
    source = "its files' headers" if plan.sizes.source == "files" else "published sizes"
    assumed = "" if plan.measured else ", assumed"
    of = "" if effort.steps is not None else " for 1,000 of the longest examples in all epochs"
    facts = {
        "base": f"{plan.sizes.name}, {plan.sizes.parameters:,} parameters, from {source}",
        "trained": f"{plan.trained:,} parameters",
        "precision": f"{plan.precision.name}. {plan.precision.why}",
        "largest batch": f"{batch.rows:,} x {batch.length:,} tokens, logits at "
                         f"{batch.logits:,}{assumed}",
        "tokens": f"{effort.tokens:,.0f}{of}",
        "steps": "" if effort.steps is None else f"{effort.steps:,}",
        "time here": _time(found),
        "memory here": f"{format_bytes(plan.machine.memory)} available",
    }  # fmt: skip
    return [[name, value] for name, value in facts.items() if value]


def _time(found: Outlook) -> str:
    from loragraft.artifact.progress import format_seconds

    if found.seconds is None:
        return ""
    span = f"{format_seconds(found.seconds / 2)} to {format_seconds(found.seconds * 2)}"
    span += "" if found.effort.steps is not None else " for these"
    return f"{span}, by the speed of one product; a run measures it before it begins"


def _ways(found: Outlook) -> list[list[str]]:
    from loragraft.artifact.space import format_bytes
    from loragraft.training.memory import fits

    rows = []
    for number, way in enumerate(found.plan.ways):
        totals = [(one.plan.ways[number], one.machine) for one in found.machines]
        cells = [f"{format_bytes(memory.total)}{'' if fits(memory, machine) else ', too much'}"
                 for memory, machine in totals]  # fmt: skip
        base = "four bits (nf4)" if way.quantization == "nf4" else "whole"
        rows.append([base, "yes" if way.checkpointing else "no", *cells])
    return rows


def _advice(one: Elsewhere) -> str:
    """Say what to change first for a machine."""
    name = one.machine.name[:1].upper() + one.machine.name[1:]
    if one.fit is None:
        return f"{name}: too small whatever is changed. Take a smaller base."
    if not one.fit.changes:
        return f"{name}: fits as configured."
    return f"{name}: fits with " + " ".join(f"--set {change}" for change in one.fit.changes)


def _giving_back(total: int) -> str:
    from loragraft.artifact.space import format_bytes
    from loragraft.training.memory import GIVING_BACK

    name, value = next(iter(GIVING_BACK.items()))
    return (
        f"With {name}={value} in the environment it takes {format_bytes(total)} here: freed blocks "
        "go back to the system at once, and steps take about a third longer."
    )
