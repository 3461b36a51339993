"""How likely texts are after conversations: each conversation read once, its texts after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from loragraft.engine.batch.llama_reading import PART, PromptReader, ReadPrompt, plan_sharing
from loragraft.engine.batch.llama_slots import LlamaSlots
from loragraft.engine.batch.protocol import Continuations, LogProbs, Meter
from loragraft.engine.protocol import Message
from loragraft.errors import BundleError, InputError, LoragraftError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Tokenizes(Protocol):
    """What makes ids of conversations and texts."""

    @property
    def context(self) -> int:
        """Tokens that a conversation and a text may have together."""

    def prompt_ids(self, messages: Sequence[Message], *, think: bool | None = None) -> list[int]:
        """Return the ids of a conversation, ready for its answer."""

    def text_ids(self, text: str) -> list[int]:
        """Return the ids of a text that begins an answer."""


@dataclass
class _Asked:
    """A conversation in ids, and the texts after it."""

    id: str
    prompt: list[int]
    texts: list[list[int]]


def read_probabilities(
    tokens: Tokenizes, slots: LlamaSlots, wanted: Sequence[Continuations], meter: Meter
) -> Iterator[LogProbs]:
    """Yield the log-probabilities of continuations.

    Raises:
        BundleError: If the computation fails.
        KeyboardInterrupt: If the user interrupts.
    """
    asked: list[_Asked] = []
    for each in wanted:
        try:
            asked.append(_prepare(tokens, each))
        except LoragraftError as error:
            yield LogProbs(each.id, "error", error=str(error))
    asked.sort(key=lambda one: one.prompt)
    sharing = plan_sharing([one.prompt for one in asked])
    reader = PromptReader(slots)
    for one, needed in zip(asked, sharing, strict=True):
        read = partial(reader.read, 0, one.prompt, needed)
        yield _measure(one, slots, read, meter)


def _prepare(tokens: Tokenizes, wanted: Continuations) -> _Asked:
    prompt = tokens.prompt_ids(wanted.messages, think=wanted.think)
    texts = [tokens.text_ids(text) for text in wanted.texts]
    if not prompt or not all(texts):
        raise InputError("The conversation or one of the texts after it has no tokens.")
    longest = len(prompt) + max(map(len, texts), default=0)
    if longest > tokens.context:
        raise InputError(
            f"Conversation and text have {longest} tokens together, and the model was loaded with "
            f"a context of {tokens.context}. Choose a larger one (context), or shorten the prompt."
        )
    return _Asked(wanted.id, prompt, texts)


def _measure(
    asked: _Asked, slots: LlamaSlots, read_prompt: Callable[[], ReadPrompt], meter: Meter
) -> LogProbs:
    start = time.perf_counter()
    read = read_prompt()
    bodies = sorted({tuple(text[:-1]) for text in asked.texts if len(text) > 1})
    rows = {(): read.logits[None]} | _read_bodies(slots, len(asked.prompt), bodies, read.logits)
    told = (len(asked.prompt) - read.shared, sum(map(len, bodies)))
    meter.add(prompt=sum(told), shared=read.shared, seconds=time.perf_counter() - start)
    try:
        sums = tuple(_log_prob(rows[tuple(text[:-1])], text) for text in asked.texts)
    except BundleError as error:
        return LogProbs(asked.id, "error", error=str(error))
    return LogProbs(asked.id, "ok", sums, tuple(map(len, asked.texts)))


def _read_bodies(
    slots: LlamaSlots, start: int, bodies: Sequence[tuple[int, ...]], first: NDArray[np.float32]
) -> dict[tuple[int, ...], NDArray[np.float32]]:
    """Return for each body, which is a text without its last token, the logits at each of its ends.

    Shape [tokens + 1, vocabulary]: before its first token, after its first ...
    """
    import numpy as np

    state = slots.keep(0) if len(bodies) > 1 else None
    rows = {}
    for index, body in enumerate(bodies):
        if index and state is not None:
            slots.restore(0, state)
        rows[body] = np.concatenate([first[None], *_read_body(slots, start, body)])
    return rows


def _read_body(slots: LlamaSlots, start: int, body: Sequence[int]) -> Iterator[NDArray[np.float32]]:
    for at in range(0, len(body), PART):
        part = body[at : at + PART]
        if len(part) == 1:  # in company: see part_ends
            idle = [None] * (slots.width - 1)
            yield slots.step([(part[0], start + at), *idle])[:1].copy()
        else:
            logits = slots.read_part(0, part, start + at, len(part))
            if logits is not None:
                yield logits


def _log_prob(rows: NDArray[np.float32], text: Sequence[int]) -> float:
    """Return the sum of the log-probabilities of a text's tokens, in nats."""
    import numpy as np

    values = rows.astype(np.float64)
    if not np.isfinite(values.max()):
        raise BundleError(
            "The model's next-token distribution holds NaN or infinite values. Its weights are "
            "broken: check the file's checksum, or export it again."
        )
    top = values.max(axis=1)
    norms = top + np.log(np.exp(values - top[:, None]).sum(axis=1))
    return float((values[np.arange(len(text)), list(text)] - norms).sum())
