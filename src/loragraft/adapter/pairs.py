"""Labelled pairs of texts: how well cosines of embeddings agree with the labels."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loragraft.adapter.diagnose.difference import row_cosines
from loragraft.errors import InputError

MIN_PAIRS = 2
"""Fewer have no order."""
MAX_PAIRS = 100_000
"""Two texts each, embedded in four ways on the CPU: beyond this an evaluation is the place."""
IDENTICAL = "identical to the baseline"
_TRUE, _FALSE = frozenset({"true", "yes"}), frozenset({"false", "no"})


@dataclass(frozen=True)
class Pairs:
    """Pairs of texts with a label each.

    Attributes:
        a: First texts.
        b: Second texts.
        labels: Higher means more alike.
    """

    a: tuple[str, ...]
    b: tuple[str, ...]
    labels: tuple[float, ...]

    @property
    def texts(self) -> list[str]:
        """All first texts, then all second ones."""
        return [*self.a, *self.b]

    @property
    def binary(self) -> bool:
        """Whether the labels are two values."""
        return len(set(self.labels)) == 2


@dataclass(frozen=True)
class Confusion:
    """Right and wrong at a threshold."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int


@dataclass(frozen=True)
class PairScores:
    """How one model does.

    Attributes:
        spearman: Rank correlation of cosine and label; None where one of them is constant.
        roc_auc: Share of pairs of a positive and a negative that are ordered right, ties half;
            None where the labels are not two values.
        threshold: Cosine from which on "alike" is said, that makes sensitivity plus specificity
            largest; None as above.
        confusion: At that threshold.
        identical: Whether every cosine equals the base's, bit for bit.
    """

    spearman: float | None
    roc_auc: float | None
    threshold: float | None
    confusion: Confusion | None
    identical: bool


@dataclass(frozen=True)
class PairsReport:
    """Models side by side, the base first.

    Attributes:
        count: Number of pairs.
        models: Scores by the way of loading.
    """

    count: int
    models: Mapping[str, PairScores]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        models = {name: asdict(scores) for name, scores in self.models.items()}
        return {"count": self.count, "models": models}

    def lines(self) -> Iterator[str]:
        """Return the report as lines of text."""
        yield f"{self.count} labelled pairs"
        for name, scores in self.models.items():
            figures = [f"Spearman {_figure(scores.spearman)}", f"ROC-AUC {_figure(scores.roc_auc)}"]
            if scores.confusion is not None:
                c = scores.confusion
                figures.append(
                    f"best threshold {_figure(scores.threshold)} (alike: {c.true_positive} right, "
                    f"{c.false_positive} wrong; not alike: {c.true_negative} right, "
                    f"{c.false_negative} wrong)"
                )
            said = f": {IDENTICAL}" if scores.identical and name != "base" else ""
            yield f"   {name}: {', '.join(figures)}{said}"


def _figure(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"


def read_pairs(path: Path) -> Pairs:
    """Read pairs from JSONL (objects with a, b, label) or CSV (a header with these names).

    Raises:
        InputError: If it cannot be read, a row is something else, or labels do not vary.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read as text ({reason}). Give JSONL or CSV.") from None
    rows = list(_csv_rows(text, path) if path.suffix.lower() == ".csv" else _json_rows(text, path))
    if not MIN_PAIRS <= len(rows) <= MAX_PAIRS:
        raise InputError(f"{path} holds {len(rows)} pairs, expected {MIN_PAIRS} to {MAX_PAIRS}.")
    a, b, labels = zip(*rows, strict=True)
    if len(set(labels)) < 2:
        raise InputError(f"Every label in {path} is {labels[0]:g}: nothing can be told from them.")
    return Pairs(a, b, labels)


def _json_rows(text: str, path: Path) -> Iterator[tuple[str, str, float]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number} is no JSON ({error}).") from None
        if not isinstance(value, dict):
            raise InputError(f"{path}, line {number} is no object with a, b and label.")
        yield _row(value, f"{path}, line {number}")


def _csv_rows(text: str, path: Path) -> Iterator[tuple[str, str, float]]:
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
    try:
        for value in reader:
            yield _row(value, f"{path}, line {reader.line_num}")
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num} is no CSV ({error}).") from None


def _row(value: Mapping[str, Any], where: str) -> tuple[str, str, float]:
    a, b, label = value.get("a"), value.get("b"), _label(value.get("label"))
    if not isinstance(a, str) or not isinstance(b, str) or label is None:
        raise InputError(f"{where} needs a and b with text, and label with a finite number.")
    return a, b, label


def _label(value: object) -> float | None:
    if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
        return float(value.strip().lower() in _TRUE)
    if not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def compare_pairs(pairs: Pairs, vectors: Mapping[str, NDArray[np.float32]]) -> PairsReport:
    """Score models on labelled pairs.

    Args:
        pairs: The pairs.
        vectors: By model, ``base`` among them: embeddings of :attr:`Pairs.texts`, ``[2n, width]``.
    """
    n = len(pairs.labels)
    cosines = {name: row_cosines(rows[:n], rows[n:]) for name, rows in vectors.items()}
    base = cosines["base"]
    return PairsReport(
        n, {name: score_pairs(pairs, c, bool((c == base).all())) for name, c in cosines.items()}
    )


def score_pairs(pairs: Pairs, cosines: NDArray[np.float64], identical: bool) -> PairScores:
    """Score the cosines of one model."""
    from scipy.stats import rankdata

    labels = np.asarray(pairs.labels)
    if not np.isfinite(cosines).all():
        return PairScores(None, None, None, None, identical)
    spearman = _correlation(rankdata(cosines), rankdata(labels))
    if not pairs.binary:
        return PairScores(spearman, None, None, None, identical)
    positive = labels == labels.max()
    threshold, confusion = best_threshold(cosines, positive)
    return PairScores(spearman, _roc_auc(cosines, positive), threshold, confusion, identical)


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float | None:
    dx, dy = x - x.mean(), y - y.mean()
    scale = math.sqrt(float((dx * dx).sum()) * float((dy * dy).sum()))
    return float((dx * dy).sum()) / scale if scale > 0 else None


def _roc_auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve, as Mann and Whitney's U over its maximum."""
    from scipy.stats import rankdata

    ranks = rankdata(scores)
    count, others = int(positive.sum()), int((~positive).sum())
    u = float(ranks[positive].sum()) - count * (count + 1) / 2
    return u / (count * others)


def best_threshold(
    scores: NDArray[np.float64], positive: NDArray[np.bool_]
) -> tuple[float, Confusion]:
    """Return the score from which on "alike" is said best, and the confusion at it.

    Best is the largest sensitivity plus specificity (Youden's J), so that a rare class counts as
    much as a frequent one; of equal thresholds the highest.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, truth = scores[order], positive[order]
    hits, alarms = np.cumsum(truth), np.cumsum(~truth)
    ends = np.append(ranked[1:] != ranked[:-1], True)  # equal scores fall on one side together
    gain = np.where(ends, hits / hits[-1] - alarms / alarms[-1], -np.inf)
    at = int(gain.argmax())
    tp, fp = int(hits[at]), int(alarms[at])
    confusion = Confusion(tp, fp, int(hits[-1]) - tp, int(alarms[-1]) - fp)
    return float(ranked[at]), confusion
