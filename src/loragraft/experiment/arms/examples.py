"""Records that are shown with their number before the one that is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from loragraft.dataset.records import Score
from loragraft.dataset.split.load import find_split
from loragraft.dataset.split.seed import rank
from loragraft.errors import InputError
from loragraft.experiment.config import DataConfig

MIDDLE = 0.5
"""Labels from here on are high ones; examples are taken from both sides in turn."""


def choose_examples(data: DataConfig, seed: int, count: int) -> tuple[Score, ...]:
    """Return records of train, the same for every question, chosen by the seed.

    High and low labels take turns while there are both, so that no side is all that a model sees.

    Raises:
        InputError: If there is no split, or train has too few records of the kind ``score``.
    """
    if data.tag is None:
        raise InputError(
            "scoring.examples come from the train part of a split, and the questions are files. "
            "Name a split (data.tag), or set examples to 0."
        )
    split = find_split(data.tag, data.splits, parts=("train",))
    found = [record for record in split.records("train") if isinstance(record, Score)]
    if len(found) < count:
        raise InputError(
            f"{split.files['train']} has {len(found)} records of the kind score, and "
            f"scoring.examples asks for {count}. Ask for fewer."
        )
    found.sort(key=lambda record: rank(seed, "score-example", record.id))
    high = [record for record in found if record.label >= MIDDLE]
    low = [record for record in found if record.label < MIDDLE]
    return tuple(_in_turn(high, low)[:count])


def _in_turn(some: Sequence[Score], others: Sequence[Score]) -> list[Score]:
    """Return both lists' records, one of each in turn, what is left over at the end."""
    both = min(len(some), len(others))
    turns = [record for pair in zip(some, others, strict=False) for record in pair]
    return [*turns, *some[both:], *others[both:]]
