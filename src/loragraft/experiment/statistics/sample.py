"""Values of questions, with the papers that bind some of them together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NOISE = 1e-12
"""Two means of the same answers differ by this share when they are summed in another order."""


@dataclass(frozen=True, eq=False)
class Values:
    """One value for each question: an experiment's, or the difference of two.

    Attributes:
        ids: Of the questions, sorted.
        values: Finite, shape [questions].
        papers: Number of each question's paper, from 0 without gaps, shape [questions]. A question
            without a paper is a paper of its own.
    """

    ids: tuple[str, ...]
    values: NDArray[np.float64]
    papers: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Return how many questions there are."""
        return len(self.ids)

    @property
    def paper_count(self) -> int:
        """Return how many papers there are."""
        return int(self.papers.max()) + 1 if self.ids else 0

    @property
    def clustered(self) -> bool:
        """Whether a paper has several questions."""
        return self.paper_count < self.count

    @property
    def mean(self) -> float:
        """Return the mean over questions; NaN without any."""
        return float(self.values.mean()) if self.ids else float("nan")

    def totals(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return sums and numbers of questions of each paper, shape [papers] each."""
        import numpy as np

        sizes = np.bincount(self.papers, minlength=self.paper_count).astype(np.int64)
        sums = np.bincount(self.papers, self.values, self.paper_count).astype(np.float64)
        return sums, sizes


@dataclass(frozen=True, eq=False)
class Paired:
    """Two experiments' values of the same questions.

    Attributes:
        mine: Of the one, shape [questions].
        theirs: Of the other.
        difference: Mine less theirs, with ids and papers.
        excluded: Questions that one of them lacks.
    """

    mine: NDArray[np.float64]
    theirs: NDArray[np.float64]
    difference: Values
    excluded: int = 0

    @property
    def binary(self) -> bool:
        """Whether all values are 0 or 1."""
        import numpy as np

        return bool(np.isin(self.mine, (0, 1)).all() and np.isin(self.theirs, (0, 1)).all())


def values_of(values: Mapping[str, float], papers: Mapping[str, str | None]) -> Values:
    """Arrange values of questions.

    Args:
        values: By id; means where a question has several answers.
        papers: Of the questions, by id; one that is not there, or None, has no paper.
    """
    import numpy as np

    ids = tuple(sorted(values))
    numbers: dict[tuple[str, str], int] = {}
    codes = [
        numbers.setdefault(("own", name) if papers.get(name) is None else
                           ("paper", str(papers[name])), len(numbers))
        for name in ids
    ]  # fmt: skip
    return Values(ids, np.array([values[name] for name in ids], np.float64),
                  np.array(codes, np.int64))  # fmt: skip


def paired(
    mine: Mapping[str, float],
    theirs: Mapping[str, float],
    papers: Mapping[str, str | None],
    *,
    asked: int | None = None,
) -> Paired:
    """Arrange two experiments' values over the questions that both have.

    Args:
        mine: The one's, by question.
        theirs: The other's.
        papers: Of the questions.
        asked: How many questions there were; None for those that one of them has.
    """
    import numpy as np

    both = sorted(mine.keys() & theirs.keys())
    difference = values_of({name: _less(mine[name], theirs[name]) for name in both}, papers)
    total = len(mine.keys() | theirs.keys()) if asked is None else asked
    return Paired(
        np.array([mine[name] for name in both], np.float64),
        np.array([theirs[name] for name in both], np.float64),
        difference,
        total - len(both),
    )


def _less(mine: float, theirs: float) -> float:
    """Return the difference: 0 where only the rounding of two means differs."""
    return 0.0 if math.isclose(mine, theirs, rel_tol=NOISE, abs_tol=0.0) else mine - theirs
