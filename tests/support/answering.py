"""A batch engine that says what a test wants, and remembers what it was asked."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from loragraft.dataset.records import TaskRecord
from loragraft.dataset.split.write import plan_split, write_split
from loragraft.engine.batch.protocol import (
    Answer,
    AnswerStatus,
    BatchEngine,
    Continuations,
    Job,
    Load,
    LogProbs,
)
from loragraft.engine.protocol import Message, Reply
from loragraft.experiment.arms.protocol import Arm, Asked, seed_of
from loragraft.experiment.records import Sample

SEED = 7
Say = Callable[[Job], str | Answer]


def reply(text: str, **values: Any) -> Reply:  # noqa: ANN401
    """Return an answer."""
    usual = {"thinking": "", "finish": "stop", "prompt_tokens": 7, "tokens": 3,
             "prompt_seconds": 0.1, "seconds": 0.2}  # fmt: skip
    return Reply(text, **{**usual, **values})


class ScriptedBatch:
    """Answers by a function of the job; a token is a word. Answers come last job first.

    Attributes:
        jobs: What it was asked to answer.
        wanted: Whose probabilities it was asked for.
    """

    name = "scripted"
    load = Load()

    def __init__(
        self,
        say: Say | str = "Yes.",
        *,
        context: int = 4096,
        likely: Mapping[str, float] | None = None,
        status: AnswerStatus = "ok",
    ) -> None:
        """Say what is answered, and how likely texts are (natural logarithms)."""
        self._say = say if callable(say) else lambda job: str(say)
        self.context, self._likely, self._status = context, likely or {}, status
        self.jobs: list[Job] = []
        self.wanted: list[Continuations] = []

    def identity(self) -> dict[str, Any]:
        """Return a constant."""
        return {"kind": "scripted"}

    def prompt_ids(self, messages: Sequence[Message], *, think: bool | None = None) -> list[int]:
        """Return a number for each word."""
        del think
        return [hash(w) for message in messages for w in message["content"].split()]

    def answers(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        """Answer, the last one first."""
        self.jobs += jobs
        for job in reversed(jobs):
            said = self._say(job)
            yield said if isinstance(said, Answer) else Answer(job.id, "ok", reply(said))

    def log_probs(self, wanted: Sequence[Continuations]) -> Iterator[LogProbs]:
        """Look texts up; those that are not there are impossible."""
        self.wanted += wanted
        for one in reversed(wanted):
            if self._status != "ok":
                yield LogProbs(one.id, self._status, error="The server is gone.")
                continue
            sums = tuple(self._likely.get(text, -math.inf) for text in one.texts)
            yield LogProbs(one.id, "ok", sums, tuple(len(text.split()) for text in one.texts))

    def close(self) -> None:
        """Hold nothing."""


class Blind:
    """The same engine without a look at its tokens or probabilities, as a server's."""

    _HIDDEN = ("prompt_ids", "log_probs", "literals")

    def __init__(self, inner: ScriptedBatch) -> None:
        """Wrap an engine."""
        self._inner = inner

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Ask the engine inside, but for what a server does not show."""
        if name in self._HIDDEN:
            raise AttributeError(name)
        return getattr(self._inner, name)


def ask(
    arm: Arm,
    records: Sequence[TaskRecord],
    engine: ScriptedBatch | Blind | None = None,
    repeats: int = 1,
) -> list[Sample]:
    """Return an arm's samples by record and repeat."""
    given = cast("BatchEngine | None", engine)
    questions = [arm.prepare(record, given) for record in records]
    asked = [
        Asked(question, repeat, seed_of(SEED, question.record.id, repeat))
        for question in questions
        for repeat in range(repeats)
    ]
    order = {(one.question.record.id, one.repeat): place for place, one in enumerate(asked)}
    return sorted(arm.samples(asked, given), key=lambda sample: order[sample.key])


def write_records_split(folder: Path, tag: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write records and a split of them."""
    source = folder / f"{tag}-records.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_split(plan_split(source, seed=SEED), folder, tag)
