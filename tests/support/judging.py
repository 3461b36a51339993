"""A judge that decides by a rule, so that what is made of its verdicts can be known beforehand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from loragraft.engine.batch.protocol import Answer, Job, Load, Meter
from loragraft.engine.protocol import Reply
from loragraft.experiment.records import Sample

Rule = Callable[[Job], str | Answer]
"""Returns what the judge writes, or what became of the job."""


def verdict(word: str, reasons: str = "Because.") -> str:
    """Return an output as it should be."""
    return json.dumps({"reasons": reasons, "verdict": word})


def sections(prompt: str) -> dict[str, str]:
    """Return the quoted parts of a judge's prompt by their headings."""
    found = re.findall(r"^([A-Z][\w ]+):\n((?:^>.*\n?)+|\(nothing\))", prompt, re.MULTILINE)
    return {name: re.sub(r"^> ?", "", text, flags=re.MULTILINE).strip() for name, text in found}


class RuleJudge:
    """Answers jobs by a rule, the last one first.

    Attributes:
        jobs: All that it was asked.
        closed: Whether it was closed.
    """

    name, context = "rule", 4096

    def __init__(self, rule: Rule, version: int = 1) -> None:
        """Take the rule; the version is its identity."""
        self._rule, self._version = rule, version
        self.jobs: list[Job] = []
        self.closed = False
        self._meter = Meter()

    @property
    def load(self) -> Load:
        """What it has cost."""
        return self._meter.load

    def identity(self) -> dict[str, Any]:
        """Return the version."""
        return {"rule": self._version}

    def answers(self, jobs: Sequence[Job]) -> Iterator[Answer]:
        """Yield answers, the last job's first."""
        for job in reversed(jobs):
            self.jobs.append(job)
            said = self._rule(job)
            if isinstance(said, Answer):
                yield said
            else:
                yield Answer(job.id, "ok", Reply(said, "", "stop", 100, 20, 0.1, 0.2), cost=0.5)

    def close(self) -> None:
        """Note it."""
        self.closed = True


def longer_wins(job: Job) -> str:
    """Judge as many do: the longer answer is better."""
    found = sections(job.messages[0]["content"])
    sizes = [len(found.get(f"{kind} {place}", "")) for place in "AB" for kind in ("Answer", "Reply")
             if f"{kind} {place}" in found]  # fmt: skip
    a, b = sizes
    return verdict("A" if a > b else "B" if b > a else "tie")


def sample(experiment: str, question: str, answer: str, **more: Any) -> Sample:  # noqa: ANN401
    """Return a sample with an answer."""
    values = {"repeat": 0, "task_type": "qa", "paper_id": None, "seed": 1, "messages": (),
              "status": "ok", "raw": answer, "answer": answer, **more}  # fmt: skip
    return Sample(experiment=experiment, question_id=question, **values)
