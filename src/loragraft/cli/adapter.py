"""``loragraft adapter``: what an adapter is, whether it is sound, and what it does."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from loragraft.cli.adapter_fetch import fetch, search

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loragraft.adapter.inspect import AdapterReport
    from loragraft.adapter.survey import Subject, Survey

PATH = click.Path(path_type=Path)
DATE = click.DateTime(formats=["%Y-%m-%d"])


@click.group()
def adapter() -> None:
    """Inspect, verify, diagnose and fetch adapters."""


adapter.add_command(fetch)
adapter.add_command(search)

_JSON = click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")


@adapter.command()
@click.argument("adapter", metavar="ADAPTER")
@_JSON
def inspect(adapter: str, as_json: bool) -> None:
    """Show what an adapter is, from its headers and configuration alone."""
    from loragraft.adapter.inspect import inspect_adapter
    from loragraft.checkpoint.resolve import resolve_adapter
    from loragraft.cli.output import print_json, print_table, print_warnings

    found = resolve_adapter(adapter)
    report = inspect_adapter(found.folder)
    if as_json:
        print_json(report.to_json())
        return
    print_warnings(found.notes)
    print_table(str(report.path), ["what", "value"], _rows(report))


def _rows(report: AdapterReport) -> list[list[str]]:
    """Put a report into words, one line a fact; what it does not have is left out."""
    from loragraft.artifact.space import format_bytes

    def listed(values: Iterable[object]) -> str:
        return ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)

    sizes = f"{format_bytes(report.bytes)} ({report.bytes:,} bytes)"
    if report.expected_bytes != report.bytes:
        sizes += f", expected {report.expected_bytes:,} by its shapes"
    facts = {
        "type": report.type,
        "task": report.task,
        "layout": report.format,
        "rank": listed(report.ranks),
        "alpha": listed(report.alphas),
        "scaling": listed(report.scalings),
        "modules": report.modules,
        "targets": listed(f"{count} {name}" for name, count in report.targets.items()),
        "layers": report.layers,
        "whole tensors": listed(report.saved),
        "single rows of": listed(report.token_rows),
        "parameters": f"{report.parameters:,}",
        "dtypes": listed(report.dtypes),
        "size": sizes,
        "base as claimed": report.claimed_base,
        "its name says": report.name_says,
        "widths": listed(f"{name} {width}" for name, width in report.widths.items()),
        "shapes fit": listed(report.candidates),
        "left by training": listed(f"{item.name} ({item.kind})" for item in report.leftovers),
        **{f"sha256 {name}": digest for name, digest in report.hashes.items()},
    }
    return [[name, str(value)] for name, value in facts.items() if value not in (None, "", 0)]


@adapter.command()
@click.argument("adapter", metavar="ADAPTER")
@click.option("--base", help="The base to check against: a folder or a Hub repository.")
@click.option("--name", "source_name", help="Name it was offered under, for sizes named in it.")
@click.option("--clean-base", help="The base before any merge: is the adapter in BASE already?")
@click.option("--since", type=DATE, help="Trained on or after this day, as its author claims.")
@click.option("--until", type=DATE, help="Trained on or before this day.")
@click.option("--no-values", is_flag=True, help="Read headers only, no values.")
@click.option("--allow-pickle", is_flag=True, help="Read .bin weights, apart and weights only.")
@click.option("--strict", is_flag=True, help="Let a warning count as a failure.")
@click.option("--probe", is_flag=True, help="Run prompts with and without it (needs --base).")
@click.option(
    "--task",
    type=click.Choice(["generation", "score"]),
    default="generation",
    show_default=True,
    help="What the probe's answers are: texts, or numbers from 0 to 1.",
)
@click.option("--prompts", type=PATH, help="The probe's prompts as JSONL, instead of our own.")
@_JSON
def verify(
    adapter: str,
    base: str | None,
    source_name: str | None,
    clean_base: str | None,
    since: datetime | None,
    until: datetime | None,
    no_values: bool,
    allow_pickle: bool,
    strict: bool,
    probe: bool,
    task: str,
    prompts: Path | None,
    as_json: bool,
) -> None:
    """Check an adapter, alone and against its base; exits 1 where it is not sound."""
    from loragraft.adapter.verify import VerifyRequest, verify_adapter
    from loragraft.checkpoint.resolve import resolve_adapter, resolve_checkpoint
    from loragraft.cli.output import print_findings, print_json, print_warnings
    from loragraft.cli.progress import make_progress

    if probe and base is None:
        raise click.UsageError("--probe runs the model: give --base.")
    found = resolve_adapter(adapter)
    resolved = resolve_checkpoint(base) if base is not None else None
    clean = resolve_checkpoint(clean_base).folder if clean_base is not None else None
    progress = make_progress()
    try:
        report = verify_adapter(
            VerifyRequest(
                found.folder,
                resolved.folder if resolved is not None else None,
                base_name=base,
                source_name=source_name or found.repository,
                clean_base=clean,
                since=_day(since),
                until=_day(until),
                values=not no_values,
                allow_pickle=allow_pickle,
                strict=strict,
            ),
            progress,
        )
        probed = None
        if probe and resolved is not None and not report.failed:
            from loragraft.adapter.probe import probe_adapter
            from loragraft.adapter.probe_prompts import read_prompts

            probed = probe_adapter(
                resolved.folder,
                found.folder,
                prompts=read_prompts(prompts) if prompts is not None else None,
                task=cast(Literal["generation", "score"], task),
                progress=progress,
            )
            report = report.with_findings(probed.findings)
    finally:
        progress.end()
    if as_json:
        value = report.to_json()
        print_json({**value, "probe": probed.to_json() if probed is not None else None})
    else:
        print_warnings([*found.notes, *(resolved.notes if resolved is not None else ())])
        click.echo(report.first_line)
        print_findings(report.findings)
        if probe and probed is None:
            click.echo("Not probed: the checks above failed.")
    if report.failed:
        sys.exit(1)


def _day(value: datetime | None) -> date | None:
    return value.date() if value is not None else None


@adapter.command()
@click.argument("adapters", nargs=-1, required=True, metavar="ADAPTER...")
@click.option("--base", "bases", multiple=True, required=True, help="A base; may be repeated.")
@click.option("-o", "--output", type=PATH, default=Path("outputs/survey"), show_default=True,
              help="Folder for survey.html, survey.json and what makes it resumable.")  # fmt: skip
@click.option("--no-values", is_flag=True, help="Read headers only, no values.")
@_JSON
def survey(
    adapters: tuple[str, ...], bases: tuple[str, ...], output: Path, no_values: bool, as_json: bool
) -> None:
    """Check many adapters against many bases; folders of adapters are searched.

    Exits 1 where an adapter fits none of the bases.
    """
    from loragraft.adapter.survey import find_adapters, run_survey
    from loragraft.adapter.survey_page import render_survey
    from loragraft.artifact.files import write_atomically
    from loragraft.checkpoint.resolve import resolve_adapter, resolve_checkpoint
    from loragraft.cli.output import print_json
    from loragraft.cli.progress import make_progress

    rows: list[Subject] = []
    for text in adapters:
        subject = _subject(text, resolve_adapter)
        folders = find_adapters(subject.folder) if subject.folder is not None else []
        rows += [_named(text, subject, folder) for folder in folders] or [subject]
    columns = [_subject(text, resolve_checkpoint) for text in bases]
    progress = make_progress()
    try:
        found = run_survey(rows, columns, output, values=not no_values, progress=progress)
    finally:
        progress.end()
    value = found.to_json()
    write_atomically(output / "survey.json", json.dumps(value, indent=1).encode())
    write_atomically(output / "survey.html", render_survey(found).encode())
    if as_json:
        print_json(value)
    else:
        _print_survey(found)
        click.echo(f"Page: {output / 'survey.html'}")
    if found.homeless():
        sys.exit(1)


def _subject(text: str, resolve: Any) -> Subject:  # noqa: ANN401 - a function of resolve.py
    from loragraft.adapter.survey import Subject
    from loragraft.errors import LoragraftError

    try:
        return Subject(text, resolve(text).folder)
    except LoragraftError as error:
        return Subject(text, None, str(error))


def _named(text: str, subject: Subject, folder: Path) -> Subject:
    from loragraft.adapter.survey import Subject

    if subject.folder is None or folder == subject.folder:
        return subject
    return Subject(f"{text.rstrip('/')}/{folder.relative_to(subject.folder).as_posix()}", folder)


def _print_survey(found: Survey) -> None:
    from loragraft.cli.output import print_table

    rows = [[a, *(found.verdict(a, b) for b in found.bases)] for a in found.adapters]
    print_table("Survey", ["adapter", *found.bases], rows)
    said: set[tuple[str, str]] = set()
    for cell in found.cells.values():
        if cell.reason and (cell.adapter, cell.reason) not in said:  # its own faults once
            said.add((cell.adapter, cell.reason))
            on = f" on {cell.base}" if cell.base else ""
            click.echo(f"{cell.adapter}{on}: {cell.reason}")
    if found.reused:
        click.echo(f"{found.reused} of {len(found.cells)} checks are taken from an earlier run.")


@adapter.command()
@click.argument("base", metavar="BASE")
@click.argument("adapter", metavar="ADAPTER")
@click.option("--pairs", type=PATH, help="Labelled pairs (JSONL or CSV: a, b, label).")
@_JSON
def diagnose(base: str, adapter: str, pairs: Path | None, as_json: bool) -> None:
    """Find out why an adapter does nothing, or the wrong thing, and how to mend it."""
    from loragraft.adapter.diagnose.run import diagnose as run
    from loragraft.adapter.diagnose.text import render_text
    from loragraft.checkpoint.resolve import resolve_adapter, resolve_checkpoint
    from loragraft.cli.output import print_json, print_warnings
    from loragraft.cli.progress import make_progress

    model, found = resolve_checkpoint(base), resolve_adapter(adapter)
    progress = make_progress()
    try:
        diagnosis = run(model.folder, found.folder, pairs=pairs, progress=progress)
    finally:
        progress.end()
    if as_json:
        print_json(diagnosis.to_json())
        return
    print_warnings([*model.notes, *found.notes])
    click.echo(render_text(diagnosis))


@adapter.command("merge-embedder")
@click.argument("base", metavar="BASE")
@click.argument("adapter", metavar="ADAPTER")
@click.option("-o", "--output", type=PATH, required=True, help="The folder to make.")
@click.option("--replace", is_flag=True, help="Swap an existing folder of that name.")
@_JSON
def merge_embedder(base: str, adapter: str, output: Path, replace: bool, as_json: bool) -> None:
    """Merge an adapter into a SentenceTransformer, proven to embed as the adapted one."""
    from loragraft.adapter.merge_embedder import merge_embedder as merge
    from loragraft.checkpoint.resolve import resolve_adapter, resolve_checkpoint
    from loragraft.cli.output import print_json, print_warnings
    from loragraft.cli.progress import make_progress

    model, found = resolve_checkpoint(base), resolve_adapter(adapter)
    progress = make_progress()
    try:
        report = merge(model.folder, found.folder, output, replace=replace, progress=progress)
    finally:
        progress.end()
    if as_json:
        print_json(report.to_json())
        return
    print_warnings([*model.notes, *found.notes])
    print_warnings(report.notes)
    click.echo(
        f"Merged {report.parameters:,} parameters; its embeddings are the adapted model's to "
        f"{report.largest_difference:.1e}, and {report.change:.3f} from the base's: {report.folder}"
    )
