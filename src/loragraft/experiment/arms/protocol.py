"""What every arm does: make questions of records, and samples of what became of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from loragraft.dataset.records import TaskRecord
from loragraft.engine.batch.protocol import BatchEngine
from loragraft.engine.protocol import Message
from loragraft.experiment.config import TaskKind
from loragraft.experiment.records import PassageShown, Retrieved, Sample, Status

SEEDS = 2**31
"""Seeds are below it: every engine takes them, also those that count in 32 bits with a sign."""


@dataclass(frozen=True)
class Question:
    """A record that is ready to be asked.

    Attributes:
        record: What it was made of.
        messages: What the engine is given; none where there is no engine, or a fault.
        retrieved: What was found for it, best first.
        shown: What the prompt holds of that, in its order.
        tokens: Of the prompt: counted by the engine, or an estimate above; 0 without one.
        max_tokens: What its answer may have; 0 where nothing is written.
        fault: Why it cannot be asked, with the next step; empty where it can.
        fault_status: What its samples' status is then.
        extra: What its samples' ``extra`` begins with.
    """

    record: TaskRecord
    messages: tuple[Message, ...] = ()
    retrieved: tuple[Retrieved, ...] = ()
    shown: tuple[PassageShown, ...] = ()
    tokens: int = 0
    max_tokens: int = 0
    fault: str = ""
    fault_status: Status = "error"
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """A question in one of its repeats.

    Attributes:
        question: What is asked.
        repeat: From 0.
        seed: Of this answer, see :func:`seed_of`.
    """

    question: Question
    repeat: int
    seed: int


class Arm(Protocol):
    """One experiment's way from records to samples.

    An arm is opened without its engine and loads nothing before it is asked to.
    """

    @property
    def name(self) -> str:
        """The experiment's id."""

    @property
    def task(self) -> TaskKind:
        """The kind of records that it takes."""

    @property
    def asks(self) -> bool:
        """Whether it needs a :class:`BatchEngine`: not a classifier, an embedder, an average."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Experiments whose samples it needs, complete, before it starts."""

    @property
    def repeats(self) -> int:
        """Answers to each question: the experiment's sampling.repeats, or 1 where all are alike."""

    def identity(self) -> dict[str, Any]:
        """Return all that decides a sample beside record, engine and sampling, as JSON values.

        Prompts' version, index and search, examples shown, a classifier's files. Reads small files
        and cached hashes alone, and imports nothing heavy.

        Raises:
            InputError: If something that it needs is not there.
        """

    def context_needed(self, records: Sequence[TaskRecord]) -> int | None:
        """Return tokens that the longest question and its answer may need; None without an engine.

        An estimate above the truth, rounded up; before an engine is opened.
        """

    def prepare(self, record: TaskRecord, engine: BatchEngine | None) -> Question:
        """Make a question of a record.

        Args:
            record: Of the arm's kind.
            engine: Counts tokens, if it can; None estimates them, in a context without end.

        Raises:
            InputError: If the record is of another kind.
            LoragraftError: What keeps every question from being asked: no index, no embedder.
                What concerns this record alone is its question's fault.
        """

    def samples(self, asked: Sequence[Asked], engine: BatchEngine | None) -> Iterator[Sample]:
        """Yield one sample of each, in any order, as it is ready.

        A question with a fault becomes a sample with its ``fault_status``. Closing the generator
        ends the work.

        Raises:
            LoragraftError: What concerns all of them, as :meth:`BatchEngine.answers` does.
        """

    def close(self) -> None:
        """Free what is held and not shared; twice does no harm."""


def seed_of(seed: int, question_id: str, repeat: int) -> int:
    """Return the seed of an answer: the same for every experiment of a series.

    Args:
        seed: The series'.
        question_id: The record's.
        repeat: From 0.
    """
    text = f"{seed}\n{repeat}\n{question_id}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % SEEDS
