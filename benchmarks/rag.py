"""Building, updating and searching an index: ratios to the bare libraries, in one run.

- ``build``: real text (the docstrings of Python's standard library) through build_index, beside
  sentence-transformers' own ``encode`` of the same chunks in one sorted batch run, and a loop
  that embeds one chunk at a time; then an update without a change, and one with 1 % more
  documents. Builds and encodes alternate; medians are compared.
- ``search``: synthetic clustered vectors of 384 dimensions through the same build (their embedder
  looks them up), then single questions: Index.search_dense and the chunks it leads to, beside the
  bare ``search`` of FAISS on the same vectors; exact and each approximate kind, with its recall.

    python benchmarks/rag.py build --documents 60 --runs 3 --json build.json
    python benchmarks/rag.py search --chunks 100000 --json search.json
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from loragraft.embedding.opening import open_embedder
from loragraft.embedding.protocol import Embedder
from loragraft.embedding.spec import EmbedderSpec
from loragraft.rag.chunking.chunk import embedded_text, split
from loragraft.rag.index.build import build_index
from loragraft.rag.index.dense import ExactVectors, load_faiss, overlap
from loragraft.rag.index.options import BuildOptions
from loragraft.rag.index.stats import measure_index
from loragraft.rag.index.store import open_index
from loragraft.rag.index.update import update_index
from loragraft.rag.records import Chunk, Document

WIDTH = 384
CLUSTERS_PER_ROOT = 1.0
"""Clusters per square root of the number of vectors."""
SPREAD = 0.6
"""Length of the noise around a cluster's centre, whose own length is 1."""
PER_DOCUMENT = 100
K = 10
QUESTIONS = 50
BUILD_TARGET, UNCHANGED_TARGET = 0.95, 0.02
EXACT_TARGET, SMALL_TARGET_SECONDS = 1.3, 0.001
RECALL_TARGET = 0.95


