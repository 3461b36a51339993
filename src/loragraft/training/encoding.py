"""Conversations as tokens: what a model reads, and which of it it learns.

Labels are the tokens themselves where an answer or its turn end stands, and ``IGNORED`` everywhere
else. What comes after the turn end (a line end, mostly) is read but not learnt.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from loragraft.engine.protocol import Message
from loragraft.errors import InputError, TemplateError
from loragraft.training.chat_format import ChatFormat, Written

if TYPE_CHECKING:
    from torch import Tensor

    from loragraft.training.conversations import Conversation

IGNORED = -100
"""The label that torch's cross entropy passes over."""
MOST_NAMED = 3
Pair: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]
"""Tokens and labels."""


@dataclass(frozen=True)
class Example:
    """Tokens that go through the model as one sequence.

    Attributes:
        id: The conversation's; with ``#`` and the turn's number where it is one of several.
        ids: Tokens.
        labels: As many.
        positions: Where each token stands in its own conversation; None where they simply count
            up, as they do unless several conversations are packed together.
    """

    id: str
    ids: tuple[int, ...]
    labels: tuple[int, ...]
    positions: tuple[int, ...] | None = None

    @property
    def learnt(self) -> int:
        """How many tokens count in the loss."""
        return sum(label != IGNORED for label in self.labels)


@dataclass(frozen=True)
class Lengths:
    """How long examples are, in tokens.

    Attributes:
        examples: Their number.
        tokens: Of all together.
        learnt: Of these, how many count in the loss.
        longest: Of one.
        median: Of one.
        p95: Nineteen of twenty are no longer.
    """

    examples: int = 0
    tokens: int = 0
    learnt: int = 0
    longest: int = 0
    median: int = 0
    p95: int = 0

    def to_json(self) -> dict[str, int]:
        """Return what metadata say of them."""
        return dict(vars(self))


