"""``loragraft dataset collect``: raw records from Apify, or by twscrape."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loragraft.cli.paths import PATH

if TYPE_CHECKING:
    from loragraft.artifact.progress import Progress
    from loragraft.artifact.secret import Secret
    from loragraft.dataset.collect.cost import Estimate
    from loragraft.dataset.collect.inputs import Wanted
    from loragraft.dataset.collect.request import ApifyRequest, CollectReport
    from loragraft.dataset.collect.runs import Actor

API_VARIABLE = "APIFY_API_BASE_URL"
_PRIVATE = re.compile(r"cookie|passw|token|secret|auth|credential", re.IGNORECASE)
"""Names in an actor's input whose values are nobody's business."""
_COUNT = click.IntRange(min=1)
_OUT = click.option("-o", "--output", "out", type=PATH, required=True, help="The file to make.")
_CONFIG = click.option(
    "--from-config", "config", type=PATH, metavar="RULES",
    help="Look for what a file of curation rules has under protocol.",
)  # fmt: skip
_REPLIES = click.option(
    "--replies-of", type=PATH, metavar="JSONL", help="Look for replies to the posts of a file."
)
_TARGET = click.option("--target", type=_COUNT, metavar="N", help="Stop at so many records.")
_RESUME = click.option("--resume", is_flag=True, help="Go on with what is there; else begin.")
_REPLACE = click.option("--replace", is_flag=True, help="Drop what is there and begin anew.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")


@click.group()
def collect() -> None:
    """Collect posts and the replies to them into a file of JSON lines.

    Every page that arrived is kept: after an interruption of any kind, the same command with
    --resume goes on and ends with the same records.
    """


@collect.command()
@_OUT
@click.option("--actor", metavar="OWNER/NAME", help="The actor to run, as in Apify's store.")
@click.option("--input", "given", metavar="FILE|JSON", help="Its input; - reads stdin.")
@_CONFIG
@_REPLIES
@click.option("--run", "run_id", metavar="ID", help="Read a run that is there; start none.")
@_TARGET
@click.option(
    "--max-cost", type=click.FloatRange(min=0, min_open=True), metavar="USD",
    help="Start nothing dearer; stop a run that gets there.",
)  # fmt: skip
@_RESUME
@_REPLACE
@click.option("--add", is_flag=True, help="Start another run, and add what it finds anew.")
@click.option("--dry-run", is_flag=True, help="Say what would be looked for and what it costs.")
@click.option("--stop", is_flag=True, help="Stop the run of an interrupted collection.")
@click.option("--yes", is_flag=True, help="Start without asking in a terminal.")
@_JSON
def apify(
    out: Path,
    actor: str | None,
    given: str | None,
    config: Path | None,
    replies_of: Path | None,
    run_id: str | None,
    target: int | None,
    max_cost: float | None,
    resume: bool,
    replace: bool,
    add: bool,
    dry_run: bool,
    stop: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Run an actor of Apify and keep what it finds, page by page.

    The key is read from the environment variable APIFY_TOKEN and from nowhere else. Exits with 1
    if the run failed, or stopped at --max-cost; what it found is kept.
    """
    from loragraft.dataset.collect.inputs import actor_input, read_input
    from loragraft.dataset.collect.request import ApifyRequest
    from loragraft.dataset.collect.secret import read_token

    if replace and (resume or add):
        raise click.UsageError("--replace drops what --resume and --add go on with: give one.")
    if run_id and (actor or given or config or replies_of):
        raise click.UsageError("--run starts nothing: --actor and inputs do not belong to it.")
    secret = read_token()
    if stop:
        _stop(out, secret, as_json)
        return
    wanted = _wanted(config)
    actor = actor or wanted.actor
    if actor is None and run_id is None:
        raise click.UsageError("Say with --actor what to run, or with --run what to read.")
    more = {} if given is None else read_input(given)
    request = ApifyRequest(
        out=out, actor=actor, run_id=run_id, target=target, max_cost=max_cost, resume=resume,
        run_input=actor_input(_queries(wanted, replies_of), target, wanted.more, more),
        replace=replace, add=add,
    )  # fmt: skip
    if dry_run:
        _plan(request, secret, as_json)
        return
    running = " A run at Apify goes on meanwhile, and costs: --stop stops it."
    _run(lambda progress: _apify(request, secret, yes, progress), as_json, running)