def real_documents(count: int) -> list[Document]:
    """Return modules of the standard library as documents: what their docstrings say."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    found = []
    for path in sorted(folder.glob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
        texts = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
        text = "\n\n".join(text for text in texts if text)
        if len(text) > 2000:
            found.append(_document(path.stem, text))
        if len(found) == count:
            break
    return found


def _document(name: str, text: str) -> Document:
    return Document(name, name, text, {}, (), hashlib.sha256(text.encode()).hexdigest())


class Looked:
    """An embedder whose texts are numbers of vectors that are there already."""

    name, dimensions, max_tokens = "synthetic", WIDTH, 254
    identity = {"kind": "synthetic"}  # noqa: RUF012

    def __init__(self, vectors: np.ndarray) -> None:
        """Keep the vectors."""
        self._vectors = vectors

    def embed(self, texts: Sequence[str], **_options: object) -> np.ndarray:
        """Look vectors up."""
        return self._vectors[[int(text) for text in texts]]


def clustered(count: int) -> np.ndarray:
    """Return unit vectors in clusters, in random order."""
    generator = np.random.default_rng(0)
    clusters = max(1, int(CLUSTERS_PER_ROOT * count**0.5))
    centres = generator.standard_normal((clusters, WIDTH), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors = np.empty((count, WIDTH), np.float32)
    for first in range(0, count, 10_000):
        size = min(10_000, count - first)
        noise = generator.standard_normal((size, WIDTH), dtype=np.float32)
        noise *= SPREAD / np.linalg.norm(noise, axis=1, keepdims=True)
        block = centres[generator.integers(clusters, size=size)] + noise
        vectors[first : first + size] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return vectors


def numbered_documents(count: int) -> Iterator[Document]:
    """Return documents that are split into the numbers from 0 on."""
    for first in range(0, count, PER_DOCUMENT):
        numbers = range(first, min(first + PER_DOCUMENT, count))
        yield _document(f"d{first}", " ".join(map(str, numbers)))


def split_numbers(document: Document) -> list[Chunk]:
    """Return a chunk for each number of a document."""
    chunks, start = [], 0
    for text in document.text.split():
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        name, stop = f"{document.doc_id}:{start}", start + len(text)
        chunks.append(Chunk(name, document.doc_id, "", (), start, stop, text, 1, sha256))
        start = stop + 1
    return chunks


def seconds(action: Callable[[], object]) -> float:
    """Return how long something takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure_build(documents: int, runs: int) -> dict[str, Any]:
    """Measure building and updating beside sentence-transformers."""
    embedder = open_embedder(EmbedderSpec())
    budget = embedder.max_tokens
    corpus = real_documents(documents + max(1, documents // 100))
    first, more = corpus[:documents], corpus

    def cut(document: Document) -> Sequence[Chunk]:
        return split(document, embedder, budget)

    texts = [embedded_text(chunk) for document in first for chunk in cut(document)]
    model = _bare_model(embedder)
    embedder.embed(texts[:64])  # warm
    builds, bare = [], []
    with tempfile.TemporaryDirectory() as folder:
        for run in range(runs):
            target = Path(folder) / f"index{run}"
            builds.append(seconds(lambda: build_index(target, first, embedder, cut)))  # noqa: B023
            bare.append(seconds(lambda: model.encode(texts, normalize_embeddings=True)))
        naive_texts = texts[:: max(1, len(texts) // 50)]
        naive = seconds(lambda: [model.encode(text) for text in naive_texts])
        unchanged = seconds(lambda: update_index(target, first, embedder, cut))
        grown = seconds(lambda: update_index(target, more, embedder, cut))
        with open_index(target) as index:
            stats = measure_index(index)
    build = median(builds)
    return {
        "chunks": len(texts), "build": build, "encode": median(bare),
        "speed": median(bare) / build, "chunks_per_second": len(texts) / build,
        "one_at_a_time": naive / len(naive_texts) * len(texts),
        "unchanged": unchanged / build, "one_percent_more": grown / build,
        "bytes_per_chunk": stats.bytes_per_chunk, "memory_per_chunk": stats.memory_per_chunk,
    }  # fmt: skip


def _bare_model(embedder: Embedder) -> Any:  # noqa: ANN401
    from sentence_transformers import SentenceTransformer

    from loragraft.embedding.finding import find_folder

    return SentenceTransformer(str(find_folder(embedder.name)), device="cpu")


def measure_search(count: int, kinds: Sequence[str]) -> dict[str, Any]:
    """Measure questions to indexes of one size, each kind beside FAISS alone."""
    vectors = clustered(count)
    noise = np.random.default_rng(1).standard_normal((QUESTIONS, WIDTH)).astype(np.float32)
    questions = vectors[:: max(1, count // QUESTIONS)][:QUESTIONS] + 0.02 * noise
    questions /= np.linalg.norm(questions, axis=1, keepdims=True)
    found: dict[str, Any] = {"chunks": count}
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            options = BuildOptions(search=kind, approximate_from=0)  # type: ignore[arg-type]
            target, embedder = Path(folder) / kind, Looked(vectors)
            start = time.perf_counter()
            build_index(target, numbered_documents(count), embedder, split_numbers, options=options)  # type: ignore[arg-type]
            found[kind] = {"build": time.perf_counter() - start, **_ask(target, questions)}
    return found


def _ask(target: Path, questions: np.ndarray) -> dict[str, Any]:
    faiss = load_faiss()
    with open_index(target) as index:
        path = target / index.info.files["vectors"].name
        bare: Any = faiss.read_index(str(path))  # whole in memory
        search: Callable[[np.ndarray], Any] = lambda q: bare.search(q, K)  # noqa: E731
        if index.approximate is not None:
            inner = index.approximate
            options = inner._options(inner.parameters["effort"])
            search = lambda q: inner.index.search(q, K, params=options)  # noqa: E731

        def ours(question: np.ndarray) -> None:
            index.chunks(index.search_dense(question, K)[1][0])

        times: list[tuple[float, float]] = []
        for number in range(len(questions)):
            question = questions[number : number + 1]
            times.append((seconds(lambda: ours(question)), seconds(lambda: search(question))))  # noqa: B023
        mine, theirs = (median(column) for column in zip(*times[2:], strict=True))
        exact = ExactVectors(path, WIDTH)
        recall = overlap(index.search_dense(questions, K)[1], exact.search(questions.copy(), K)[1])
        stats = measure_index(index)
        return {
            "kind": index.info.search.kind, "query": mine, "bare": theirs, "ratio": mine / theirs,
            "more": mine - theirs, "recall": recall, "stored_recall": index.info.search.recall,
            "memory_per_chunk": stats.memory_per_chunk,
        }  # fmt: skip


def judge(figures: dict[str, Any]) -> list[str]:
    """Return which targets are missed."""
    missed = []
    if "speed" in figures:
        if figures["speed"] < BUILD_TARGET:
            missed.append(f"build at {figures['speed']:.2f} of encode")
        if figures["unchanged"] > UNCHANGED_TARGET:
            missed.append(f"unchanged update {figures['unchanged']:.1%} of the build")
    for kind, entry in figures.items():
        if not isinstance(entry, dict):
            continue
        large = figures["chunks"] >= 100_000 and entry["kind"] == "exact"
        fits = entry["ratio"] <= EXACT_TARGET if large else entry["more"] <= SMALL_TARGET_SECONDS
        if not fits:
            missed.append(f"{kind}: {entry['ratio']:.2f} times the bare search")
        if entry["recall"] < RECALL_TARGET:
            missed.append(f"{kind}: recall {entry['recall']:.3f}")
    return missed


def main() -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["build", "search"])
    parser.add_argument("--documents", type=int, default=60)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--kinds", nargs="+", default=["exact", "hnsw", "ivf", "ivf-pq"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.what == "build":
        figures = measure_build(options.documents, options.runs)
    else:
        figures = measure_search(options.chunks, options.kinds)
    missed = judge(figures)
    print(json.dumps({**figures, "missed": missed}, indent=2))
    if options.json:
        options.json.write_text(json.dumps({**figures, "missed": missed}, indent=2))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