@dataclass(frozen=True)
class Encoded:
    """Examples, and what became of the conversations that are none.

    Attributes:
        examples: In the order of the conversations.
        dropped: Answers that are not learnt, by reason.
        dropped_ids: Of their conversations, the first ones.
        shortened: Examples without the oldest turns of their conversations.
        lengths: Of the examples.
    """

    examples: tuple[Example, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
    dropped_ids: tuple[str, ...] = ()
    shortened: int = 0
    lengths: Lengths = Lengths()

    def to_json(self) -> dict[str, Any]:
        """Return what metadata say of them."""
        return {
            **self.lengths.to_json(),
            "dropped": dict(self.dropped),
            "shortened": self.shortened,
        }


def encode(chat: ChatFormat, conversations: Sequence[Conversation], max_length: int) -> Encoded:
    """Turn conversations into examples of at most so many tokens.

    Where a conversation is too long, its oldest turns are left out, never an answer's end; answers
    of those turns are learnt in an example of their own. Each answer is learnt once.

    Args:
        chat: The base's tokenizer with its template.
        conversations: What is learnt.
        max_length: Most tokens of an example.

    Raises:
        InputError: If no answer fits.
        TemplateError: If the template refuses a conversation.
    """
    encoder = _Encoder(chat, max_length)
    examples = [one for conversation in conversations for one in encoder.examples(conversation)]
    if conversations and not examples:
        raise InputError(
            f"None of the {len(conversations)} conversations fits into {max_length} tokens with "
            "its last question and the answer. Raise optimiser.max_length."
        )
    dropped, named = dict(encoder.dropped), tuple(encoder.named[:MOST_NAMED])
    return Encoded(tuple(examples), dropped, named, encoder.shortened, measure(examples))


class _Encoder:
    """Makes examples and remembers what it left out."""

    def __init__(self, chat: ChatFormat, most: int) -> None:
        self._chat, self._most = chat, most
        self.dropped: Counter[str] = Counter()
        self.named: list[str] = []
        self.shortened = 0

    def examples(self, conversation: Conversation) -> list[Example]:
        """Return the examples of a conversation, in its order."""
        try:
            parts = self._parts(conversation)
        except TemplateError as error:
            raise TemplateError(f"The conversation {conversation.id!r}: {error}") from None
        if len(parts) == 1 and len(conversation.learnt) == 1:
            return [Example(conversation.id, *parts[0][1])]
        return [Example(f"{conversation.id}#{at}", *pair) for at, pair in parts]

    def _parts(self, conversation: Conversation) -> list[tuple[int, Pair]]:
        """Return tokens and labels until each answer is learnt, with its last turn's number."""
        learnt, found = conversation.learnt, []
        while learnt:
            messages = conversation.messages[: learnt[-1] + 1]
            start, pair = self._fitting(messages, learnt)
            if pair is None:
                self.dropped[
                    f"answers left out: longer than {self._most} tokens with the question alone"
                ] += 1
                self.named.append(conversation.id)
                learnt = learnt[:-1]
                continue
            found.append((learnt[-1], pair))
            together = self._together(*_from(messages, start, learnt)) is not None
            learnt = tuple(at for at in learnt if at < start) if together else learnt[:-1]
        return found[::-1]

    def _together(self, messages: Sequence[Message], learnt: tuple[int, ...]) -> Written | None:
        """Return all answers in one text, or None: then the last one is learnt alone."""
        return self._chat.write(messages, learnt) if len(learnt) > 1 else None

    def _fitting(
        self, messages: Sequence[Message], learnt: tuple[int, ...]
    ) -> tuple[int, Pair | None]:
        """Return where the conversation begins so that it fits, and its tokens and labels."""
        whole, *later = _beginnings(messages)
        pair = self._tokens(messages, whole, learnt)
        if len(pair[0]) <= self._most:
            return whole, pair

        def fits(at: int) -> bool:
            return len(self._tokens(messages, at, learnt)[0]) <= self._most

        place = bisect_left(later, True, key=fits)
        if place == len(later):
            return whole, None
        self.shortened += 1
        return later[place], self._tokens(messages, later[place], learnt)

    def _tokens(self, messages: Sequence[Message], start: int, learnt: tuple[int, ...]) -> Pair:
        kept, answers = _from(messages, start, learnt)
        written = self._together(kept, answers) or self._chat.write_answer(kept)
        return _labelled(self._chat, written)


def _beginnings(messages: Sequence[Message]) -> list[int]:
    """Return where a conversation may begin when its oldest turns are left out: at a question."""
    first = _head(messages)
    return [first, *(at for at in range(first + 1, len(messages) - 1)
                     if messages[at]["role"] == "user")]  # fmt: skip


def _head(messages: Sequence[Message]) -> int:
    """Return how many messages stand before the first turn, and stay."""
    roles = [message["role"] for message in messages]
    return next((at for at, role in enumerate(roles) if role not in ("system", "developer")), 0)


def _from(
    messages: Sequence[Message], start: int, learnt: Sequence[int]
) -> tuple[list[Message], tuple[int, ...]]:
    """Leave out the turns before one, but for the system's."""
    head = _head(messages)
    kept = [*messages[:head], *messages[start:]]
    return kept, tuple(at - start + head for at in learnt if at >= start)


def _labelled(chat: ChatFormat, written: Written) -> Pair:
    """Return a text's tokens and labels.

    The tokens are those of the whole text, unless one of them lies across the border of an answer:
    there the text is divided, as it is when a model reads the prompt and goes on by itself.
    """
    ids = chat.tokenize(written.text, written.marks)
    labels = [IGNORED] * len(ids)
    for start, stop in written.learnt:
        before = chat.tokenize(written.text[:start], written.marks)
        until = chat.tokenize(written.text[:stop], written.marks)
        if ids[: len(until)] != until or until[: len(before)] != before:
            return _divided(chat, written)
        labels[len(before) : len(until)] = until[len(before) :]
    return tuple(ids), tuple(labels)


def _divided(chat: ChatFormat, written: Written) -> Pair:
    ids: list[int] = []
    labels: list[int] = []
    done = 0
    for start, stop in (*written.learnt, (len(written.text), len(written.text))):
        read = chat.tokenize(written.text[done:start], written.marks)
        said = chat.tokenize(written.text[start:stop], written.marks)
        ids += read + said
        labels += [IGNORED] * len(read) + said
        done = stop
    return tuple(ids), tuple(labels)


def measure(examples: Sequence[Example]) -> Lengths:
    """Return how long examples are."""
    if not examples:
        return Lengths()
    lengths = sorted(len(example.ids) for example in examples)
    return Lengths(
        examples=len(lengths),
        tokens=sum(lengths),
        learnt=sum(example.learnt for example in examples),
        longest=lengths[-1],
        median=lengths[len(lengths) // 2],
        p95=lengths[max(0, -(-len(lengths) * 19 // 20) - 1)],
    )


def collate(examples: Sequence[Example], pad_id: int) -> dict[str, Tensor]:
    """Pad examples on the right to one length.

    Where one of them is packed there are ``position_ids`` instead of an ``attention_mask``, and
    the model must be called with ``use_cache=False``: then transformers lets each token see its
    own conversation only, in layers with a sliding window too. Padding counts as one more
    conversation.

    Args:
        examples: At least one.
        pad_id: Any token; it is neither learnt nor seen.

    Returns:
        ``input_ids``, ``labels`` and one of the two, each of shape [examples, longest], int64.
    """
    import torch

    longest = max(len(example.ids) for example in examples)

    def padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
        return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows])

    batch = {
        "input_ids": padded([example.ids for example in examples], pad_id),
        "labels": padded([example.labels for example in examples], IGNORED),
    }
    if any(example.positions is not None for example in examples):
        rows = [example.positions or range(len(example.ids)) for example in examples]
        batch["position_ids"] = torch.tensor([[*row, *range(longest - len(row))] for row in rows])
    else:
        batch["attention_mask"] = padded([[1] * len(example.ids) for example in examples], 0)
    return batch
