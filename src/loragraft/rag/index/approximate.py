"""Approximate search for large indexes: which kind, how built, and how much it finds.

Which kind, where nobody says: the inverted file (IVF) finds more in less time than the graph
(HNSW) on clustered vectors from 10^5 on, is built many times faster and lets chunks leave; where
memory cannot hold its copy of the vectors, they are compressed (PQ) and the candidates compared
again with the exact ones. However it is built, its recall is measured, and the effort of a query
raised until it finds enough; if it never does, search stays exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from loragraft.artifact.space import require_memory
from loragraft.errors import InputError
from loragraft.rag.index.dense import (
    BLOCK_ROWS,
    FLOAT_BYTES,
    ExactVectors,
    Floats,
    Rows,
    blocks_of,
    clean,
    load_faiss,
    parameter,
    questions_beside,
    read_index,
    shares_found,
)
from loragraft.rag.index.layout import Asked, Kind, SearchInfo

APPROXIMATE_FROM = 100_000
"""Chunks from which search is approximate unless someone says otherwise: exact search of 10^5
vectors of 384 dimensions takes some 6 ms on one thread, which nobody notices beside the
embedding of the question."""
SMALLEST = 1000
"""Chunks below which no approximate index can be trained, whoever asks for one."""
TARGET_RECALL = 0.95
"""Of the ten nearest; what is lost beyond that shows in answers."""
RECALL_AT = 10
SAMPLE = 200
"""Questions beside so many chunks that recall is measured on."""
ONE_SIDED = 1.645
"""Standard errors that recall must lie above the target by: a graph finds of a question's ten all
or none, and 0.95 on 200 questions was 0.89 on others (HNSW, 10^6)."""
MEMORY_SHARE = 0.25
"""Of the available memory that an index's copy of the vectors may take before it is compressed."""
EFFORT, CANDIDATES = "effort", "candidates"
"""Names of parameters: how much of the index a query looks at, and how many compressed vectors it
compares again."""
GRAPH_LINKS, GRAPH_BUILD_EFFORT = 32, 80
LISTS_PER_ROOT = 4
"""Lists of an inverted file per square root of the number of vectors."""
TRAINED_PER_LIST = 64
"""Vectors that each list's centre is learned from; FAISS asks for 39 at least."""
BYTES_PER_DIMENSIONS = 8
"""Dimensions that share a byte of a compressed vector."""
REFINED = 10
"""Candidates per wanted result that are compared again exactly, where vectors are compressed, at
least; for :data:`RECALL_AT` results as many as recall needs."""
MOST_CANDIDATES = 1600
"""Candidates of which reading the exact vectors takes about a millisecond."""
MOST_EFFORT = 4096
_LINK_BYTES = 10
"""Of a graph, a link: four bytes, twice as many on the lowest level, and some above it."""
_SEED = 20251101


def choose_kind(asked: Asked, count: int, dimensions: int, threshold: int, memory: int) -> Kind:
    """Choose how so many vectors are searched.

    Args:
        asked: What the user wants.
        count: How many vectors.
        dimensions: Their length.
        threshold: How many make ``auto`` approximate.
        memory: Bytes that are available.
    """
    if count < SMALLEST or (asked == "auto" and count < threshold):
        return "exact"
    if asked != "auto":
        return asked
    fits = count * dimensions * FLOAT_BYTES <= memory * MEMORY_SHARE
    return "ivf" if fits else "ivf-pq"


