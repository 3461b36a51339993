"""What has come of an answer over the network, and the reply that it makes."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from loragraft.engine.answer_text import KNOWN_TAGS, StopWatch, ThinkingSplit
from loragraft.engine.batch.failing import FailedError
from loragraft.engine.batch.protocol import Answer, Job, Meter
from loragraft.engine.ollama import BYTES_PER_TOKEN
from loragraft.engine.protocol import Finish, Message, Reply, Sampling

SEEDS = 2**31
"""Servers take seeds of 31 bits; larger ones are refused by some and cut by others."""
PER = 1_000_000
"""Tokens that a price is for."""


@dataclass
class Heard:
    """An answer as it comes.

    Attributes:
        text: Pieces of the answer.
        thinking: Pieces of what was thought, where the server tells it apart.
        finish: Why it ended, as the server spells it; empty until it says so.
        refusal: The model's or the filter's own words of refusal.
        prompt_tokens: As the server counts; None until it says so.
        tokens: Written, as the server counts.
        log_probs: What it shows of its first token.
        ended: Whether the server said that this was all.
    """

    start: float = field(default_factory=time.perf_counter)
    text: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    finish: str = ""
    refusal: str = ""
    prompt_tokens: int | None = None
    tokens: int | None = None
    log_probs: list[Mapping[str, Any]] = field(default_factory=list)
    ended: bool = False
    _first: float | None = None
    _last: float = 0.0
    _pieces: int = 0

    def take(self, said: str, thought: str = "") -> None:
        """Note a piece."""
        if said or thought:
            self._last = time.perf_counter()
            self._first = self._first or self._last
            self._pieces += 1
            self.text.append(said)
            self.thinking.append(thought)

    def reply(self, finish: Finish, stops: Sequence[str]) -> Reply:
        """Return the answer without its thinking, up to the first stop text."""
        answer, thinking = split_thinking("".join(self.text))
        watch = StopWatch(stops)
        answer = watch.feed(answer) + watch.finish()
        thoughts = ["".join(self.thinking).strip(), thinking]
        now = time.perf_counter()
        first = self._first or now
        return Reply(
            text=answer,
            thinking="\n".join(text for text in thoughts if text),
            finish="stop" if watch.stopped else finish,
            prompt_tokens=self.prompt_tokens or 0,
            tokens=self._pieces if self.tokens is None else self.tokens,
            prompt_seconds=first - self.start,
            seconds=max(0.0, self._last - first),
        )


def split_thinking(text: str) -> tuple[str, str]:
    """Return an answer and what was thought before it, where a server left both in one text.

    Thinking stands between tags at the beginning. Where the prompt has opened it already, only
    the closing tag is in the text; where the answer was cut short, only the opening one.
    """
    for tags in KNOWN_TAGS:
        opens = text.lstrip().startswith(tags.opening)
        begun = not opens and tags.closing in text and tags.opening not in text
        if opens or begun:
            split = ThinkingSplit(tags, begun=begun)
            pieces = [*split.feed(text), *split.finish()]
            said, thought = (
                "".join(piece for piece, thinking in pieces if thinking is wanted)
                for wanted in (False, True)
            )
            return said, thought
    return text, ""


def seed_of(sampling: Sampling) -> int | None:
    """Return a sampling's seed as every server takes it; None for none."""
    return None if sampling.seed is None else sampling.seed % SEEDS


def size_of(messages: Sequence[Message]) -> int:
    """Return the bytes of a conversation's texts."""
    return sum(len(message["content"].encode("utf-8", "replace")) for message in messages)


def refuse_cut(who: str, messages: Sequence[Message], tokens: int | None) -> None:
    """Notice by the number of tokens that a conversation was not read whole.

    Raises:
        FailedError: If so few tokens cannot hold it.
    """
    if tokens and tokens * BYTES_PER_TOKEN < size_of(messages):
        raise FailedError(
            "truncated",
            f"{who} read only {tokens} tokens of {size_of(messages)} bytes: it cuts what does not "
            "fit its context. Raise the context there, or give fewer passages.",
        )


def cost_of(
    prompt: int | None, written: int | None, input_price: float | None, output_price: float | None
) -> float | None:
    """Return US dollars; None where a price or a count is not known."""
    if input_price is None or output_price is None or prompt is None or written is None:
        return None
    return (prompt * input_price + written * output_price) / PER


class Spent:
    """What the attempts at each question of one call have cost together."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._dollars: dict[str, float] = {}

    def add(self, job: Job, cost: float | None) -> float | None:
        """Add an attempt, where its cost is known; return the sum so far."""
        if cost is not None:  # a job is tried by one thread at a time
            self._dollars[job.id] = self._dollars.get(job.id, 0.0) + cost
        return self._dollars.get(job.id)

    def missing(self, job: Job, failed: FailedError, attempts: int) -> Answer:
        """Return what stands in the place of an answer that failed finally."""
        cost = self._dollars.get(job.id)
        return Answer(job.id, failed.status, None, failed.words, attempts, cost)


def metered(meter: Meter, answers: Generator[Answer, None, None]) -> Iterator[Answer]:
    """Yield answers, and add up what they cost; the time is that spent waiting for them."""
    with closing(answers):
        before = time.perf_counter()
        for answer in answers:
            reply = answer.reply
            meter.add(
                prompt=reply.prompt_tokens if reply else 0,
                tokens=reply.tokens if reply else 0,
                seconds=time.perf_counter() - before,
            )
            yield answer
            before = time.perf_counter()
