"""Prompts answered in free text."""

from __future__ import annotations

from typing import Any

from loragraft.dataset.records import Reply, TaskRecord
from loragraft.engine.batch.protocol import BatchEngine
from loragraft.engine.protocol import Message
from loragraft.experiment.arms.asking import AskingArm
from loragraft.experiment.arms.protocol import Question
from loragraft.experiment.config import TaskKind


class ReplyArm(AskingArm):
    """Records of the kind ``reply``: the prompt as it is, the answer as it comes."""

    task: TaskKind = "reply"

    def identity(self) -> dict[str, Any]:
        """Return what decides a sample."""
        return {"task": self.task}

    def compose(self, record: TaskRecord, engine: BatchEngine | None) -> Question:
        """Make a question of a record."""
        assert isinstance(record, Reply)
        messages = turns(self.sampling.system, record.prompt)
        tokens = self.count(messages, engine)
        return Question(
            record,
            messages,
            tokens=tokens,
            max_tokens=self.sampling.max_tokens,
            fault=self.fault_of(tokens, engine),
        )


def turns(system: str | None, content: str) -> tuple[Message, ...]:
    """Return a conversation of one question."""
    before: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    return (*before, {"role": "user", "content": content})
