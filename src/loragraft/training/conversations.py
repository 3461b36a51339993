"""What a model learns, as conversations: made of task records, or given as such."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from loragraft.dataset.records import Embedding, Qa, Reply, Score, answered
from loragraft.engine.protocol import Message
from loragraft.errors import InputError
from loragraft.training.chat_format import ChatFormat
from loragraft.training.config import TrainConfig
from loragraft.training.rows import DataFile, Messages, Part, read_rows
from loragraft.training.scoring import fields_text

Mode = Literal["closed-book", "passages", "conversation"]
SCORE_QUESTION = "Answer with one number from 0 to 1."
"""As the probes of ``adapter verify`` ask."""


@dataclass(frozen=True)
class Conversation:
    """Turns, some of which are learnt.

    Attributes:
        id: The record's.
        messages: The turns, a learnt one of the assistant's last.
        learnt: Indices of the turns that count in the loss, rising.
        mode: ``closed-book`` and ``passages`` for questions, ``conversation`` for the rest.
        bare: The question without its passages, where it has some.
    """

    id: str
    messages: tuple[Message, ...]
    learnt: tuple[int, ...]
    mode: Mode
    bare: str | None = None

    @property
    def asked(self) -> str:
        """What a person asked: the question without passages."""
        return self.question if self.bare is None else self.bare

    @property
    def question(self) -> str:
        """What was said right before the last answer."""
        return self.messages[self.learnt[-1] - 1]["content"] if self.learnt[-1] else ""

    @property
    def answer(self) -> str:
        """The last answer."""
        return self.messages[self.learnt[-1]]["content"]


@dataclass(frozen=True)
class Read:
    """What was read, and what of it became no conversation.

    Attributes:
        files: With their hashes.
        corpus: Where passages and sentences are from, with its hash; None where none was read.
        split_seed: Of the split; None for files.
        modes: Conversations by mode.
        task_types: Conversations by task type.
        left_out: Rows that are not learnt, by reason.
        notes: What was done in another way than asked for, by what it was.
    """

    files: tuple[DataFile, ...] = ()
    corpus: Mapping[str, Any] | None = None
    split_seed: int | None = None
    modes: Mapping[str, int] = field(default_factory=dict)
    task_types: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return what metadata say of it."""
        names = ("modes", "task_types", "left_out", "notes")
        return {
            "files": [file.to_json() for file in self.files],
            **({} if self.corpus is None else {"corpus": dict(self.corpus)}),
            **{name: dict(getattr(self, name)) for name in names},
        }


@dataclass
class Tally:
    """What happened while conversations were made: counts, and the corpus that was read."""

    corpus: Mapping[str, Any] | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)


def read_conversations(
    config: TrainConfig,
    part: Part,
    tokenizer: Any,  # noqa: ANN401
) -> tuple[list[Conversation], Read]:
    """Read the conversations of a part of the data, in the files' order.

    Args:
        config: Where the data are, and how a record becomes a conversation.
        part: ``train`` or ``validation``; of the latter there may be none.
        tokenizer: The base's, of transformers; it measures passages.

    Raises:
        InputError: As :func:`~loragraft.training.rows.read_rows`; if the corpus cannot be used; or
            if nothing is left to learn from.
        TemplateError: If the tokenizer has no chat template.
    """
    chat = ChatFormat(tokenizer, think=config.prompt.think)
    rows = read_rows(config.data, part, config.seed)
    tally = Tally()
    if rows.unused:
        tally.left_out[f"rows left out: data.max_{part} wants no more"] = rows.unused
    asked = _questions(config, [row for row in rows.rows if isinstance(row, Qa)], chat, tally)
    made: list[tuple[str, Conversation]] = []
    for row in rows.rows:
        found = asked.get(row.id) if isinstance(row, Qa) else _other(row, tally)
        if found is not None:
            made.append((row.task_type, _with_system(found, config.prompt.system)))
    if rows.rows and not made:
        raise InputError(_nothing(tally, [file.path.name for file in rows.files]))
    return [one for _, one in made], Read(
        files=rows.files,
        corpus=tally.corpus,
        split_seed=rows.split_seed,
        modes=Counter(one.mode for _, one in made),
        task_types=Counter(task_type for task_type, _ in made),
        left_out=tally.left_out,
        notes=tally.notes,
    )


def _nothing(tally: Tally, names: Sequence[str]) -> str:
    reasons = "; ".join(f"{count} {reason}" for reason, count in tally.left_out.items())
    return f"{', '.join(names)}: no row is left to learn from ({reasons})."


def _questions(
    config: TrainConfig, records: Sequence[Qa], chat: ChatFormat, tally: Tally
) -> dict[str, Conversation]:
    """Return the conversations of questions by their ids."""
    if not records:
        return {}
    from loragraft.training.passages import ask_questions

    return {one.id: one for one in ask_questions(config, records, chat, tally)}


def _other(row: Messages | Score | Reply | Embedding, tally: Tally) -> Conversation | None:
    if isinstance(row, Messages):
        return Conversation(row.id, row.turns, row.learnt, "conversation")
    if isinstance(row, Embedding):
        tally.left_out["rows left out: the kind embedding is for task: embedding"] += 1
        return None
    prompt = row.prompt if isinstance(row, Reply) else score_prompt(row)
    return exchange(row.id, prompt, answered(row)[0], "conversation")


def exchange(
    name: str, prompt: str, answer: str, mode: Mode, bare: str | None = None
) -> Conversation:
    """Return a conversation of one question and its answer."""
    turns: tuple[Message, ...] = (
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": answer},
    )
    return Conversation(name, turns, (1,), mode, bare)


def score_prompt(record: Score) -> str:
    """Return the parts of a score record, each under its name, and what to answer."""
    return f"{fields_text(record.fields)}\n\n{SCORE_QUESTION}"


def _with_system(conversation: Conversation, system: str | None) -> Conversation:
    """Put a system message before a conversation that has none."""
    first = conversation.messages[0]["role"]
    if system is None or first in ("system", "developer"):
        return conversation
    return Conversation(
        conversation.id,
        ({"role": "system", "content": system}, *conversation.messages),
        tuple(at + 1 for at in conversation.learnt),
        conversation.mode,
        conversation.bare,
    )
