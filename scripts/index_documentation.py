"""Index a large collection of real documentation, update it, ask it, and print what it cost.

    python scripts/index_documentation.py --folder /usr/share/doc/python3.11/html --index /tmp/big

Any folder of documents will do; what Debian's packages python3.11-doc and postgresql-doc-15 bring
makes 25,000 chunks. One document in a hundred is held back from the build and comes with an
update, so that both are measured on real text. Prints a Markdown table. A run that was ended goes
on where it was; with the index whole, its build is not measured again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from loragraft.artifact.progress import BYTES
from loragraft.artifact.space import format_bytes
from loragraft.cli.progress import make_progress
from loragraft.embedding.opening import open_embedder
from loragraft.embedding.protocol import Embedder
from loragraft.embedding.spec import DEFAULT_EMBEDDER, EmbedderSpec
from loragraft.rag.chunking.settings import choose_chunking
from loragraft.rag.collection import PARTS
from loragraft.rag.corpus import Unchanged, read_corpus
from loragraft.rag.index.build import build_index
from loragraft.rag.index.layout import read_info
from loragraft.rag.index.options import BuildOptions, BuildReport
from loragraft.rag.index.stats import measure_index
from loragraft.rag.index.store import open_index
from loragraft.rag.index.update import options_of, update_index
from loragraft.rag.records import Document, Skipped

HELD_BACK = 100
"""One document in so many comes later, with an update."""

QUERIES = 200
"""Questions of the speed measurement: headings of the collection itself, spread over it."""

QUESTIONS = (
    "How do I read a file line by line?",
    "What does a context manager do when an exception is raised?",
    "How are floating point numbers rounded?",
    "How can I run a command and capture its output?",
    "Which lock does a table need when a column is added?",
    "How do I restore a database from a backup?",
    "When does the query planner use an index?",
    "What happens to a transaction that waits for another one for ever?",
)
"""Asked where no others are given; they suit the packages named above."""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    step: str
    documents: int
    chunks: int
    embedded: int
    seconds: float
    note: str = ""


class Collection:
    """The documents of some folders, with or without those that come later."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Read nothing yet."""
        self.folders = list(folders)

    def first(self) -> Iterator[Document | Skipped | Unchanged]:
        """Yield what the build gets."""
        for item in read_corpus(self.folders):
            if isinstance(item, Skipped) or (
                isinstance(item, Document) and not is_held_back(item.doc_id)
            ):
                yield item

    def again(
        self, known: Callable[[str], str | None], *, whole: bool
    ) -> Iterator[Document | Skipped | Unchanged]:
        """Yield what an update gets: the files that did not change are not read again."""
        for item in read_corpus(self.folders, known=known):
            if whole or isinstance(item, Skipped) or not is_held_back(item.doc_id):
                yield item


def is_held_back(doc_id: str) -> bool:
    """Tell whether a document comes later."""
    return int(hashlib.sha256(doc_id.encode()).hexdigest(), 16) % HELD_BACK == 0


def main(argv: Sequence[str] | None = None) -> int:
    """Do it all."""
    options = _options(argv)
    spec = EmbedderSpec(options.embedder)
    embedder = open_embedder(spec)
    collection = Collection(options.folder)
    built = _built(collection, embedder, spec, options.index)
    rows = [built, *_updated(collection, embedder, options.index, built)]
    print("\n".join(_table(rows, options.index)))
    print()
    print("\n".join(_asked(embedder, options.index, options.question or QUESTIONS)))
    embedder.close()
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--folder", type=Path, required=True, action="append",
        help="of documents; may be given several times",
    )  # fmt: skip
    parser.add_argument("--index", type=Path, required=True, help="where the index is made")
    parser.add_argument("--embedder", default=DEFAULT_EMBEDDER, help="a model's name or folder")
    parser.add_argument("--question", action="append", help="to ask in the end")
    return parser.parse_args(argv)


class Stages:
    """A progress that remembers how long each stage took."""

    def __init__(self) -> None:
        """Show it as the command line does."""
        self._inner = make_progress()
        self._stage, self._start = "", time.monotonic()
        self.seconds: dict[str, float] = {}

    def begin(self, stage: str, total: int, unit: str = BYTES) -> None:
        """Start a stage."""
        self._stop()
        self._stage = stage
        self._inner.begin(stage, total, unit)

    def advance(self, count: int) -> None:
        """Say so."""
        self._inner.advance(count)

    def note(self, text: str) -> None:
        """Say so."""
        self._inner.note(text)

    def end(self) -> None:
        """End the last stage."""
        self._stop()
        self._inner.end()

    def _stop(self) -> None:
        now = time.monotonic()
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._start
        self._stage, self._start = "", now


