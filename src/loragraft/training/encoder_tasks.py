"""What the tasks that train encoders share."""

from __future__ import annotations

from collections.abc import Sequence

from loragraft.dataset.records import TaskRecord
from loragraft.dataset.split.seed import rank
from loragraft.errors import InputError
from loragraft.training.config import TrainConfig


def refuse_foreign(config: TrainConfig) -> None:
    """Refuse what only ``task: causal-lm`` has.

    Raises:
        InputError: Naming it.
    """
    asked = {
        "quantization: nf4": config.quantization != "none",
        "optimiser.packing": config.optimiser.packing,
    }
    for name, found in asked.items():
        if found:
            raise InputError(
                f"{name} is there for task: causal-lm only, and the task is {config.task}. Leave "
                "it out."
            )


def length_facts(lengths: Sequence[int]) -> dict[str, int]:
    """Return how long examples are in tokens, under the names of ``Lengths``."""
    if not lengths:
        return {"tokens": 0}
    ordered = sorted(lengths)
    return {
        "tokens": sum(ordered),
        "longest": ordered[-1],
        "median": ordered[len(ordered) // 2],
        "p95": ordered[max(0, -(-len(ordered) * 19 // 20) - 1)],
    }


def told_twice(train: Sequence[str], validation: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence where validation repeats what is learnt, word for word."""
    seen = set(train)
    same = sum(text in seen for text in validation)
    if not same:
        return ()
    return (
        f"{same} of {len(validation)} validation records stand word for word in what is learnt "
        "from: their figures are no evidence. Look with loragraft dataset leaks.",
    )


def sample_order(config: TrainConfig, records: Sequence[TaskRecord]) -> list[int]:
    """Return the indices of records in the order in which they are shown, by the seed."""
    ranks = [rank(config.seed, "sample", record.id) for record in records]
    return sorted(range(len(ranks)), key=lambda index: ranks[index])