class Approximate:
    """An approximate index over the rows of exact vectors.

    Attributes:
        kind: Which.
        parameters: How it was built, and the effort of a query.
        index: FAISS's.
    """

    def __init__(
        self,
        kind: Kind,
        parameters: Mapping[str, int],
        index: Any,  # noqa: ANN401
        exact: ExactVectors,
    ) -> None:
        """Put the parts together; :func:`build` and :func:`open_approximate` are the ways."""
        self.kind, self.parameters, self.index = kind, dict(parameters), index
        self._exact = exact

    def search(self, vectors: Floats, k: int) -> tuple[Floats, Rows]:
        """Find near vectors, as :meth:`ExactVectors.search` does."""
        effort = parameter(self.parameters, EFFORT)
        options = self._options(effort)
        if self.kind != "ivf-pq":
            return clean(*self.index.search(vectors, k, params=options))
        wide = max(k * REFINED, parameter(self.parameters, CANDIDATES))
        wide = max(k, min(wide, len(self._exact)))
        _rough, rows = self.index.search(vectors, wide, params=options)
        return self._refined(vectors, rows, k)

    def _options(self, effort: int) -> Any:  # noqa: ANN401
        faiss = load_faiss()
        if self.kind == "hnsw":
            return faiss.SearchParametersHNSW(efSearch=effort)
        return faiss.SearchParametersIVF(nprobe=effort)

    def _refined(self, vectors: Floats, rows: Rows, k: int) -> tuple[Floats, Rows]:
        scores = np.full((len(vectors), k), -np.inf, np.float32)
        best = np.full((len(vectors), k), -1, np.int64)
        array = self._exact.array
        for number, query in enumerate(vectors):
            candidates = rows[number][rows[number] >= 0]
            exact = array[candidates] @ query
            order = np.argsort(-exact, kind="stable")[:k]
            scores[number, : len(order)], best[number, : len(order)] = (
                exact[order], candidates[order],
            )  # fmt: skip
        return scores, best

    def measured(self, target: float = TARGET_RECALL) -> SearchInfo | None:
        """Measure recall, raising what a query costs until the target is met.

        Returns:
            What was found, or None where no cost is enough.
        """
        generator = np.random.default_rng(_SEED)
        size = min(SAMPLE, len(self._exact))
        sample = np.sort(generator.choice(len(self._exact), size, replace=False))
        asked = questions_beside(self._exact.array, sample, _SEED)
        wanted = self._exact.search(asked, RECALL_AT)[1]
        recall, sure = self._recall(self.parameters, asked, wanted)
        while sure < target:
            tried = [(*self._recall(p, asked, wanted), p) for p in self._costlier()]
            if not tried:
                return None
            recall, sure, self.parameters = max(tried, key=lambda trial: trial[:2])
        return SearchInfo(self.kind, dict(self.parameters), round(recall, 4), size)

    def _recall(
        self, parameters: dict[str, int], asked: Floats, wanted: Rows
    ) -> tuple[float, float]:
        """Return recall, and what it is at least: 95 % sure, questions being all or nothing."""
        self.parameters = parameters
        shares = shares_found(self.search(asked, RECALL_AT)[1], wanted)
        recall = float(shares.mean())
        return recall, recall - ONE_SIDED * float(shares.std()) / len(shares) ** 0.5

    def _costlier(self) -> list[dict[str, int]]:
        """Return the ways to spend about twice as much on a query."""
        now, most = self.parameters, self.parameters.get("lists", len(self._exact))
        limits = {EFFORT: min(most, MOST_EFFORT)}
        if CANDIDATES in now:
            limits[CANDIDATES] = min(MOST_CANDIDATES, len(self._exact))
        return [
            {**now, name: min(2 * now[name], limit)}
            for name, limit in limits.items()
            if now[name] < limit
        ]


def open_approximate(path: Path, info: SearchInfo, exact: ExactVectors) -> Approximate:
    """Open the approximate index of an index.

    Raises:
        FileNotFoundError: If its file is not there.
        InputError: If FAISS cannot read it, or it is over other vectors.
    """
    faiss, index = load_faiss(), read_index(path)
    right = {"hnsw": faiss.IndexHNSW, "ivf": faiss.IndexIVF, "ivf-pq": faiss.IndexIVFPQ}
    fits = (index.ntotal, index.d) == (len(exact), exact.dimensions)
    if not fits or not isinstance(index, right.get(info.kind, ())):
        raise InputError(
            f"{path} holds no {info.kind} index over {len(exact)} vectors of {exact.dimensions} "
            "dimensions. Build the index again with loragraft rag index --replace."
        )
    return Approximate(info.kind, info.parameters, index, exact)


