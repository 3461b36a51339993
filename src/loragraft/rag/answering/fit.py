"""Which passages a prompt has room for: the best first, each whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from loragraft.engine.protocol import Message
from loragraft.rag.records import Passage

ANSWER_SHARE = 4
"""At most one part in four of the context is kept free for an answer, as in a plain chat."""
HISTORY_SHARE = 2
"""Earlier turns leave, the oldest first, until they fill at most one half of the prompt's room."""

Build = Callable[[int, Sequence[Passage]], list[Message]]
"""Makes the conversation without its oldest turns and with these passages, best first."""
Count = Callable[[Sequence[Message]], int]


@dataclass(frozen=True)
class Room:
    """Tokens that a prompt and its answer have together.

    Attributes:
        context: Of the engine.
        answer: Kept free for the answer.
    """

    context: int
    answer: int

    @property
    def prompt(self) -> int:
        """Tokens that the prompt may have."""
        return self.context - self.answer


def room_for(context: int, max_tokens: int) -> Room:
    """Return the room of a context, an answer of so many tokens in mind."""
    return Room(context, min(max_tokens, context // ANSWER_SHARE))


@dataclass(frozen=True)
class Fitted:
    """What has room.

    Attributes:
        kept: Passages, best first.
        dropped: Those without room, best first.
        left_out: Turns at the conversation's beginning that have none.
    """

    kept: tuple[Passage, ...]
    dropped: tuple[Passage, ...]
    left_out: int


def distinct(passages: Sequence[Passage]) -> list[Passage]:
    """Return passages with something in them, each chunk once, in order."""
    seen: dict[str, Passage] = {}
    for passage in passages:
        if passage.chunk.text.strip():
            seen.setdefault(passage.chunk.chunk_id, passage)
    return list(seen.values())


def fit(
    passages: Sequence[Passage],
    build: Build,
    count: Count,
    room: Room,
    *,
    turns: int = 0,
    left_out: int = 0,
) -> Fitted:
    """Choose what of the passages and the conversation has room.

    Args:
        passages: Best first; each is kept whole or dropped whole.
        build: Makes the conversation to be counted.
        count: Tokens of a conversation.
        room: What there is.
        turns: Earlier turns of the conversation.
        left_out: Of these, how many were left out before.
    """

    def fits(left: int, some: Sequence[Passage]) -> bool:
        return count(build(left, some)) <= room.prompt

    if fits(left_out, passages):
        return Fitted(tuple(passages), (), left_out)
    while left_out < turns and count(build(left_out, ())) * HISTORY_SHARE > room.prompt:
        left_out += 1
    kept = _greedy(passages, partial(fits, left_out))
    while not kept and passages and left_out < turns:  # a passage is worth more than old turns
        left_out += 1
        kept = _greedy(passages, partial(fits, left_out))
    dropped = tuple(passage for passage in passages if passage not in kept)
    return Fitted(tuple(kept), dropped, left_out)


def _greedy(
    passages: Sequence[Passage], fits: Callable[[Sequence[Passage]], bool]
) -> list[Passage]:
    """Take each passage that still fits beside the better ones."""
    kept: list[Passage] = []
    for passage in passages:
        if fits([*kept, passage]):
            kept.append(passage)
    return kept
