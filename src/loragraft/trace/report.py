"""What a trace found, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loragraft.trace.cause import Aspect, Cause
from loragraft.trace.compare import Cell
from loragraft.trace.observation import Answer


@dataclass(frozen=True)
class StageReport:
    """One stage.

    Attributes:
        key: Name for programs.
        title: Name for people.
        skipped: Why it was not looked at; None where it was.
        cells: What was compared with the stage before.
        answers: Samples.
        causes: What went wrong here.
        inherited: What an earlier stage brought and this one still has.
        notes: What a person should know of it.
    """

    key: str
    title: str
    skipped: str | None = None
    cells: Mapping[Aspect, Cell] = field(default_factory=dict)
    answers: tuple[Answer, ...] = ()
    causes: tuple[Cause, ...] = ()
    inherited: tuple[Cause, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the stage as JSON values."""
        return {
            "key": self.key,
            "title": self.title,
            "skipped": self.skipped,
            "compared": {aspect: cell.to_json() for aspect, cell in self.cells.items()},
            "answers": [answer.to_json() for answer in self.answers],
            "causes": [vars(cause) for cause in self.causes],
            "inherited": [cause.code for cause in self.inherited],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class TraceReport:
    """The whole chain.

    Attributes:
        stages: In the order of the adapter's way.
        probes: Names of the conversations.
        notes: What was decided or could not be compared.
    """

    stages: tuple[StageReport, ...]
    probes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def guilty(self) -> StageReport | None:
        """The first stage that parts from the training's side."""
        return next((stage for stage in self.stages if stage.causes), None)

    @property
    def healthy(self) -> bool:
        """Whether no stage parts."""
        return self.guilty is None

    @property
    def headline(self) -> str:
        """The verdict in one line."""
        guilty = self.guilty
        if guilty is None:
            seen = [stage.title for stage in self.stages if stage.skipped is None]
            return f"nothing parts: {', '.join(seen)} agree"
        first = guilty.causes[0]
        others = sum(len(stage.causes) for stage in self.stages) - 1
        line = f"parts at: {guilty.title}: {first.cause} ({first.evidence})"
        return line + (f"; {others} more below" if others else "")

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        guilty = self.guilty
        return {
            "healthy": self.healthy,
            "headline": self.headline,
            "parts_at": guilty.key if guilty is not None else None,
            "cause": vars(guilty.causes[0]) if guilty is not None else None,
            "stages": [stage.to_json() for stage in self.stages],
            "probes": list(self.probes),
            "notes": list(self.notes),
        }