def build(kind: Kind, exact: ExactVectors) -> Approximate:
    """Build an approximate index over all exact vectors.

    Args:
        kind: Not ``exact``.
        exact: The vectors.

    Raises:
        OutOfMemoryError: If a graph does not fit.
    """
    faiss = load_faiss()
    if kind == "hnsw":
        size = len(exact) * (exact.dimensions * FLOAT_BYTES + GRAPH_LINKS * _LINK_BYTES)
        require_memory(size, "Building a graph over the vectors", "Take --search ivf-pq.")
        index = faiss.IndexHNSWFlat(exact.dimensions, GRAPH_LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = GRAPH_BUILD_EFFORT
        parameters = {"links": GRAPH_LINKS, EFFORT: 64}
    else:
        index, lists = _inverted(kind, exact)
        parameters = {"lists": lists, EFFORT: min(16, lists)}
        if kind == "ivf-pq":
            parameters[CANDIDATES] = RECALL_AT * REFINED
    for block in blocks_of(exact.array):
        index.add(block)
    return Approximate(kind, parameters, index, exact)


def _inverted(kind: Kind, exact: ExactVectors) -> tuple[Any, int]:
    faiss = load_faiss()
    count, width = len(exact), exact.dimensions
    lists = max(1, int(LISTS_PER_ROOT * sqrt(count)))
    lists = min(lists, max(1, count // 39))
    coarse, metric = faiss.IndexFlatIP(width), faiss.METRIC_INNER_PRODUCT
    if kind == "ivf":
        index = faiss.IndexIVFFlat(coarse, width, lists, metric)
    else:
        index = faiss.IndexIVFPQ(coarse, width, lists, _pieces(width), 8, metric)
        index.pq.cp.min_points_per_centroid = 1  # recall is measured: no warning is needed
    index.cp.seed = 1
    index.train(_training_rows(exact, lists * TRAINED_PER_LIST))
    return index, lists


def _pieces(width: int) -> int:
    """Return how many bytes a compressed vector takes: a divisor of its dimensions."""
    most = max(1, width // BYTES_PER_DIMENSIONS)
    return next(count for count in range(most, 0, -1) if width % count == 0)


def _training_rows(exact: ExactVectors, wanted: int) -> Floats:
    count = len(exact)
    if wanted >= count:
        return exact.array
    rows = np.random.default_rng(_SEED).choice(count, wanted, replace=False)
    return np.ascontiguousarray(exact.array[np.sort(rows)])


def updated(
    path: Path, info: SearchInfo, exact: ExactVectors, source: Rows, old_rows: int
) -> Approximate | None:
    """Bring an approximate index up to date, where that is less than building it again.

    Args:
        path: The old index's file.
        info: What it is.
        exact: The vectors as they are now.
        source: For each row of now its old row, or -1.
        old_rows: How many there were.

    Returns:
        The new index, or None where it has to be built again: the graph lets nobody leave, and
        lists that were learned from much fewer vectors fit badly.
    """
    stays = source == np.arange(len(source))
    kept = int(stays.sum())
    if info.kind == "exact" or len(source) > 2 * old_rows or kept < len(source) // 2:
        return None
    gone = np.setdiff1d(np.arange(old_rows), np.nonzero(stays)[0], assume_unique=True)
    if info.kind == "hnsw" and len(gone):
        return None
    index = read_index(path, mapped=False)
    if len(gone):
        index.remove_ids(gone)
    _add(index, info.kind, exact, np.nonzero(~stays)[0])
    return Approximate(info.kind, info.parameters, index, exact)


def _add(index: Any, kind: str, exact: ExactVectors, rows: Rows) -> None:  # noqa: ANN401
    for first in range(0, len(rows), BLOCK_ROWS):
        part = rows[first : first + BLOCK_ROWS]
        vectors = np.ascontiguousarray(exact.array[part])
        if kind == "hnsw":  # its rows follow one another
            index.add(vectors)
        else:
            index.add_with_ids(vectors, part)
