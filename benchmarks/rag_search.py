"""Single questions to an index of many vectors, beside FAISS alone."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loragraft.rag.index.build import build_index
from loragraft.rag.index.dense import ExactVectors, load_faiss, overlap
from loragraft.rag.index.layout import SEARCH, VECTORS, Asked
from loragraft.rag.index.options import BuildOptions, BuildReport
from loragraft.rag.index.stats import measure_index
from loragraft.rag.index.store import Index, open_index
from loragraft.rag.index.update import options_of, update_index
from loragraft.rag.records import Chunk, Document
from loragraft.rag.search.retrieve import Retriever

WIDTH = 384
CLUSTERS_PER_ROOT = 1.0
"""Clusters per square root of the number of vectors."""
SPREAD = 0.6
"""Length of the noise around a cluster's centre, whose own length is 1."""
NEAR = 0.4
"""Length of the noise that makes a question of a vector."""
PER_DOCUMENT = 100
K = 10
QUESTIONS, WARM = 60, 10
Floats = NDArray[np.float32]


class Looked:
    """An embedder whose texts are numbers of vectors that are there already."""

    name, dimensions, max_tokens = "synthetic", WIDTH, 254
    identity = {"kind": "synthetic"}  # noqa: RUF012

    def __init__(self, vectors: Floats, questions: Floats) -> None:
        """Keep the vectors."""
        self._vectors, self._questions = vectors, questions

    def embed(self, texts: Sequence[str], *, query: bool = False, **_options: object) -> Floats:
        """Look vectors up."""
        return (self._questions if query else self._vectors)[[int(text) for text in texts]]


def clustered(count: int) -> Floats:
    """Return unit vectors in clusters, in random order."""
    generator = np.random.default_rng(0)
    clusters = max(1, int(CLUSTERS_PER_ROOT * count**0.5))
    centres = _unit(generator.standard_normal((clusters, WIDTH), dtype=np.float32))
    vectors = np.empty((count, WIDTH), np.float32)
    for first in range(0, count, 10_000):
        size = min(10_000, count - first)
        noise = _unit(generator.standard_normal((size, WIDTH), dtype=np.float32))
        block = centres[generator.integers(clusters, size=size)] + SPREAD * noise
        vectors[first : first + size] = _unit(block)
    return vectors


def questions_near(vectors: Floats) -> Floats:
    """Return unit vectors near some of the others."""
    generator = np.random.default_rng(1)
    rows = generator.choice(len(vectors), QUESTIONS, replace=False)
    noise = _unit(generator.standard_normal((QUESTIONS, WIDTH), dtype=np.float32))
    return _unit(vectors[rows] + NEAR * noise)


def _unit(vectors: Floats) -> Floats:
    found: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found


def numbered_documents(count: int) -> Iterator[Document]:
    """Return documents that are split into the numbers from 0 on."""
    for first in range(0, count, PER_DOCUMENT):
        text = " ".join(map(str, range(first, min(first + PER_DOCUMENT, count))))
        yield Document(f"d{first}", "", text, sha256=hashlib.sha256(text.encode()).hexdigest())


def split_numbers(document: Document) -> list[Chunk]:
    """Return a chunk for each number of a document."""
    chunks, start = [], 0
    for text in document.text.split():
        sha256, stop = hashlib.sha256(text.encode()).hexdigest(), start + len(text)
        name = f"{document.doc_id}:{start}-{stop}"
        chunks.append(Chunk(name, document.doc_id, "", (), start, stop, text, 1, sha256))
        start = stop + 1
    return chunks


def measure_search(count: int, kinds: Sequence[Asked]) -> dict[str, Any]:
    """Measure questions to an index of so many vectors, each kind beside FAISS alone."""
    vectors = clustered(count)
    questions = questions_near(vectors)
    embedder: Any = Looked(vectors, questions)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "index"
        for kind in kinds:
            start = time.perf_counter()
            _make(target, count, embedder, kind)
            duration = time.perf_counter() - start
            found.append({"asked": kind, "seconds": duration, **_ask(target, embedder, questions)})
    return {"chunks": count, "kinds": found}


def _make(target: Path, count: int, embedder: Any, kind: Asked) -> BuildReport:  # noqa: ANN401
    documents = numbered_documents(count)
    if not (target / "index.json").exists():
        options = BuildOptions(search=kind, approximate_from=0)
        return build_index(target, documents, embedder, split_numbers, options=options)
    with open_index(target) as index:
        options = replace(options_of(index.info), search=kind)
    return update_index(target, documents, embedder, split_numbers, options=options)


def _ask(target: Path, embedder: Any, questions: Floats) -> dict[str, Any]:  # noqa: ANN401
    with open_index(target) as index:
        bare, options = _bare(index)
        retriever = Retriever(index, embedder, mode="dense")
        ours, theirs = [], []
        for number in range(len(questions)):
            question = questions[number : number + 1]
            start = time.perf_counter()
            retriever.retrieve(str(number), K)
            middle = time.perf_counter()
            bare.search(question, K, params=options)
            ours.append(middle - start)
            theirs.append(time.perf_counter() - middle)
        exact = ExactVectors(target / index.info.files[VECTORS].name, WIDTH)
        recall = overlap(index.search_dense(questions, K)[1], exact.search(questions, K)[1])
        mine, other = median(ours[WARM:]), median(theirs[WARM:])
        return {
            "kind": index.info.search.kind, "query": mine, "bare": other, "ratio": mine / other,
            "more": mine - other, "recall": recall, "stored_recall": index.info.search.recall,
            "parameters": dict(index.info.search.parameters),
            "memory_per_chunk": measure_index(index).memory_per_chunk,
        }  # fmt: skip


def _bare(index: Index) -> tuple[Any, Any]:
    """Return FAISS's index of the kind in use, whole in memory, and how it is asked."""
    faiss, info = load_faiss(), index.info.search
    role = SEARCH if SEARCH in index.info.files else VECTORS
    bare = faiss.read_index(str(index.path / index.info.files[role].name))
    if role == VECTORS:
        return bare, None
    effort = info.parameters["effort"]
    if info.kind == "hnsw":
        return bare, faiss.SearchParametersHNSW(efSearch=effort)
    return bare, faiss.SearchParametersIVF(nprobe=effort)
