"""``loragraft rag``: make an index of documents, keep it up to date, ask it, check it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loragraft.cli.paths import PATH
from loragraft.cli.rag_look import query, stats, verify
from loragraft.embedding.spec import DEFAULT_EMBEDDER, EmbedderSpec

if TYPE_CHECKING:
    from loragraft.rag.index.layout import Asked
    from loragraft.rag.index.options import BuildReport
    from loragraft.rag.records import Skipped

SEARCHES = ("auto", "exact", "hnsw", "ivf", "ivf-pq")
APPROXIMATE_FROM = 100_000
NAMED_DOCUMENTS = 10
"""Removed documents that are named; of more the number is told."""

_JSON = click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")


@click.group()
def rag() -> None:
    """Make an index of documents, keep it up to date, ask it, check it."""


for _command in (query, stats, verify):
    rag.add_command(_command)


@rag.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=PATH)
@click.option("-o", "--output", "target", type=PATH, required=True, metavar="INDEX",
              help="The index's folder.")  # fmt: skip
@click.option("--embedder", default=DEFAULT_EMBEDDER, show_default=True,
              help="A SentenceTransformer or model2vec model by folder or name, ollama:MODEL, "
              "or URL#MODEL of an endpoint as OpenAI's.")  # fmt: skip
@click.option("--embedder-adapter", "adapter", metavar="ADAPTER",
              help="A LoRA adapter for the SentenceTransformer.")  # fmt: skip
@click.option("--query-prompt", metavar="TEXT",
              help="Put before questions, if a model wants that and does not say so.")  # fmt: skip
@click.option("--document-prompt", metavar="TEXT", help="Put before documents, likewise.")
@click.option("--chunk-tokens", type=click.IntRange(min=1),
              help="Most tokens of a chunk. [default: as EMBEDDER reads, up to 256]")  # fmt: skip
@click.option("--overlap", type=click.IntRange(min=0),
              help="Tokens that a chunk repeats from the one before. [default: 0]")  # fmt: skip
@click.option("--search", type=click.Choice(SEARCHES), default="auto", show_default=True,
              help="How vectors are searched; auto goes by number and memory.")  # fmt: skip
@click.option("--approximate-from", type=click.IntRange(min=1), default=APPROXIMATE_FROM,
              show_default=True, metavar="CHUNKS",
              help="Where auto stops comparing a question with every chunk.")  # fmt: skip
@click.option("--replace", is_flag=True,
              help="Build anew what is there; the old index answers until then.")  # fmt: skip
@_JSON
def index(
    sources: tuple[Path, ...],
    target: Path,
    embedder: str,
    adapter: str | None,
    query_prompt: str | None,
    document_prompt: str | None,
    chunk_tokens: int | None,
    overlap: int | None,
    search: Asked,
    approximate_from: int,
    replace: bool,
    as_json: bool,
) -> None:
    """Index files and folders: Markdown, text, HTML, PDF and JSON lines.

    JSON lines hold one document each: doc_id, title, text, metadata. Whatever cannot be read is
    named and left out; the rest is indexed, and the exit code is then 1. An interrupted run goes
    on with the same command.
    """
    from loragraft.cli.progress import watched
    from loragraft.rag.collection import IndexRequest, make_index
    from loragraft.rag.naming import name_embedder

    base = EmbedderSpec(query_prompt=query_prompt, document_prompt=document_prompt)
    request = IndexRequest(
        sources, name_embedder(embedder, adapter, base), chunk_tokens, overlap, search,
        approximate_from,
    )  # fmt: skip
    with watched(_kept) as progress:
        report = make_index(target, request, replace_old=replace, progress=progress)
    _finish(report, as_json)


@rag.command()
@click.argument("target", metavar="INDEX", type=PATH)
@click.argument("sources", metavar="[SOURCE...]", nargs=-1, type=PATH)
@click.option("--add", is_flag=True, help="Keep the sources that INDEX remembers beside SOURCE.")
@click.option("--embedder", help="Where the index's embedder is now, if it moved.")
@click.option("--embedder-adapter", "adapter", metavar="ADAPTER",
              help="Where the embedder's adapter is now, if it moved.")  # fmt: skip
@_JSON
def update(
    target: Path,
    sources: tuple[Path, ...],
    add: bool,
    embedder: str | None,
    adapter: str | None,
    as_json: bool,
) -> None:
    """Bring an index up to date: only what is new or changed is embedded.

    Without SOURCE the sources of the last time are read again. With SOURCE these are the whole
    collection from now on: documents from elsewhere leave, unless --add is given. Whatever cannot
    be read is named and left out, and the exit code is then 1.
    """
    from loragraft.cli.progress import watched
    from loragraft.rag.collection import renew_index

    with watched(_kept) as progress:
        report = renew_index(
            target, sources, add=add, embedder=embedder, adapter=adapter, progress=progress
        )
    _finish(report, as_json)


def _kept() -> str:
    from loragraft.rag.index.filling import WINDOW

    return f"What was embedded is kept, but for the last {WINDOW} chunks at most"


def _finish(report: BuildReport, as_json: bool) -> None:
    """Print a report; exit with 1 if something was skipped."""
    from loragraft.cli.output import print_json, print_warnings

    _print_skipped(report.skipped)
    print_warnings(report.notes)
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(report)
    if report.skipped:
        sys.exit(1)


def _print_skipped(skipped: Sequence[Skipped]) -> None:
    from loragraft.chat.cleaning import clean

    here = os.path.join(os.getcwd(), "")
    for one in skipped:
        source = clean(one.source.removeprefix(here))
        click.echo(f"Skipped: {source}: {clean(one.reason)}", err=True)
    if skipped:
        click.echo(f"{len(skipped)} skipped; everything else is in the index.", err=True)


def _print_report(report: BuildReport) -> None:
    """Print what a run has done."""
    from loragraft.artifact.progress import format_seconds
    from loragraft.chat.cleaning import clean
    from loragraft.cli.rag_look import search_words

    changes = {"new": report.added, "changed": report.changed, "gone": len(report.removed),
               "unchanged": report.unchanged}  # fmt: skip
    click.echo(
        f"{_many(report.documents, 'document')}: "
        + ", ".join(f"{count:,} {what}" for what, count in changes.items() if count)
    )
    for doc_id in report.removed[:NAMED_DOCUMENTS]:
        click.echo(f"    gone: {clean(doc_id)}")
    if len(report.removed) > NAMED_DOCUMENTS:
        click.echo(f"    and {len(report.removed) - NAMED_DOCUMENTS:,} more")
    click.echo(
        f"{_many(report.chunks, 'chunk')}: {report.embedded:,} embedded now"
        f"{f', {report.reused:,} known before' if report.reused else ''}, "
        f"in {format_seconds(report.seconds)}; {search_words(report.search)}"
    )
    what = "Index" if report.committed else "Nothing changed"
    click.echo(f"{what}: {clean(str(report.index))}")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
