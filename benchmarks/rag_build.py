"""Building and updating an index of real text, beside sentence-transformers alone."""

from __future__ import annotations

import ast
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from loragraft.embedding.finding import find_folder
from loragraft.embedding.opening import open_embedder
from loragraft.embedding.protocol import Embedder
from loragraft.embedding.spec import EmbedderSpec
from loragraft.rag.chunking.chunk import embedded_text, split
from loragraft.rag.corpus import read_corpus
from loragraft.rag.index.build import build_index
from loragraft.rag.index.options import BuildOptions, BuildReport, Split
from loragraft.rag.index.stats import measure_index
from loragraft.rag.index.store import open_index
from loragraft.rag.index.update import update_index
from loragraft.rag.search.lexical import LEXICAL, write_lexical

SMALLEST_TEXT = 2000
"""Characters of a module's docstrings below which it is left out."""
ALONE = 50
"""Chunks that are embedded one at a time; their time is extrapolated."""


def seconds(action: Callable[[], object]) -> tuple[float, float]:
    """Return how long something takes, and how long the processor works for it here."""
    start, worked = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - start, time.process_time() - worked


def write_documents(folder: Path, first: int, count: int) -> int:
    """Write the docstrings of modules of the standard library as text files.

    Args:
        folder: Where.
        first: Modules to leave out.
        count: How many files.

    Returns:
        How many there were.
    """
    folder.mkdir(parents=True, exist_ok=True)
    library, found = Path(sysconfig.get_paths()["stdlib"]), 0
    for path in sorted((*library.glob("*.py"), *library.glob("[a-z]*/*.py"))):
        if path.parent.name in ("site-packages", "test", "idlelib"):
            continue
        text = _docstrings(path)
        if len(text) < SMALLEST_TEXT:
            continue
        found += 1
        if first < found <= first + count:
            (folder / f"{path.parent.name}-{path.stem}.txt").write_text(text, encoding="utf-8")
        if found == first + count:
            return count
    return max(0, found - first)


def _docstrings(path: Path) -> str:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return ""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds))
    return "\n\n".join(text for text in texts if text)


class Collection:
    """A folder of documents with its embedder."""

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        """Name both."""
        self.folder, self.embedder = folder, embedder
        self.options = BuildOptions(parts={LEXICAL: write_lexical}, spec=EmbedderSpec().to_json())
        budget = embedder.max_tokens
        self.split: Split = lambda document: split(document, embedder, budget)

    def build(self, target: Path) -> BuildReport:
        """Build an index."""
        documents = read_corpus([self.folder])
        return build_index(target, documents, self.embedder, self.split, options=self.options)

    def update(self, target: Path) -> BuildReport:
        """Update it."""
        return update_index(
            target, lambda known: read_corpus([self.folder], known=known), self.embedder,
            self.split, options=self.options,
        )  # fmt: skip


def build_real_index(target: Path, documents: int) -> Path:
    """Build an index of some documents."""
    write_documents(target.parent / "documents", 0, documents)
    Collection(target.parent / "documents", open_embedder(EmbedderSpec())).build(target)
    return target


def measure_build(documents: int, runs: int) -> dict[str, Any]:
    """Measure building and updating beside sentence-transformers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        embedder = open_embedder(EmbedderSpec())
        collection = Collection(folder / "documents", embedder)
        count = write_documents(collection.folder, 0, documents)
        targets = [folder / f"index{run}" for run in range(runs)]
        texts = _texts(collection)
        model = _bare_model(embedder)
        build_real_index(folder / "warm" / "index", 1)  # imports
        for one in (embedder.embed, model.encode):
            one(texts[:64])
        builds, bare = [], []
        for target in targets:
            builds.append(seconds(lambda target=target: collection.build(target)))  # type: ignore[misc]
            bare.append(seconds(lambda: model.encode(texts, normalize_embeddings=True)))
        alone = texts[:: max(1, len(texts) // ALONE)]
        naive = seconds(lambda: [model.encode(text) for text in alone])[0]
        unchanged = seconds(lambda: collection.update(targets[-1]))[0]
        write_documents(collection.folder, count, max(1, count // 100))
        start = time.perf_counter()
        report = collection.update(targets[-1])
        added = time.perf_counter() - start
        with open_index(targets[-1]) as index:
            stats = measure_index(index)
    build, encode = (median(wall for wall, _work in runs) for runs in (builds, bare))
    return {
        "documents": count, "chunks": len(texts), "runs": runs,
        "seconds": {
            "build": build, "sentence-transformers' encode, one call": encode,
            "one chunk at a time": naive / len(alone) * len(texts),
            "update without a change": unchanged,
            f"update with {report.added} more documents": added,
        },
        "ratios": [theirs[0] / ours[0] for ours, theirs in zip(builds, bare, strict=True)],
        "work_ratios": [theirs[1] / ours[1] for ours, theirs in zip(builds, bare, strict=True)],
        "speed": encode / build, "chunks_per_second": len(texts) / build,
        "unchanged": unchanged / build, "added": added / build,
        "added_share": report.chunks / len(texts) - 1,
        "bytes_per_chunk": stats.bytes_per_chunk,
    }  # fmt: skip


def _texts(collection: Collection) -> list[str]:
    chunks: list[Any] = []
    for document in read_corpus([collection.folder]):
        chunks += collection.split(document)  # type: ignore[arg-type]
    return [embedded_text(chunk) for chunk in chunks]


def _bare_model(embedder: Embedder) -> Any:  # noqa: ANN401
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(find_folder(embedder.name)), device="cpu")
