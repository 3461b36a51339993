"""``loragraft rag query``, ``stats`` and ``verify``: what an index answers, is, and is worth."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loragraft.cli.paths import PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loragraft.cli.progress import BarProgress
    from loragraft.embedding.protocol import Embedder
    from loragraft.rag.index.layout import SearchInfo
    from loragraft.rag.index.stats import IndexStats
    from loragraft.rag.records import Passage
    from loragraft.rag.search.retrieve import Mode
    from loragraft.rag.searching import Search

MODES = ("dense", "lexical", "hybrid")
FROM_STDIN = "-"
DEFAULT_PASSAGES, MOST_PASSAGES = 5, 1000

_JSON = click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
_EMBEDDER = click.option("--embedder", help="Where the index's embedder is now, if it moved.")
_ADAPTER = click.option("--embedder-adapter", "adapter", metavar="ADAPTER",
                        help="Where the embedder's adapter is now, if it moved.")  # fmt: skip


@click.command()
@click.argument("path", metavar="INDEX", type=PATH)
@click.argument("question")
@click.option("-k", "count", type=click.IntRange(1, MOST_PASSAGES), default=DEFAULT_PASSAGES,
              show_default=True, help="How many passages.")  # fmt: skip
@click.option("--mode", type=click.Choice(MODES),
              help="By meaning, by words, or both. [default: hybrid]")  # fmt: skip
@click.option("--filter", "filters", multiple=True, metavar="CONDITION",
              help="Only documents with KEY=VALUE, also != >= <= > < and ~ (holds); may be "
              "repeated: all must hold.")  # fmt: skip
@click.option("--rerank", "reranker", type=PATH, metavar="FOLDER",
              help="A cross-encoder that orders the best once more.")  # fmt: skip
@_EMBEDDER
@_ADAPTER
@click.option("--json", "as_json", is_flag=True,
              help="Print JSON; with - one line for each question.")  # fmt: skip
def query(
    path: Path,
    question: str,
    count: int,
    mode: Mode | None,
    filters: tuple[str, ...],
    reranker: Path | None,
    embedder: str | None,
    adapter: str | None,
    as_json: bool,
) -> None:
    """Find the passages of INDEX that answer QUESTION.

    QUESTION may be -: then each line of standard input is one, and the embedder is loaded once
    for all. --mode lexical needs no embedder and answers at once.
    """
    from loragraft.rag.searching import Search, SearchRequest

    if question != FROM_STDIN and not question.strip():
        raise click.UsageError("The question is empty.")
    request = SearchRequest(mode, filters, reranker, embedder, adapter)
    waiting = Waiting()
    with Search(path, request, waiting.note) as search:
        if question == FROM_STDIN:
            _answer_all(search, waiting, count, as_json)
        else:
            with waiting.shown():
                found = search.retrieve(question, count)
            _print_found(question, search.mode, found, as_json)


def _answer_all(search: Search, waiting: Waiting, count: int, as_json: bool) -> None:
    """Answer each line of stdin as soon as it is there."""
    with waiting.shown():
        search.load()
    for question in _questions():
        found = search.retrieve(question, count)
        if not as_json:
            click.secho(f"{_shown(question)}\n", bold=True)
        _print_found(question, search.mode, found, as_json, in_one_line=True)


def _questions() -> Iterator[str]:
    terminal = sys.stdin.isatty()
    while True:
        if terminal:
            click.echo("> ", nl=False, err=True)
        line = sys.stdin.buffer.readline()
        if not line:
            if terminal:
                click.echo(err=True)
            return
        if line.strip():
            yield line.decode("utf-8", "replace").strip()


def _print_found(
    question: str, mode: str, found: Sequence[Passage], as_json: bool, *, in_one_line: bool = False
) -> None:
    from loragraft.cli.passages import print_answer_json, print_passages

    if as_json:
        print_answer_json(question, mode, found, in_one_line=in_one_line)
        return
    print_passages(question, found)
    if not found:
        click.echo("Nothing was found. Try other words, another --mode or no --filter.", err=True)


class Waiting:
    """Shows in a terminal that something happens: loading an embedder takes seconds."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._progress: BarProgress | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it while the block runs; elsewhere nothing."""
        from loragraft.cli.progress import BarProgress

        if not sys.stderr.isatty():
            yield
            return
        self._progress = BarProgress()
        try:
            self._progress.begin("Searching", 0)
            yield
        finally:
            self._progress.end()
            self._progress = None

    def note(self, text: str) -> None:
        """Write a note beside it."""
        if self._progress is None:
            click.echo(f"Note: {_shown(text)}", err=True)
        else:
            self._progress.note(_shown(text))


