"""Several examples in one row, each blind to the others.

Positions begin anew with each example. From that transformers (since 4.53) builds a mask that keeps
examples apart, in layers with a sliding window too, if it is given no ``attention_mask`` and no
cache; that packed loss and gradients equal unpacked ones is tested for each family.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import chain

from loragraft.dataset.split.seed import rank
from loragraft.training.encoding import Example


def pack(examples: Sequence[Example], max_length: int, seed: int) -> list[Example]:
    """Put examples together in rows of at most so many tokens.

    The longest first, each into the fullest row that has room (best fit decreasing, which never
    needs more than 11/9 of the fewest rows, and 6/9 of one). Nothing is cut.

    Args:
        examples: Their ids differ.
        max_length: Most tokens of a row; a longer example has a row of its own.
        seed: Decides between examples of one length, and the order of the rows.

    Returns:
        Rows that :func:`~loragraft.training.encoding.collate` takes as examples.
    """
    by_length = sorted(examples, key=lambda one: (-len(one.ids), rank(seed, "packed", one.id)))
    rows: list[list[Example]] = []
    rooms: list[tuple[int, int]] = []  # what is left in a row, and the row's number; sorted
    for example in by_length:
        size = len(example.ids)
        at = bisect_left(rooms, (size, -1))
        if at == len(rooms):
            rows.append([example])
            insort(rooms, (max_length - size, len(rows) - 1))
            continue
        room, number = rooms.pop(at)
        rows[number].append(example)
        insort(rooms, (room - size, number))
    packed = map(_joined, rows)
    return sorted(packed, key=lambda row: rank(seed, "row", row.id))


def _joined(examples: Sequence[Example]) -> Example:
    return Example(
        "+".join(example.id for example in examples),
        tuple(chain.from_iterable(example.ids for example in examples)),
        tuple(chain.from_iterable(example.labels for example in examples)),
        tuple(chain.from_iterable(range(len(example.ids)) for example in examples)),
    )
