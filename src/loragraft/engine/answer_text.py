"""From the bytes of generated tokens to the text a person reads, piece by piece.

A token may end in the middle of a character, of a stop text or of a thinking tag: what could be
the beginning of one is held back until it is known.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ThinkingTags:
    """The texts around what a model thinks before it answers."""

    opening: str
    closing: str


KNOWN_TAGS = (
    ThinkingTags("<think>", "</think>"),
    ThinkingTags("[THINK]", "[/THINK]"),
    ThinkingTags("<|START_THINKING|>", "<|END_THINKING|>"),
    ThinkingTags("<seed:think>", "</seed:think>"),
)
"""Qwen3, DeepSeek R1, SmolLM3, GLM; Magistral; Command A; Seed: as their templates have them."""


def tags_of(template: str) -> ThinkingTags | None:
    """Return the thinking tags that a chat template speaks of."""
    return next((tags for tags in KNOWN_TAGS if tags.closing in template), None)


def begins_thinking(prompt: str, tags: ThinkingTags | None) -> bool:
    """Whether a rendered prompt has opened the thinking that the answer goes on with."""
    return tags is not None and prompt.rstrip().endswith(tags.opening)


def held_back(text: str, marks: Sequence[str]) -> int:
    """Return how many characters at a text's end may be the beginning of one of the marks."""
    longest = min(len(text), max(map(len, marks), default=1) - 1)
    for count in range(longest, 0, -1):
        if any(mark.startswith(text[-count:]) for mark in marks):
            return count
    return 0


class StopWatch:
    """Lets text through up to the first stop text.

    Attributes:
        stopped: Whether one was met.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """Watch for these texts; empty ones count for nothing."""
        self._stops = tuple(stop for stop in stops if stop)
        self._rest = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """Return what is sure to come before a stop text."""
        if self.stopped:
            return ""
        self._rest += text
        found = [at for stop in self._stops if (at := self._rest.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._release(min(found))
        return self._release(len(self._rest) - held_back(self._rest, self._stops))

    def finish(self) -> str:
        """Return what was held back and turned out to be no stop text."""
        return "" if self.stopped else self._release(len(self._rest))

    def _release(self, count: int) -> str:
        out, self._rest = self._rest[:count], self._rest[count:]
        return out


class ThinkingSplit:
    """Tells thinking from the answer, where the answer begins with it.

    Tags later in an answer are part of it: a model may write about them. The blank lines at the
    inside of the tags and before the answer belong to neither.
    """

    def __init__(self, tags: ThinkingTags | None, *, begun: bool = False) -> None:
        """Begin before the answer.

        Args:
            tags: What thinking stands between; None for a model that does not think.
            begun: Whether the prompt itself holds the opening tag.
        """
        self._tags = tags
        self._state = "thinking" if begun and tags else "opening" if tags else "answer"
        self._strip = begun
        self._rest = ""

    @property
    def thinks(self) -> bool:
        """Whether thinking has begun and not ended."""
        return self._state == "thinking"

    def feed(self, text: str) -> Iterator[tuple[str, bool]]:
        """Yield pieces, and whether each is thinking."""
        self._rest += text
        if self._tags is not None:
            if self._state == "opening":
                self._open(self._tags)
            if self._state == "thinking":
                yield from self._think(self._tags)
        if self._state == "answer":
            yield from self._pieces(len(self._rest), False)

    def finish(self) -> Iterator[tuple[str, bool]]:
        """Yield what was held back."""
        yield from self._pieces(len(self._rest), self._state == "thinking")

    def _open(self, tags: ThinkingTags) -> None:
        begin = self._rest.lstrip()
        if begin.startswith(tags.opening):
            self._rest, self._state, self._strip = begin[len(tags.opening) :], "thinking", True
        elif not tags.opening.startswith(begin):
            self._state = "answer"

    def _think(self, tags: ThinkingTags) -> Iterator[tuple[str, bool]]:
        at = self._rest.find(tags.closing)
        if at < 0:
            sure = len(self._rest) - held_back(self._rest, [tags.closing])
            yield from self._pieces(len(self._rest[:sure].rstrip()), True)
            return
        before, after = self._rest[:at].rstrip(), self._rest[at + len(tags.closing) :]
        self._rest = before
        yield from self._pieces(len(before), True)
        self._rest, self._state, self._strip = after, "answer", True

    def _pieces(self, count: int, thinking: bool) -> Iterator[tuple[str, bool]]:
        out, self._rest = self._rest[:count], self._rest[count:]
        if self._strip:
            out = out.lstrip()
            self._strip = not out
        if out:
            yield out, thinking


class AnswerText:
    """The whole way: bytes, characters, stop texts, thinking.

    Attributes:
        text: The answer so far.
        thinking: What was thought so far.
    """

    def __init__(self, stops: Sequence[str], tags: ThinkingTags | None, *, begun: bool) -> None:
        """Begin an answer; the arguments are those of the parts."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._watch = StopWatch(stops)
        self._split = ThinkingSplit(tags, begun=begun)
        self.text = self.thinking = ""

    @property
    def stopped(self) -> bool:
        """Whether a stop text was met."""
        return self._watch.stopped

    @property
    def thinks(self) -> bool:
        """Whether what comes next is still thinking."""
        return self._split.thinks

    def feed(self, data: bytes) -> list[tuple[str, bool]]:
        """Take a token's bytes; return the pieces that are sure, and whether each is thinking."""
        return self._keep(self._split.feed(self._watch.feed(self._decoder.decode(data))))

    def finish(self) -> list[tuple[str, bool]]:
        """Return what was held back; an unfinished character is dropped."""
        pieces = self._keep(self._split.feed(self._watch.finish()))
        return pieces + self._keep(self._split.finish())

    def _keep(self, pieces: Iterator[tuple[str, bool]]) -> list[tuple[str, bool]]:
        kept = list(pieces)
        for piece, thinking in kept:
            if thinking:
                self.thinking += piece
            else:
                self.text += piece
        return kept