def _built(collection: Collection, embedder: Embedder, spec: EmbedderSpec, target: Path) -> Row:
    """Build the index, or tell what building it took when it was built."""
    figures = target.with_name(target.name + ".figures.json")
    if figures.exists() and (target / "index.json").exists():
        return Row(**json.loads(figures.read_text(encoding="utf-8")))
    chunking = choose_chunking(embedder)
    options = BuildOptions(
        chunking=chunking.to_json(),
        spec=spec.to_json(),
        sources=tuple(str(folder.absolute()) for folder in collection.folders),
        parts=PARTS,
    )
    stages = Stages()
    report = build_index(
        target,
        collection.first(),
        embedder,
        chunking.splitter(embedder),
        options=options,
        progress=stages,
    )
    row = _row("build from 99 % of the documents", report, _by_stage(report, stages))
    figures.write_text(json.dumps(vars(row)), encoding="utf-8")
    return row


def _updated(collection: Collection, embedder: Embedder, target: Path, built: Row) -> Iterator[Row]:
    """Update the index: nothing new, then what was held back."""
    for step, whole in (
        ("update, nothing changed", False),
        ("update, the other 1 % added", True),
    ):
        info = read_info(target)
        chunking = choose_chunking(embedder, stored=info.chunking)
        stages = Stages()
        report = update_index(
            target,
            partial(collection.again, whole=whole),
            embedder,
            chunking.splitter(embedder),
            options=replace(options_of(info), parts=PARTS),
            progress=stages,
        )
        share = f"{report.seconds / built.seconds:.2%} of the build's time"
        yield _row(step, report, f"{share}; {_by_stage(report, stages)}")


def _row(step: str, report: BuildReport, note: str) -> Row:
    return Row(
        step, report.documents, report.chunks, report.embedded, round(report.seconds, 2), note
    )


def _by_stage(report: BuildReport, stages: Stages) -> str:
    parts = []
    for stage, seconds in stages.seconds.items():
        if stage.startswith("Embedding") and report.embedded:
            parts.append(f"embedding {seconds:.1f} s ({report.embedded / seconds:.1f} chunks/s)")
        elif seconds >= 0.05:
            parts.append(f"{stage[:1].lower()}{stage[1:]} {seconds:.1f} s")
    return ", ".join(parts)


def _table(rows: Sequence[Row], target: Path) -> Iterator[str]:
    yield "| step | documents | chunks | embedded | seconds | of that |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        yield (
            f"| {row.step} | {row.documents:,} | {row.chunks:,} | {row.embedded:,} "
            f"| {row.seconds:,.1f} | {row.note} |"
        )
    with open_index(target) as index:
        stats = measure_index(index)
        skipped = index.skipped()
    yield ""
    yield (
        f"{stats.documents:,} documents, {stats.characters:,} characters, {stats.chunks:,} chunks "
        f"of {stats.shortest} to {stats.longest} tokens (median {stats.median}); "
        f"{format_bytes(sum(stats.bytes.values()))} on the disk, {stats.bytes_per_chunk:,} bytes "
        f"a chunk, of which searching maps {stats.memory_per_chunk:,}; {len(skipped)} sources "
        "skipped."
    )
    for item in skipped:
        yield f"- {item.source}: {item.reason}"


def _asked(embedder: Embedder, target: Path, questions: Sequence[str]) -> Iterator[str]:
    """Ask; first for the time it takes, then for a person to read."""
    with open_index(target) as index:
        rows = range(0, len(index), max(1, len(index) // QUERIES))
        texts = [" ".join(chunk.headings) or chunk.text[:80] for chunk in index.chunks(rows)]
        index.search_dense(embedder.embed([texts[0]], query=True), 10)
        embedding, searching = [], []
        for text in texts:
            start = time.perf_counter()
            vector = embedder.embed([text], query=True)
            middle = time.perf_counter()
            index.chunks(index.search_dense(vector, 10)[1][0])
            embedding.append(middle - start)
            searching.append(time.perf_counter() - middle)
        yield (
            f"A query of this index (median of {len(texts)}): {_ms(embedding)} to embed the "
            f"question, {_ms(searching)} to search ({index.info.search.kind}) and read 10 "
            f"passages; {os.cpu_count()} cores."
        )
        yield ""
        yield "| question | best passage | cosine |"
        yield "|---|---|---|"
        for question in questions:
            scores, found = index.search_dense(embedder.embed([question], query=True), 1)
            best = index.chunks(found[0])[0]
            place = " > ".join(dict.fromkeys((best.title, *best.headings)))
            yield f"| {question} | {best.doc_id}: {place} | {scores[0][0]:.2f} |".replace("\n", " ")


def _ms(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.1f} ms"


if __name__ == "__main__":
    sys.exit(main())
