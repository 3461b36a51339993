"""``loragraft trace``: where between base and server does a fine-tune go wrong?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from loragraft.trace.report import StageReport, TraceReport
    from loragraft.trace.request import TraceRequest

PATH = click.Path(path_type=Path)
NO_ADAPTER = "-"
_MARKS = {"first": "", "same": "same", "as meant": "as meant", "parts": "PARTS",
          "as before": "as before", "not seen": "not seen"}  # fmt: skip


@click.command()
@click.argument("base")
@click.argument("adapter")
@click.argument("bundle", type=PATH)
@click.option("--ollama", "tag", metavar="TAG", help="Also ask the model of this name in Ollama.")
@click.option("--host", help="Where Ollama listens. [default: OLLAMA_HOST]")
@click.option("--merged", type=PATH, help="The merged checkpoint, if it was kept.")
@click.option("--unquantized", type=PATH, help="The GGUF before quantization, if it was kept.")
@click.option("--quant", help="Which of the bundle's files. [default: the first]")
@click.option(
    "--scale", type=float, help="Factor on the adapter's own scale. [default: the bundle's]"
)
@click.option("--no-build", is_flag=True, help="Skip stages that were not kept; make none again.")
@click.option("--scratch", type=PATH, help="Folder for stages made again. [default: temporary]")
@click.option("--tokens", type=click.IntRange(1, 512), default=32, show_default=True,
              help="Most tokens of a sample.")  # fmt: skip
@click.option("--threads", type=click.IntRange(0, 512), default=0, help="0: one for each core.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def trace(
    base: str,
    adapter: str,
    bundle: Path,
    tag: str | None,
    host: str | None,
    merged: Path | None,
    unquantized: Path | None,
    quant: str | None,
    scale: float | None,
    no_build: bool,
    scratch: Path | None,
    tokens: int,
    threads: int,
    as_json: bool,
) -> None:
    """Name the stage where a fine-tune goes wrong.

    The same conversations go through base, base with ADAPTER, merged checkpoint, unquantized
    GGUF, BUNDLE (its folder, or a .gguf file) and Ollama; rendered text, tokens, next-token
    distribution and stopping are compared. ADAPTER is "-" for a bundle of the base alone.
    """
    from loragraft.cli.output import print_json
    from loragraft.cli.progress import make_progress
    from loragraft.trace.chain import trace_chain

    request = _request(base, adapter, bundle, quant, scale, merged=merged, tag=tag, host=host,
                       unquantized=unquantized, build=not no_build, scratch=scratch,
                       tokens=tokens, threads=threads)  # fmt: skip
    progress = make_progress()
    try:
        report = trace_chain(request, progress)
    finally:
        progress.end()
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(report)
    if not report.healthy:
        sys.exit(1)


def _request(
    base: str,
    adapter: str,
    bundle: Path,
    quant: str | None,
    scale: float | None,
    *,
    merged: Path | None,
    unquantized: Path | None,
    tag: str | None,
    host: str | None,
    build: bool,
    scratch: Path | None,
    tokens: int,
    threads: int,
) -> TraceRequest:
    from loragraft.checkpoint.bundle import open_model
    from loragraft.checkpoint.resolve import resolve_adapter, resolve_checkpoint
    from loragraft.engine.threads import default_threads
    from loragraft.trace.request import TraceRequest

    server = None
    if tag is not None:
        from loragraft.engine.ollama_server import OllamaServer

        server = OllamaServer(host)
    return TraceRequest(
        base=resolve_checkpoint(base).folder,
        adapter=None if adapter == NO_ADAPTER else resolve_adapter(adapter).folder,
        model=open_model(bundle, quant), scale=scale, merged=merged, unquantized=unquantized,
        build=build, server=server, tag=tag, scratch=scratch, tokens=tokens,
        threads=threads or default_threads(),
    )  # fmt: skip


def _print_report(report: TraceReport) -> None:
    from loragraft.cli.output import print_table, print_warnings

    print_warnings(report.notes)
    click.echo(report.headline)
    if report.guilty is not None:
        click.echo(f"fix: {report.guilty.causes[0].fix}")
    columns = ["stage", "rendered text", "token ids", "distribution", "stopping"]
    print_table("Each stage against the one before", columns, [_row(s) for s in report.stages])
    for stage in report.stages:
        for number, cause in enumerate(stage.causes):
            if stage is not report.guilty or number:
                click.echo(f"{stage.title}: {cause.cause}: {cause.evidence}\n  fix: {cause.fix}")
        for note in stage.notes:
            click.echo(f"{stage.title}: {note}", err=True)
    _print_answers(report)


def _row(stage: StageReport) -> list[str]:
    from loragraft.trace.cause import ASPECTS

    if stage.skipped is not None:
        return [stage.title, "skipped", _short(stage.skipped), "", ""]
    cells = (stage.cells[aspect] for aspect in ASPECTS)
    return [stage.title, *(f"{_MARKS[c.verdict]}\n{_short(c.detail)}".strip() for c in cells)]


def _short(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _print_answers(report: TraceReport) -> None:
    from loragraft.cli.output import print_table

    rows = [
        [answer.probe, stage.title, repr(answer.text), answer.finish]
        for probe in report.probes
        for stage in report.stages
        for answer in stage.answers
        if answer.probe == probe
    ]
    if rows:
        print_table("Greedy samples", ["probe", "stage", "answer", "ended by"], rows)