def _shown(text: str) -> str:
    from loragraft.chat.cleaning import clean

    return clean(text)


@click.command()
@click.argument("path", metavar="INDEX", type=PATH)
@_JSON
def stats(path: Path, as_json: bool) -> None:
    """Show what an index holds, how it was made, and what could not be read."""
    from loragraft.cli.output import print_json, print_table
    from loragraft.rag.index.stats import measure_index
    from loragraft.rag.index.store import open_index

    with open_index(path) as index:
        found, skipped = measure_index(index), index.skipped()
    if as_json:
        reasons = [{"source": one.source, "reason": one.reason} for one in skipped]
        print_json({**found.to_json(), "skipped_sources": reasons})
        return
    print_table(str(path), ["what", "value"], _rows(found))
    if skipped:
        print_table("Not in the index", ["source", "why"], [[s.source, s.reason] for s in skipped])


def _rows(found: IndexStats) -> list[list[str]]:
    """Put figures into words."""
    from loragraft.artifact.space import format_bytes

    sizes = ", ".join(f"{name} {format_bytes(size)}" for name, size in found.bytes.items())
    cut = ", ".join(f"{name} {value}" for name, value in found.chunking.items())
    return [
        ["documents", f"{found.documents:,} of {found.characters:,} characters"],
        ["chunks", f"{found.chunks:,}, of which {found.texts:,} differ"],
        ["tokens", f"{found.tokens:,}; of a chunk {found.shortest} to {found.longest}, half of "
                   f"them up to {found.median}"],
        ["embedder", f"{found.embedder}, {found.dimensions} dimensions"],
        ["cut by", cut or "unknown"],
        ["search", search_words(found.search)],
        ["disk", f"{format_bytes(sum(found.bytes.values()))} ({sizes}), "
                 f"{found.bytes_per_chunk:,} bytes a chunk"],
        ["memory", f"up to {found.memory_per_chunk:,} bytes a chunk, mapped from the disk"],
        ["built", f"{found.created}, updated {found.updated}, generation {found.generation}"],
        ["sources", "\n".join(found.sources) or "unknown"],
        ["not read", f"{found.skipped:,}"],
    ]  # fmt: skip


def search_words(search: SearchInfo) -> str:
    """Return in words how vectors are searched."""
    if search.recall is None:
        asked = search.asked
        why = f"; {asked} has too few chunks, or finds too little"
        return f"exact search{why if asked not in ('auto', 'exact') else ''}"
    return (
        f"{search.kind} search, which finds {search.recall:.1%} of the ten nearest "
        f"(measured on {search.sample} chunks)"
    )


@click.command()
@click.argument("path", metavar="INDEX", type=PATH)
@click.option("--no-embedder", is_flag=True, help="Leave out the checks that load the embedder.")
@_EMBEDDER
@_ADAPTER
@_JSON
def verify(
    path: Path, no_embedder: bool, embedder: str | None, adapter: str | None, as_json: bool
) -> None:
    """Check that an index holds together: hashes, texts, vectors, recall, and the embedder.

    The exit code is 1 where something is wrong.
    """
    from loragraft.adapter.findings import Severity, worst
    from loragraft.cli.output import print_findings, print_json
    from loragraft.cli.progress import make_progress
    from loragraft.rag.index.verify import verify_index

    opens = None if no_embedder else _opener(path, embedder, adapter)
    progress = make_progress()
    try:
        findings = verify_index(path, opens, progress)
    finally:
        progress.end()
    sound = worst(findings) is not Severity.FAIL
    if as_json:
        print_json({"index": str(path), "ok": sound, "findings": [f.as_dict() for f in findings]})
    else:
        print_findings(findings)
        click.echo(f"{_shown(str(path))}: {'verified' if sound else 'NOT as it should be'}")
    if not sound:
        sys.exit(1)


def _opener(path: Path, embedder: str | None, adapter: str | None) -> Callable[[], Embedder]:
    """Return what opens the embedder that an index names."""

    def opens() -> Embedder:
        from loragraft.embedding.opening import open_embedder
        from loragraft.embedding.spec import spec_from_json
        from loragraft.rag.index.layout import read_info
        from loragraft.rag.naming import name_stored

        return open_embedder(name_stored(spec_from_json(read_info(path).spec), embedder, adapter))

    return opens
