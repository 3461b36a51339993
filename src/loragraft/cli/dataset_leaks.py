"""``loragraft dataset leaks``: find what a test set gives away, or is given away by."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loragraft.cli.paths import PATH
from loragraft.errors import InputError

if TYPE_CHECKING:
    from loragraft.dataset.leaks.evidence import CorpusUse
    from loragraft.dataset.leaks.report import Count, Leak, LeakReport
    from loragraft.embedding.protocol import Embedder

SPLITS = Path("evaluation/datasets/splits")
CORPUS_USES = ("retrieval", "training")
DEFAULT_NEAR, LEAST_NEAR = 0.9, 0.6
DEFAULT_SHOWN = 5
WIDTH = 80
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


@click.command()
@click.argument("sources", metavar="TAG|MANIFEST|NAME=FILE...", nargs=-1, required=True)
@click.option("--splits", "folder", type=PATH, default=SPLITS, show_default=True,
              help="Folder of the splits that TAG names.")  # fmt: skip
@click.option("--corpus", type=PATH, multiple=True, metavar="PATH",
              help="Documents, as an index takes them; may be repeated.")  # fmt: skip
@click.option("--corpus-for", "use", type=click.Choice(CORPUS_USES), default="retrieval",
              show_default=True,
              help="retrieval: must hold the test's evidence. training: must not.")  # fmt: skip
@click.option("--training-text", type=PATH, multiple=True, metavar="PATH",
              help="Another file or folder that is trained on; may be repeated.")  # fmt: skip
@click.option("--embedder", metavar="NAME",
              help="Finds paraphrases: a SentenceTransformer or model2vec model by folder or name, "
              "ollama:MODEL, or URL#MODEL of an endpoint as OpenAI's.")  # fmt: skip
@click.option("--near", type=click.FloatRange(LEAST_NEAR, 1.0), default=DEFAULT_NEAR,
              show_default=True, metavar="COSINE",
              help="From here on two questions are one, by words or meaning.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit with 1 if there are leaks or gaps.")
@click.option("--limit", type=click.IntRange(min=0), default=DEFAULT_SHOWN, show_default=True,
              help="Findings of a kind that are printed.")  # fmt: skip
@click.option("--html", "page", type=PATH, metavar="FILE", help="Write the report as one page.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def leaks(
    sources: tuple[str, ...],
    folder: Path,
    corpus: tuple[Path, ...],
    use: CorpusUse,
    training_text: tuple[Path, ...],
    embedder: str | None,
    near: float,
    strict: bool,
    limit: int,
    page: Path | None,
    as_json: bool,
) -> None:
    """Find what one split gives away of another.

    The same question, letter by letter, but for case and punctuation, in nearly the same words, in
    other words (--embedder); answers that stand in a question of another split; questions inside
    texts that are trained on, and inside a corpus; gold evidence and the corpus. Splits of another
    make are named one by one: train=a.jsonl test=b.jsonl.
    """
    from loragraft.cli.output import print_json
    from loragraft.cli.progress import make_progress
    from loragraft.dataset.leaks.find import find_leaks

    title, files = _splits(sources, folder)
    if page is not None:
        _check_page(page, (*files.values(), *corpus, *training_text))
    progress = make_progress()
    opened: AbstractContextManager[Embedder | None] = nullcontext()
    try:
        if embedder is not None:
            opened = closing(_embedder(embedder, progress.note))
        with opened as model:
            report = find_leaks(
                files, corpus=corpus, corpus_use=use, training_text=training_text,
                embedder=model, near=near, progress=progress,
            )  # fmt: skip
    finally:
        progress.end()
    if page is not None:
        _write(page, report, title)
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(report, limit)
        if page is not None:
            click.echo(f"Page: {page}")
    if strict and not report.clean:
        sys.exit(1)


def _splits(sources: tuple[str, ...], folder: Path) -> tuple[str, Mapping[str, Path]]:
    """Return what a report is about, and the files of the splits by name."""
    if any("=" in source for source in sources) and not os.path.exists(sources[0]):
        return ", ".join(sources), _named(sources)
    if len(sources) > 1:
        raise click.UsageError("Give one TAG or MANIFEST, or each split as NAME=FILE.")
    from loragraft.dataset.split.load import find_split
    from loragraft.dataset.split.manifest import SUFFIX

    if Path(sources[0]).is_file() and not sources[0].endswith(SUFFIX):
        raise click.UsageError(
            f"{sources[0]} is one file, and no manifest of a split. Divide it by dataset split, or "
            "give each split as NAME=FILE, such as train=a.jsonl test=b.jsonl."
        )
    found = find_split(sources[0], folder)
    return found.tag, found.files


def _named(sources: tuple[str, ...]) -> Mapping[str, Path]:
    files: dict[str, Path] = {}
    for source in sources:
        name, sign, path = source.partition("=")
        if not name or not sign or not path:
            raise click.UsageError(f"{source!r} is no NAME=FILE.")
        if name in files:
            raise click.UsageError(f"The split {name!r} is named twice.")
        files[name] = PATH.convert(path, None, None)
    return files


def _embedder(name: str, on_note: Callable[[str], object]) -> Embedder:
    from loragraft.embedding.opening import open_embedder
    from loragraft.rag.naming import name_embedder

    return open_embedder(name_embedder(name), on_note)


def _check_page(page: Path, read: Iterable[Path]) -> None:
    """Refuse a page that would take the place of what is read, or of what is no file."""
    if page.exists() and not page.is_file():
        raise InputError(f"{page} cannot be written: it is no regular file. Name a file.")
    for path in read:
        if page.exists() and path.exists() and page.samefile(path):
            raise InputError(f"{page} would be overwritten, but it is read: choose another --html.")


def _write(page: Path, report: LeakReport, title: str) -> None:
    from loragraft.artifact.files import write_atomically
    from loragraft.dataset.leaks.page import render_page

    try:
        write_atomically(page, render_page(report, title).encode("utf-8", "backslashreplace"))
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{page} cannot be written: {reason}. Name a file in a folder that there is."
        ) from None


def _print_report(report: LeakReport, limit: int) -> None:
    from textwrap import fill

    from loragraft.chat.cleaning import clean
    from loragraft.cli.output import print_table, print_warnings
    from loragraft.dataset.leaks.report import FAILING, NEXT_STEPS

    sizes = ", ".join(f"{count:,} in {clean(name)}" for name, count in report.records.items())
    how = f"words or meaning ({clean(report.embedder)})" if report.embedder else "words"
    click.echo(f"Records: {sizes}. One question from a cosine of {report.near:g} on, of {how}.")
    if report.evidence:
        held, wanted = report.evidence["in_corpus"], report.evidence["passages"]
        click.echo(f"Gold passages of what is tested: {held:,} of {wanted:,} are in the corpus.")
    if report.counts:
        names = [n for n in report.records if any(n in count.records for count in report.counts)]
        rows = [
            [c.kind, c.severity, f"{c.found:,}", *(_share(c, name, report) for name in names)]
            for c in report.counts
        ]
        print_table("Leaks", ["kind", "verdict", "found", *(f"in {n}" for n in names)], rows)
    for count in report.counts:
        found = [k for k in report.leaks if (k.kind, k.severity) == (count.kind, count.severity)]
        for leak in found[:limit]:
            _print_leak(leak)
        if limit and count.found > len(found[:limit]):
            click.echo(f"... and {count.found - limit:,} more: {count.kind}, {count.severity}\n")
    print_warnings(report.unchecked)
    click.echo(report.verdict)
    for kind in dict.fromkeys(c.kind for c in report.counts if c.severity in FAILING):
        click.echo(fill(f"{kind}: {NEXT_STEPS[kind]}", WIDTH, subsequent_indent="  "))


def _share(count: Count, name: str, report: LeakReport) -> str:
    found = count.records.get(name, 0)
    return f"{found:,} ({found / report.records[name]:.1%})" if found else ""


def _print_leak(leak: Leak) -> None:
    """Print one finding: what it is, then the texts of both sides."""
    from textwrap import fill

    from loragraft.chat.cleaning import clean

    click.echo(f"{leak.kind} ({leak.severity}, {leak.score:.2f}): {clean(leak.why)}")
    for side in (leak.first, leak.second):
        click.echo(f"  {clean(side.where)}, {clean(side.id)}")
        if side.text:
            text = clean(" ".join(side.text.split()))
            click.echo(fill(text, WIDTH, initial_indent="    ", subsequent_indent="    "))
    click.echo()
