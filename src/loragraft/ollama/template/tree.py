"""Decision trees: which of a few features of a place decide what stands there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Generic, TypeAlias, TypeVar

START = "start"
"""The feature's value at the start of a conversation."""

Value = TypeVar("Value", bound=Hashable)
Features: TypeAlias = Mapping[str, str]
Sample: TypeAlias = "tuple[Features, Value]"

MAX_FEATURES = 5
"""Features that one decision may read: more would learn the samples by heart."""


@dataclass(frozen=True)
class Leaf(Generic[Value]):
    """What stands there."""

    value: Value


@dataclass(frozen=True)
class Choice(Generic[Value]):
    """A question about one feature: answers that lead elsewhere, and where all others lead."""

    feature: str
    branches: tuple[tuple[tuple[str, ...], Tree[Value]], ...]
    otherwise: Tree[Value]


Tree: TypeAlias = "Leaf[Value] | Choice[Value]"


def grow(samples: Sequence[Sample[Value]], features: Sequence[str]) -> Tree[Value]:
    """Return the smallest tree that gives each sample its value.

    Args:
        samples: features of places, and what stands there.
        features: what may be asked, the likeliest reason first.

    Where no few features separate the values, the commonest value of each case is taken.
    """
    return _grow(samples, _separating(samples, features))


def decide(tree: Tree[Value], features: Features) -> Value:
    """Return what a tree says of a place."""
    while isinstance(tree, Choice):
        answer = features[tree.feature]
        tree = next(
            (branch for values, branch in tree.branches if answer in values), tree.otherwise
        )
    return tree.value


def leaves(tree: Tree[Value]) -> list[Value]:
    """Return all values of a tree."""
    if isinstance(tree, Leaf):
        return [tree.value]
    below = [leaf for _, branch in tree.branches for leaf in leaves(branch)]
    return [*below, *leaves(tree.otherwise)]


def changed(tree: Tree[Value], change: Callable[[Value], Value]) -> Tree[Value]:
    """Return a tree of the same questions with other values."""
    if isinstance(tree, Leaf):
        return Leaf(change(tree.value))
    branches = tuple((answers, changed(branch, change)) for answers, branch in tree.branches)
    otherwise = changed(tree.otherwise, change)
    return Choice(tree.feature, branches, otherwise)


def asked(tree: Tree[Value]) -> set[str]:
    """Return the features that a tree asks about."""
    if isinstance(tree, Leaf):
        return set()
    below = (asked(branch) for _, branch in tree.branches)
    return {tree.feature}.union(asked(tree.otherwise), *below)


def _separating(samples: Sequence[Sample[Value]], features: Sequence[str]) -> tuple[str, ...]:
    """Return the fewest features that tell all values apart, or come nearest to it."""
    best: tuple[int, tuple[str, ...]] | None = None
    for size in range(MAX_FEATURES + 1):
        for chosen in combinations(features, size):
            errors = _errors(samples, chosen)
            if errors == 0:
                return chosen
            if best is None or errors < best[0]:
                best = errors, chosen
    return best[1] if best else ()


def _errors(samples: Sequence[Sample[Value]], chosen: Sequence[str]) -> int:
    counts: dict[tuple[str, ...], Counter[Value]] = {}
    for features, value in samples:
        counts.setdefault(tuple(features[name] for name in chosen), Counter())[value] += 1
    return sum(sum(count.values()) - max(count.values()) for count in counts.values())


def _grow(samples: Sequence[Sample[Value]], chosen: Sequence[str]) -> Tree[Value]:
    values = Counter(value for _, value in samples)
    commonest = values.most_common(1)[0][0]
    if len(values) == 1 or not chosen:
        return Leaf(commonest)
    name, *rest = chosen
    groups: dict[str, list[Sample[Value]]] = {}
    for sample in samples:
        groups.setdefault(sample[0][name], []).append(sample)
    trees = {answer: _grow(group, rest) for answer, group in sorted(groups.items())}
    weights: Counter[Tree[Value]] = Counter()
    for answer, tree in trees.items():
        # Where every message begins is no guide for orders never seen.
        weights[tree] += len(groups[answer]) if answer != START else 0
    otherwise = weights.most_common(1)[0][0]
    if len(weights) == 1:
        return otherwise
    merged = {
        tree: tuple(answer for answer, other in trees.items() if other == tree)
        for tree in trees.values()
        if tree != otherwise
    }
    branches = tuple((answers, tree) for tree, answers in merged.items())
    return Choice(name, branches, otherwise)
