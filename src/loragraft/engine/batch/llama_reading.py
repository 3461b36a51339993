"""Prompts read into slots, what neighbours have in common only once.

A prompt is read in parts of a fixed size, counted from its own beginning. Common parts are copied,
and a part is only ever common as a whole: so its numbers are those of the prompt read alone,
whatever other prompts there are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loragraft.engine.batch.llama_slots import LlamaSlots
from loragraft.engine.llama_model import common_beginning

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PART = 64
"""Tokens of a part: smaller ones share more, larger ones read faster."""
DEPTH = 4
"""Beginnings kept at most, one inside the other: instructions, passages, question ..."""
ROOM = 2
"""Whole contexts whose memory they may take together."""


def part_ends(length: int) -> list[int]:
    """Return where the parts of a prompt end; none has a single token but in a prompt of one.

    llama.cpp computes attention of single tokens in another way, in which the number of threads
    decides on rounding.
    """
    ends = list(range(PART, length, PART))
    if ends and length - ends[-1] == 1:
        ends.pop()
    return [*ends, length]


def plan_sharing(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return for each of sorted prompts the ends of those parts that later ones begin with.

    Args:
        prompts: Sorted, so that those that have much in common are neighbours.
    """
    needed: list[list[int]] = [[] for _ in prompts]
    for index in range(len(prompts) - 2, -1, -1):
        this, other = prompts[index], prompts[index + 1]
        common = common_beginning(this, other)
        both = set(part_ends(len(this))) & set(part_ends(len(other))[:-1])
        here = max((end for end in both if end <= common), default=0)
        if this == other:
            here = common
        later = [end for end in needed[index + 1] if end < here]
        needed[index] = ([here] if here else []) + later
    return [_few(ends) for ends in needed]


def _few(ends: list[int]) -> list[int]:
    """Keep the longest beginnings and the shortest."""
    return ends if len(ends) <= DEPTH else [*ends[: DEPTH - 1], ends[-1]]


@dataclass(frozen=True)
class _Kept:
    """The beginning of a prompt."""

    tokens: Sequence[int]
    state: ctypes.Array[ctypes.c_uint8]
    logits: NDArray[np.float32] | None


@dataclass(frozen=True)
class ReadPrompt:
    """What reading a prompt gave.

    Attributes:
        logits: After its last token, shape [vocabulary].
        shared: Tokens that were not read again.
    """

    logits: NDArray[np.float32]
    shared: int


class PromptReader:
    """Reads sorted prompts, one after the other."""

    def __init__(self, slots: LlamaSlots) -> None:
        """Begin with nothing in common."""
        self._slots = slots
        self._kept: list[_Kept] = []

    def read(self, slot: int, prompt: Sequence[int], needed: Sequence[int]) -> ReadPrompt:
        """Read a prompt into a slot.

        Args:
            slot: Where.
            prompt: Token ids, at least one.
            needed: Of :func:`plan_sharing`: ends to be kept for prompts to come.

        Raises:
            KeyboardInterrupt: If the user interrupts.
            BundleError: If the computation fails.
        """
        start = shared = self._begin(slot, prompt)
        logits = self._kept[-1].logits if self._kept else None
        for end in part_ends(len(prompt)):
            if end > start:
                last = end == len(prompt)
                rows = self._slots.read_part(slot, prompt[start:end], start, 1 if last else 0)
                logits = None if rows is None else rows[0]
                if end in needed and self._has_room(end):
                    self._kept.append(_Kept(prompt[:end], self._slots.keep(slot), logits))
                start = end
        if logits is None:
            raise AssertionError("the last part of a prompt has logits")
        return ReadPrompt(logits, shared)

    def _has_room(self, count: int) -> bool:
        held = sum(len(kept.tokens) for kept in self._kept)
        return held + count <= ROOM * self._slots.context

    def _begin(self, slot: int, prompt: Sequence[int]) -> int:
        """Bring a slot to the longest known beginning; return its length."""
        while self._kept and not _begins(prompt, self._kept[-1]):
            self._kept.pop()
        if not self._kept:
            self._slots.forget(slot)
            return 0
        self._slots.restore(slot, self._kept[-1].state)
        return len(self._kept[-1].tokens)


def _begins(prompt: Sequence[int], kept: _Kept) -> bool:
    """Whether a prompt goes on from here exactly as if it were read alone."""
    length = len(kept.tokens)
    if prompt[:length] != kept.tokens:
        return False
    if length == len(prompt):
        return kept.logits is not None
    return length in part_ends(len(prompt))
