"""Questions to an index of real text: each mode, embedding apart, and the whole command."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loragraft.rag.index.sameness import open_embedder_of
from loragraft.rag.index.store import Index, open_index
from loragraft.rag.search.retrieve import MODES, Mode, Retriever

QUESTIONS = 40
WORDS = 9
"""Words of a question: the first ones of a chunk's text."""
RUNS = 3
K = 5
_IMPORT = "import sentence_transformers"
_LOAD = "; sentence_transformers.SentenceTransformer({folder!r}, device='cpu').encode('a')"


class Remembered:
    """Vectors of questions that were embedded before."""

    def __init__(self, vectors: dict[str, NDArray[np.float32]]) -> None:
        """Keep them."""
        self._vectors = vectors

    def embed(self, texts: Sequence[str], **_options: object) -> NDArray[np.float32]:
        """Look vectors up."""
        return np.stack([self._vectors[text] for text in texts])


def measure_modes(path: Path) -> dict[str, Any]:
    """Measure every mode of searching an index."""
    before = _private_bytes()
    with open_index(path) as index:
        index.search_dense(index.vectors([0]), K)
        private = _private_bytes() - before
        questions = _questions(index)
        vectors, embedding = _embedded(index, questions)
        modes = {}
        for mode in MODES:
            if mode == "dense" or index.part("lexical"):
                modes[mode] = _times(index, mode, Remembered(vectors), questions)
        return {
            "chunks": len(index), "modes": modes, "embedding": embedding, "private_bytes": private,
        }  # fmt: skip


def _questions(index: Index) -> list[str]:
    rows = np.unique(np.linspace(0, len(index) - 1, QUESTIONS).astype(np.int64))
    texts = (" ".join(chunk.text.split()[:WORDS]) for chunk in index.chunks(rows))
    return sorted({text for text in texts if text})


def _embedded(
    index: Index, questions: Sequence[str]
) -> tuple[dict[str, NDArray[np.float32]], float]:
    embedder = open_embedder_of(index)
    embedder.embed(questions[:1], query=True)
    vectors, times = {}, []
    for question in questions:
        start = time.perf_counter()
        vectors[question] = embedder.embed([question], query=True)[0]
        times.append(time.perf_counter() - start)
    return vectors, median(times)


def _times(
    index: Index, mode: Mode, embedder: Remembered, questions: Sequence[str]
) -> dict[str, float]:
    retriever = Retriever(index, embedder, mode=mode)  # type: ignore[arg-type]
    retriever.retrieve(questions[0], K)
    times = []
    for question in questions:
        start = time.perf_counter()
        retriever.retrieve(question, K)
        times.append(time.perf_counter() - start)
    return {"median": median(times), "ninetieth": quantiles(times, n=10)[-1]}


def _private_bytes() -> int:
    """Return the memory of this process that is its own, files apart; 0 where nobody says."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next(int(x.split()[1]) * 1024 for x in text.splitlines() if x.startswith("RssAnon"))


def measure_command(path: Path) -> dict[str, float]:
    """Measure whole processes, each the median of some, after a first one that warms the disk."""
    with open_index(path) as index:
        question = _questions(index)[0]
        name = str(index.info.spec.get("name", ""))
    query = [sys.executable, "-m", "loragraft", "rag", "query", str(path), question]
    from loragraft.embedding.finding import find_folder

    load = _IMPORT + _LOAD.format(folder=str(find_folder(name)))
    commands = {
        "loragraft --version": [sys.executable, "-m", "loragraft", "--version"],
        "rag query, lexical": [*query, "--mode", "lexical"],
        "rag query, dense": [*query, "--mode", "dense"],
        "rag query, hybrid": [*query, "--mode", "hybrid"],
        "importing sentence-transformers alone": [sys.executable, "-c", _IMPORT],
        "importing it, loading the model, one sentence": [sys.executable, "-c", load],
    }
    return {name: _process(command) for name, command in commands.items()}


def _process(command: Sequence[str]) -> float:
    times = []
    for _run in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return median(times[1:])
