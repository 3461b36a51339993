"""``loragraft experiment run``: a series to its end, from wherever it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loragraft.cli.paths import PATH

if TYPE_CHECKING:
    from loragraft.experiment.config import SeriesConfig
    from loragraft.experiment.dry_run import ArmPlan
    from loragraft.experiment.foresight import Foresight
    from loragraft.experiment.run import RunRequest, SeriesOutcome

FAILED = 1
"""Exit code where an experiment failed or was stopped."""


@click.command()
@click.argument("config", type=PATH, metavar="CONFIG")
@click.option("--only", multiple=True, metavar="ID",
              help="This experiment alone, by its id or an alias; may be repeated.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), metavar="N",
              help="Ask so many questions, chosen by the seed.")  # fmt: skip
@click.option("--base", metavar="FOLDER",
              help="Checkpoint of the experiments on transformers, where the CONFIG's is "
                   "elsewhere.")  # fmt: skip
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="Another value than the CONFIG's, as sampling.max_tokens=64; may be "
                   "repeated.")  # fmt: skip
@click.option("--restart", is_flag=True, help="Move what is there aside and ask everything anew.")
@click.option("--retry", is_flag=True, help="Ask once more also what failed twice.")
@click.option("--dry-run", is_flag=True,
              help="Tell questions, prompts, tokens, time and cost; ask nothing.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.pass_context
def run(
    ctx: click.Context,
    config: Path,
    only: tuple[str, ...],
    limit: int | None,
    base: str | None,
    changes: tuple[str, ...],
    restart: bool,
    retry: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run the experiments of CONFIG on the same questions, and measure the answers.

    What is complete is left as it is; what was interrupted goes on. An experiment that fails does
    not stop the others. Exits with 1 if one failed or was stopped because its answers are
    degenerate.
    """
    from loragraft.cli.progress import watched
    from loragraft.experiment.config import load_series
    from loragraft.experiment.run import RunRequest, run_series

    series = load_series(config, changes)
    request = RunRequest(only, limit, restart, retry, base, config)
    with watched(lambda: "Every answer that was given is kept") as progress:
        if dry_run:
            from loragraft.experiment.dry_run import plan_series
            from loragraft.experiment.foresight import foresee
            from loragraft.experiment.run import configured

            plans = plan_series(series, request, progress)
            foresight = foresee(configured(series, request))
        else:
            outcome = run_series(series, request, progress)
    if dry_run:
        _show_plans(series, plans, foresight, as_json=as_json)
        return
    _show(outcome, request, as_json=as_json)
    if outcome.failed:
        ctx.exit(FAILED)


def outcome_json(outcome: SeriesOutcome) -> dict[str, Any]:
    """Return an outcome as JSON values."""
    from dataclasses import asdict

    return {
        "series": outcome.config.series,
        "failed": outcome.failed,
        "experiments": [asdict(arm) for arm in outcome.arms],
        "judged": [dict(pair) for pair in outcome.judged],
        "unjudged": outcome.unjudged,
    }


def _show(outcome: SeriesOutcome, request: RunRequest, *, as_json: bool) -> None:
    from loragraft.artifact.progress import format_seconds
    from loragraft.chat.cleaning import clean
    from loragraft.cli.output import print_json, print_table, print_warnings

    if as_json:
        print_json(outcome_json(outcome))
        return
    rows = [
        [arm.name, arm.state, str(arm.total or ""), _counts(arm.counts),
         format_seconds(arm.seconds) if arm.state == "done" else ""]
        for arm in outcome.arms
    ]  # fmt: skip
    print_table(f"Series {outcome.config.series}",
                ["experiment", "state", "answers", "of them", "time"], rows)  # fmt: skip
    for arm in outcome.arms:
        print_warnings([f"{arm.name}: {text}" for text in (arm.message, *arm.notes) if text])
    print_warnings([outcome.unjudged] if outcome.unjudged else [])
    folder = outcome.config.outputs / outcome.config.series
    click.echo(clean(f"Results: {folder}"))
    click.echo(clean(f"All figures: loragraft experiment report {request.path}"))


def _counts(counts: Any) -> str:  # noqa: ANN401
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def _show_plans(
    config: SeriesConfig, plans: list[ArmPlan], foresight: Foresight | None, *, as_json: bool
) -> None:
    from dataclasses import asdict

    from loragraft.chat.cleaning import clean
    from loragraft.cli.output import print_json, print_table, print_warnings

    if as_json:
        power = None if foresight is None else asdict(foresight)
        experiments = [asdict(plan) for plan in plans]
        print_json({"series": config.series, "experiments": experiments, "power": power})
        return
    print_table(f"Series {config.series}, dry run", _PLAN_COLUMNS, [_row(plan) for plan in plans])
    for plan in plans:
        _show_prompts(plan)
        faults = plan.faults or {}
        print_warnings([f"{plan.name}, {key}: {fault}" for key, fault in faults.items()])
        print_warnings([f"{plan.name}: {plan.left_out}"] if plan.left_out else [])
        print_warnings([f"{plan.name}: {plan.lacking}"] if plan.lacking else [])
        print_warnings([f"{plan.name}: the time rests on {plan.rests_on}."]
                       if plan.rests_on else [])  # fmt: skip
    for line in () if foresight is None else foresight.lines:
        click.echo(clean(line))
    click.echo("Nothing was asked.")


_PLAN_COLUMNS = ("experiment", "model", "answers to get", "prompt tokens", "answer tokens",
                 "time", "cost")  # fmt: skip


def _row(plan: ArmPlan) -> list[str]:
    from loragraft.artifact.progress import format_seconds

    if plan.left_out:
        return [plan.name, plan.engine, "not run", "", "", "", ""]
    waiting = f"{plan.waiting} of {plan.questions * plan.repeats}"
    return [
        plan.name,
        plan.engine,
        waiting,
        f"about {plan.prompt_tokens:,}" if plan.prompt_tokens else "",
        f"at most {plan.most_tokens:,}" if plan.most_tokens else "",
        "" if plan.seconds is None else f"about {format_seconds(plan.seconds)}",
        "" if plan.cost is None else f"at most ${plan.cost:,.2f}",
    ]


def _show_prompts(plan: ArmPlan) -> None:
    from loragraft.chat.cleaning import clean

    for messages in plan.prompts:
        click.echo(f"\nA prompt of {clean(plan.name)}:")
        for message in messages:
            click.echo(f"--- {clean(message['role'])}")
            click.echo(clean(message["content"]))
    if plan.prompts:
        click.echo("")