@collect.command()
@_OUT
@click.option(
    "--accounts", type=PATH, required=True, metavar="DB",
    help="The accounts, as twscrape's own command keeps them.",
)  # fmt: skip
@click.option("--query", "given", multiple=True, metavar="TEXT", help="A search; may be repeated.")
@_CONFIG
@_REPLIES
@_TARGET
@click.option(
    "--wait", type=click.FloatRange(min=0), metavar="SECONDS",
    help="Wait so long for an account below X's limits; else as long as it takes.",
)  # fmt: skip
@_RESUME
@_REPLACE
@_JSON
def twscrape(
    out: Path,
    accounts: Path,
    given: tuple[str, ...],
    config: Path | None,
    replies_of: Path | None,
    target: int | None,
    wait: float | None,
    resume: bool,
    replace: bool,
    as_json: bool,
) -> None:
    """Search X by twscrape, with accounts of your own: where there is no Apify.

    The accounts' cookies stay in their database and are never shown or written. What X allows its
    accounts to do is between you and X.
    """
    from loragraft.dataset.collect.twscrape import TwscrapeRequest, collect_twscrape

    if replace and resume:
        raise click.UsageError("--replace drops what --resume goes on with: give one.")
    found = [] if config is None and replies_of is None else _queries(_wanted(config), replies_of)
    request = TwscrapeRequest(
        out=out, queries=(*given, *found), accounts=accounts, target=target, resume=resume,
        replace=replace, wait=wait,
    )  # fmt: skip
    _run(lambda progress: collect_twscrape(request, progress=progress), as_json)


def _wanted(config: Path | None) -> Wanted:
    from loragraft.dataset.collect.inputs import Wanted, read_protocol

    return Wanted() if config is None else read_protocol(config)


def _queries(wanted: Wanted, replies_of: Path | None) -> list[str]:
    from loragraft.dataset.collect.inputs import post_queries, reply_queries

    return post_queries(wanted) if replies_of is None else reply_queries(replies_of, wanted)


def _api() -> str:
    from loragraft.dataset.collect.transport import API

    return os.environ.get(API_VARIABLE, "").strip() or API


def _apify(
    request: ApifyRequest, secret: Secret, yes: bool, progress: Progress
) -> CollectReport | None:
    from loragraft.dataset.collect.apify import collect_apify

    def agree(actor: Actor, cost: Estimate) -> bool:
        click.echo(_cost(actor, cost), err=True)
        return yes or not sys.stdin.isatty() or click.confirm("Start the run?", err=True)

    return collect_apify(request, secret, agree=agree, url=_api(), progress=progress)


def _cost(actor: Actor, cost: Estimate) -> str:
    from loragraft.chat.cleaning import clean

    return clean(f"{actor.name}: {cost.results:,} results cost {cost.amount}. {cost.words}")


def _plan(request: ApifyRequest, secret: Secret, as_json: bool) -> None:
    """Say what would be started; start nothing."""
    from loragraft.chat.cleaning import clean_json
    from loragraft.cli.output import print_json, print_warnings
    from loragraft.dataset.collect.apify import check_cost, plan_apify

    def note(text: str) -> None:
        print_warnings([text])  # at once: what is waited for may take a minute

    actor, cost = plan_apify(request, secret, url=_api(), note=note)
    if as_json:
        print_json(
            {"actor": actor.name, "input": _shown(request.run_input), "cost": cost.to_json()}
        )
    else:
        click.echo(_cost(actor, cost))
        text = json.dumps(_shown(request.run_input), indent=2, ensure_ascii=False)
        click.echo(f"Input: {clean_json(text)}")
    check_cost(cost, request.max_cost)


def _shown(run_input: Mapping[str, Any]) -> dict[str, Any]:
    """Return an input as it may be shown: values of what sounds like a password are left out."""
    return {
        name: "[hidden]" if _PRIVATE.search(name) else value for name, value in run_input.items()
    }


def _stop(out: Path, secret: Secret, as_json: bool) -> None:
    from loragraft.cli.output import print_json
    from loragraft.dataset.collect.apify import stop_run

    run = stop_run(out, secret, url=_api())
    if as_json:
        print_json({"run": run.id, "status": run.status, "usd": run.usd})
    else:
        click.echo(f"The run {run.id} is {run.status}. --resume reads what it found.")


def _run(
    collecting: Callable[[Progress], CollectReport | None], as_json: bool, more: str = ""
) -> None:
    """Collect, with progress and a word on what an interruption leaves; print the report."""
    from loragraft.cli.progress import make_progress

    progress = make_progress()
    try:
        report = collecting(progress)
    except KeyboardInterrupt:
        click.echo(
            f"\nEvery page that arrived is kept: the same command with --resume goes on.{more}",
            err=True,
        )
        raise
    finally:
        progress.end()
    if report is None:
        click.echo("Nothing was started.", err=True)
        return
    _print_report(report, as_json)
    if not report.ok:
        sys.exit(1)


def _print_report(report: CollectReport, as_json: bool) -> None:
    from loragraft.cli.output import print_json, print_table

    if as_json:
        print_json(report.to_json())
        return
    rows = [
        [run["id"], run["status"], "-" if run["usd"] is None else f"${run['usd']:.4f}",
         run["message"]]
        for run in report.runs
    ]  # fmt: skip
    if rows:
        print_table("Runs", ["run", "status", "cost", "it says"], rows)
    left = [f"{report.again:,} were there already"] if report.again else []
    left += [f"{report.empty:,} were no records"] if report.empty else []
    more = f" ({'; '.join(left)})" if left else ""
    click.echo(f"{report.records:,} records, {report.new:,} of them new{more}: {report.ended}")
    click.echo(f"File: {report.out}")
