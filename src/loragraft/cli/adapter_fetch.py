"""``loragraft adapter fetch`` and ``adapter search``: from elsewhere to a checked folder."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from loragraft.adapter.candidate import Kind, Sort, SourceName
    from loragraft.adapter.fetch import FetchReport

PATH = click.Path(path_type=Path)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")


def parse_size(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """Return a number of bytes: ``500M``, ``20G``, ``1.5GiB``, ``4096``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", value, re.IGNORECASE)
    if match is None:
        raise click.BadParameter(f"{value!r} is no size. Give bytes, or a number with K, M, G, T.")
    return int(float(match[1]) * _UNITS[match[2].upper()])


@click.command()
@click.argument("source")
@click.option("-o", "--output", "out", type=PATH, help="The folder to make.")
@click.option("--revision", help="Branch, tag, commit or version, if not in SOURCE.")
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Further files of a Hub repository; may be repeated.",
)
@click.option("--replace", is_flag=True, help="Swap a folder that was fetched there before.")
@click.option(
    "--max-size",
    callback=parse_size,
    metavar="SIZE",
    default="20G",
    show_default=True,
    help="Refuse more than this, packed or unpacked.",
)
@click.option(
    "--check", is_flag=True, help="Fetch nothing: compare the folder SOURCE with its checksums."
)
@_JSON
def fetch(
    source: str,
    out: Path | None,
    revision: str | None,
    include: tuple[str, ...],
    replace: bool,
    max_size: int,
    check: bool,
    as_json: bool,
) -> None:
    """Fetch an adapter, record where it came from, and check it at once.

    SOURCE is hf:owner/name[@revision], kaggle:owner/dataset, rclone:remote:path, https://..., a
    folder or an archive. An interrupted fetch goes on with the same command.
    """  # fmt: skip
    from loragraft.adapter.fetch import Limits
    from loragraft.adapter.fetch import fetch as fetch_adapter
    from loragraft.cli.progress import make_progress

    if check:
        _check(Path(source), as_json)
        return
    if out is None:
        raise click.UsageError("Say with -o which folder to make.")
    progress = make_progress()
    try:
        report = fetch_adapter(
            source,
            out,
            revision=revision,
            replace=replace,
            include=include,
            limits=Limits(total_bytes=max_size, file_bytes=max_size),
            progress=progress,
        )
    except KeyboardInterrupt:
        click.echo("\nWhat arrived is kept: the same command goes on from there.", err=True)
        raise
    finally:
        progress.end()
    _print_fetched(report, as_json)
    if report.verdict == "fail":
        sys.exit(1)


def _check(folder: Path, as_json: bool) -> None:
    """Compare a folder with its checksums; exit with 1 if anything differs."""
    from loragraft.adapter.fetch import check_folder
    from loragraft.cli.output import print_json

    problems = check_folder(folder)
    if as_json:
        print_json({"folder": str(folder), "ok": not problems, "problems": problems})
    elif problems:
        for text in problems:
            click.echo(text)
    else:
        click.echo(f"{folder}: every file is as its checksums say.")
    if problems:
        sys.exit(1)


def _print_fetched(report: FetchReport, as_json: bool) -> None:
    from loragraft.artifact.space import format_bytes
    from loragraft.cli.output import print_findings, print_json, print_table, print_warnings

    if as_json:
        print_json(report.to_json())
        return
    print_warnings(report.notes)
    rows = [[file.name, format_bytes(file.bytes), file.sha256[:16]] for file in report.files]
    print_table("Files", ["file", "size", "SHA-256 begins"], rows)
    print_findings(report.findings)
    revision = f" at {report.revision}" if report.revision else ""
    click.echo(f"From {report.source}{revision}")
    click.echo(f"Folder: {report.folder}")


@click.command()
@click.argument("query")
@click.option(
    "--source",
    type=click.Choice(["hf", "kaggle"]),
    default="hf",
    show_default=True,
    help="The Hugging Face Hub or Kaggle.",
)
@click.option(
    "--kind",
    type=click.Choice(["model", "dataset", "notebook"]),
    default="model",
    show_default=True,
    help="What to look for; notebooks are at Kaggle only.",
)
@click.option(
    "--sort",
    type=click.Choice(["updated", "downloads", "votes"]),
    default="updated",
    show_default=True,
    help="By what, newest or most first.",
)
@click.option(
    "--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many finds."
)
@_JSON
def search(
    query: str, source: SourceName, kind: Kind, sort: Sort, limit: int, as_json: bool
) -> None:
    """Look for adapters by words: size, date, downloads, and what the name says of the base."""
    from loragraft.adapter.naming import read_name
    from loragraft.adapter.search import search as search_adapters
    from loragraft.cli.output import print_json

    found = search_adapters(query, source, kind, sort, limit, lambda name: str(read_name(name)))
    if as_json:
        print_json({"query": query, "source": source, "kind": kind, "sort": sort,
                    "candidates": [candidate.to_json() for candidate in found]})  # fmt: skip
        return
    if not found:
        click.echo(f"Nothing is called {query!r} there. Try fewer or other words.", err=True)
        return
    for candidate in found:
        _print_candidate(candidate.to_json())


def _print_candidate(value: dict[str, Any]) -> None:
    """Print one find as a paragraph: tables are too narrow for descriptions."""
    from loragraft.artifact.space import format_bytes

    facts = [
        format_bytes(value["bytes"]) if value["bytes"] is not None else "",
        (value["updated"] or "")[:10],
        f"{value['downloads']} downloads" if value["downloads"] is not None else "",
        f"{value['votes']} votes" if value["votes"] is not None else "",
        "asks for a consent" if value["gated"] else "",
    ]
    click.echo(f"{value['fetch'] or value['url']}  ({', '.join(f for f in facts if f)})")
    lines = {
        "title": value["title"] if value["title"] not in value["id"] else "",
        "name says": value["name_says"],
        "card says": value["claimed_base"],
        "about": value["description"],
        "also by its author": ", ".join(value["others"]),
    }
    for label, text in lines.items():
        if text:
            click.echo(f"    {label}: {text}")
