"""Numbers of a claim that follow from those of a passage: sums, differences, bounds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

from loragraft.experiment.metrics.facts.quantities import Quantity
from loragraft.experiment.metrics.facts.unit_text import read_unit
from loragraft.experiment.metrics.grounding.amounts import Amount, is_year

MOST_GIVEN = 40
"""Numbers of a passage that are counted with: any two of more give any number."""
NEAR = 2
"""A bound may be so many times what the passage says: 2,310 are more than two thousand, and nobody
says of them that they are more than ten."""
EACH = frozenset(("each", "every", "per", "je", "jede", "jeder", "jedes", "chaque"))
"""Says that a number of things has an amount severally."""
_YEARS = read_unit("years", 0)


def follows(wanted: Amount, given: Sequence[Amount], *, severally: bool = False) -> bool:
    """Whether a number that does not stand in a passage follows from those that do.

    Args:
        wanted: Of the claim.
        given: Of the passage.
        severally: Whether the passage says that each of several things has an amount.
    """
    ours = wanted.quantity
    if ours is None or ours.low is not ours.high or is_year(ours):
        return False
    whole = [end.readings[0] for one in given for end in one.ends() if end.readings][:MOST_GIVEN]
    if ours.bound:
        exact = [one.quantity for one in given if one.quantity and len(one.readings) == 1]
        return any(_bounded(ours, one) for one in exact if not one.bound)
    pairs = itertools.combinations(whole, 2)
    return any(_counted(ours, *pair) or (severally and _each(ours, *pair)) for pair in pairs)


def _bounded(ours: Quantity, theirs: Quantity) -> bool:
    """Whether a number lies on the side of a bound that the claim says, and near it."""
    if is_year(theirs) or not _alike(ours, theirs):
        return False
    bound, value = _base(ours), _base(theirs)
    low, high = (bound, value) if ours.bound == ">" else (value, bound)
    return low < high <= NEAR * low


def _counted(ours: Quantity, first: Quantity, second: Quantity) -> bool:
    """Whether a number is the sum or the difference of two of its kind, or years between two."""
    values = first.value - second.value
    if is_year(first) and is_year(second):
        return _YEARS is not None and ours.unit == _YEARS[0] and ours.value == abs(values)
    if is_year(first) or is_year(second) or not (_alike(ours, first) and _alike(ours, second)):
        return False
    one, other = _base(first), _base(second)
    return _base(ours) in (one + other, abs(one - other))


def _each(ours: Quantity, first: Quantity, second: Quantity) -> bool:
    """Whether an amount is a number of things times what each of them has."""
    for count, amount in ((first, second), (second, first)):
        things = count.unit is None and bool(count.noun)
        if things and amount.unit is not None and _alike(ours, amount):
            return _base(ours) == count.value * _base(amount)
    return False


def _alike(ours: Quantity, theirs: Quantity) -> bool:
    """Whether two numbers can be added: of one dimension, or counts of the same thing."""
    if ours.unit is None or theirs.unit is None:
        return ours.unit is theirs.unit and ours.noun == theirs.noun and bool(ours.noun)
    return ours.unit.dimension == theirs.unit.dimension and not (
        ours.unit.offset or theirs.unit.offset
    )


def _base(quantity: Quantity) -> Fraction:
    return quantity.value if quantity.unit is None else quantity.unit.to_base(quantity.value)
