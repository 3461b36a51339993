"""What every batch engine does: answer many conversations, losing none and mixing up none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from loragraft.engine.protocol import Message, Reply, Sampling

AnswerStatus = Literal["ok", "timeout", "truncated", "refused", "error"]
"""What became of a job: answered; no answer in time; the server cut the prompt; the provider's
filter refused it; anything else that failed. All but ``ok`` were tried again before."""


@dataclass(frozen=True)
class Job:
    """One conversation to be answered.

    Attributes:
        id: Unique in one call.
        messages: The turns, the user's last.
        sampling: How tokens are chosen; its seed is this job's own.
        think: Switch the template's thinking on or off; None leaves it as it is.
        schema: A JSON schema that the answer must follow, where the engine can hold it to that.
    """

    id: str
    messages: tuple[Message, ...]
    sampling: Sampling
    think: bool | None = None
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Answer:
    """What became of a job.

    Attributes:
        id: The job's.
        status: Whether it was answered.
        reply: The answer; None unless the status is ``ok``.
        error: Why there is none: one sentence with the next step.
        attempts: How often it was tried.
        cost: In US dollars, where the engine has prices.
    """

    id: str
    status: AnswerStatus
    reply: Reply | None
    error: str = ""
    attempts: int = 1
    cost: float | None = None


@dataclass(frozen=True)
class Continuations:
    """Texts whose probabilities after a conversation are wanted.

    Attributes:
        id: Unique in one call.
        messages: The turns; the texts begin the answer.
        texts: Continuations, each at least one token.
        think: As for a job.
    """

    id: str
    messages: tuple[Message, ...]
    texts: tuple[str, ...]
    think: bool | None = None


@dataclass(frozen=True)
class LogProbs:
    """Natural log-probabilities of continuations.

    Attributes:
        id: Of the continuations.
        status: Whether they could be had.
        sums: One a text: of all its tokens together. Minus infinity where the engine shows only
            the likeliest tokens and this is not among them.
        counts: Tokens of each text.
        error: Why there are none.
    """

    id: str
    status: AnswerStatus
    sums: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Load:
    """What answering has cost so far.

    Attributes:
        prompt_tokens: Read, those that a cache spared not counted.
        shared_tokens: Spared by a common beginning.
        tokens: Written.
        seconds: Spent.
        peak_bytes: Most memory of this process; None for a server.
    """

    prompt_tokens: int = 0
    shared_tokens: int = 0
    tokens: int = 0
    seconds: float = 0.0
    peak_bytes: int | None = None


class BatchEngine(Protocol):
    """Answers many conversations."""

    @property
    def name(self) -> str:
        """What a person calls the model."""

    @property
    def context(self) -> int:
        """Tokens that one conversation and its answer may have together."""

    @property
    def load(self) -> Load:
        """What answering has cost so far."""

    def identity(self) -> dict[str, Any]:
        """Return all that decides an answer beside its job, as JSON values.

        Hashes of files, width, types, versions: what two runs must share to be the same run.
        """

    def answers(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        """Yield each job's answer as it is ready, in any order, each exactly once.

        An answer depends on its job and :meth:`identity` alone: not on the other jobs, their
        order, nor on what was asked before. Closing the generator ends the work.

        Raises:
            LoragraftError: If nothing can be answered at all: no server, no such model, no key.
                What concerns one job is its status.
            KeyboardInterrupt: If the user interrupts.
        """

    def close(self) -> None:
        """Free what is held; twice does no harm."""


class CountingEngine(BatchEngine, Protocol):
    """One whose tokens can be seen before it is asked."""

    def prompt_ids(self, messages: Sequence[Message], *, think: bool | None = None) -> list[int]:
        """Return the token ids of a conversation, ready for its answer."""


class ProbabilityEngine(BatchEngine, Protocol):
    """One that shows how likely a text is."""

    def log_probs(self, wanted: Sequence[Continuations]) -> Iterator[LogProbs]:
        """Yield the log-probabilities of continuations, in any order, each exactly once."""


@dataclass
class Meter:
    """Adds up an engine's load.

    Attributes:
        load: So far.
    """

    load: Load = field(default_factory=Load)

    def add(
        self,
        *,
        prompt: int = 0,
        shared: int = 0,
        tokens: int = 0,
        seconds: float = 0.0,
        peak: int | None = None,
    ) -> None:
        """Add what a step has cost."""
        old = self.load
        peaks = [value for value in (old.peak_bytes, peak) if value is not None]
        self.load = Load(
            old.prompt_tokens + prompt,
            old.shared_tokens + shared,
            old.tokens + tokens,
            old.seconds + seconds,
            max(peaks, default=None),
        )
