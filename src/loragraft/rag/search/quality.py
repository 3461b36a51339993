"""How well a search finds what it should: measures on labelled questions, with intervals.

Questions of one document are not independent of each other, so intervals come from drawing
documents, not questions; two searches are compared question by question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loragraft.errors import InputError
from loragraft.rag.index.store import Index
from loragraft.rag.records import Chunk

Values = NDArray[np.float64]

DRAWS = 5000
"""Of a bootstrap: the ends of its intervals are then sure to about a fiftieth of their width."""
FEW_CLUSTERS = 30
"""Below, a percentile bootstrap is too narrow (89.6 % instead of 95 with nine): a t interval over
the clusters' means is taken."""
LEVEL = 0.95
_SEED = 20251101
_SHARE = 0.5
"""Of a chunk or of a labelled span that must lie in the other: a chunk that only touches the span
does not answer."""


@dataclass(frozen=True)
class Question:
    """A question whose answer is known.

    Attributes:
        text: As a user asks it.
        doc_id: The document that answers.
        start: Where in its text the answer begins; None where the whole document is it.
        stop: One past its end.
        group: Questions of one group depend on each other; the document's where none is named.
    """

    text: str
    doc_id: str
    start: int | None = None
    stop: int | None = None
    group: str = ""

    @property
    def cluster(self) -> str:
        """The group that it is drawn with."""
        return self.group or self.doc_id


@dataclass(frozen=True)
class Judged:
    """A question with the chunks of an index that answer it.

    Attributes:
        question: The question.
        chunks: Ids of the right ones, never none.
    """

    question: Question
    chunks: frozenset[str]


@dataclass(frozen=True)
class Estimate:
    """A mean and how far the true one may be from it.

    Attributes:
        mean: Of all questions.
        low: Lower end of the interval.
        high: Upper end.
    """

    mean: float
    low: float
    high: float


def judge(index: Index, questions: Sequence[Question]) -> list[Judged]:
    """Find the chunks that answer each question.

    Returns:
        The questions that a chunk answers, in their order.

    Raises:
        InputError: If the index holds none of their documents.
    """
    wanted = {question.doc_id for question in questions}
    chunks: dict[str, list[Chunk]] = {}
    for chunk in index.chunks(index.rows_of(wanted)):
        chunks.setdefault(chunk.doc_id, []).append(chunk)
    if not chunks:
        raise InputError(
            f"The index {index.path} holds none of the {len(wanted)} documents that the questions "
            "name. Give the index of their collection."
        )
    judged = []
    for question in questions:
        here = chunks.get(question.doc_id, ())
        right = frozenset(
            chunk.chunk_id for chunk in here if holds(chunk.start, chunk.stop, question)
        )
        if right:
            judged.append(Judged(question, right))
    return judged


def holds(start: int, stop: int, question: Question) -> bool:
    """Say whether a piece of the question's document holds its answer: half of the shorter one.

    Args:
        start: Where the piece begins in the document's text.
        stop: One past its end.
        question: Whose answer's place is known.
    """
    if question.start is None or question.stop is None:
        return True
    common = min(stop, question.stop) - max(start, question.start)
    shorter = min(stop - start, question.stop - question.start)
    return common > 0 and common >= _SHARE * shorter


def measure(found: Sequence[str], right: Iterable[str], k: int) -> dict[str, float]:
    """Return recall, nDCG and reciprocal rank of one question's results.

    Args:
        found: Ids of chunks, best first.
        right: Of those that answer.
        k: How many results count.

    Returns:
        ``recall``: share of the right chunks among the first k (of k, where more are right);
        ``ndcg``: the same, earlier ones counting more; ``mrr``: one over the rank of the first
        right one, 0 without any.
    """
    wanted = set(right)
    hits = [chunk_id in wanted for chunk_id in found[:k]]
    gains = 1 / np.log2(np.arange(2, k + 2))
    most = min(len(wanted), k)
    first = hits.index(True) + 1 if any(hits) else None
    return {
        "recall": sum(hits) / most,
        "ndcg": float(gains[: len(hits)][hits].sum() / gains[:most].sum()),
        "mrr": 1 / first if first else 0.0,
    }


def estimate(values: Sequence[float] | Values, clusters: Sequence[str]) -> Estimate:
    """Return the mean of one value per question with an interval that respects clusters.

    Args:
        values: One per question.
        clusters: Of each question: what it depends on, its document for instance.
    """
    array = np.asarray(values, np.float64)
    names = {name: number for number, name in enumerate(Counter(clusters))}
    members = np.fromiter((names[name] for name in clusters), np.int64, len(clusters))
    sums = np.bincount(members, array)
    counts = np.bincount(members).astype(np.float64)
    mean = float(array.mean())
    if len(names) < FEW_CLUSTERS:
        return _by_means(mean, sums / counts)
    drawn = np.random.default_rng(_SEED).integers(len(names), size=(DRAWS, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(mean, float(low), float(high))


def _by_means(mean: float, means: Values) -> Estimate:
    """Return a t interval over the clusters' means, around the mean of all questions."""
    from scipy.stats import t

    if len(means) < 2:
        return Estimate(mean, -np.inf, np.inf)
    half = float(t.ppf((1 + LEVEL) / 2, len(means) - 1)) * float(np.std(means, ddof=1))
    half /= float(np.sqrt(len(means)))
    return Estimate(mean, mean - half, mean + half)


def difference(ours: Sequence[float], theirs: Sequence[float], clusters: Sequence[str]) -> Estimate:
    """Return by how much one search is better than another on the same questions."""
    return estimate(np.asarray(ours) - np.asarray(theirs), clusters)


def halves(judged: Sequence[Judged]) -> tuple[list[Judged], list[Judged]]:
    """Part questions into two halves, all of one cluster in one: to choose, and to report."""
    names = sorted({one.question.cluster for one in judged})
    order = np.random.default_rng(_SEED).permutation(len(names))
    first = {names[number] for number in order[: len(names) // 2]}
    one = [question for question in judged if question.question.cluster in first]
    return one, [question for question in judged if question.question.cluster not in first]


def columns(measured: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Turn one mapping per question into one list per measure."""
    return {name: [one[name] for one in measured] for name in (measured[0] if measured else ())}
