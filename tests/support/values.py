"""Values of questions, made up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from loragraft.experiment.statistics.sample import Paired, Values, paired, values_of


def of_papers(*papers: Sequence[float]) -> Values:
    """Return the values of papers, those of one paper together."""
    named = {f"q{p:03}.{n:03}": (value, f"p{p}") for p, paper in enumerate(papers)
             for n, value in enumerate(paper)}  # fmt: skip
    return values_of({name: value for name, (value, _) in named.items()},
                     {name: paper for name, (_, paper) in named.items()})  # fmt: skip


def on_their_own(values: Sequence[float]) -> Values:
    """Return values of questions that are each a paper of its own."""
    return of_papers(*([value] for value in values))


def both(mine: Sequence[float], theirs: Sequence[float], size: int = 1) -> Paired:
    """Return two experiments' values, ``size`` questions to a paper."""
    names = [f"q{number:05}" for number in range(len(mine))]
    return paired(dict(zip(names, map(float, mine), strict=True)),
                  dict(zip(names, map(float, theirs), strict=True)),
                  {name: f"p{number // size}" for number, name in enumerate(names)})  # fmt: skip


def clustered(generator: np.random.Generator, papers: int, largest: int = 6) -> Values:
    """Return graded values of papers of any size that have something in common each."""
    sizes = generator.integers(1, largest + 1, papers)
    return of_papers(*(np.clip(generator.normal(generator.random(), 0.2, size), 0, 1).tolist()
                       for size in sizes))  # fmt: skip


def any_values(few: int = 1, many: int = 60) -> st.SearchStrategy[tuple[list[float], int]]:
    """Return values from 0 to 1, many of them the same, and how many there are to a paper."""
    value = st.sampled_from([0.0, 1.0]) | st.sampled_from([0.1, 0.2, 0.3, 1 / 3]) | st.floats(0, 1)
    return st.tuples(st.lists(value, min_size=few, max_size=many), st.integers(1, 8))
