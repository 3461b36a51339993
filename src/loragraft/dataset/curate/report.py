"""What was kept and what was dropped, why, with examples."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

SCHEMA_VERSION = 1
TEMPLATE = "report.html.jinja"
SUFFIX = ".jsonl"
"""How the name of a file of records ends; what lies beside it is named without."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sample(_Frozen):
    """A row that was dropped.

    Attributes:
        line: Its line in the raw file.
        id: What its record would have been called.
        measured: What the rule found.
        shown: Fields of the row, cut where they are long.
    """

    line: int
    id: str
    measured: str
    shown: dict[str, str]


class Reason(_Frozen):
    """One reason to drop rows.

    Attributes:
        name: The rule's name, or one of the engine's own.
        kind: The rule's kind; "" for the engine's own.
        judged: Rows that came so far.
        dropped: Rows that it dropped.
        missing: Rows that lacked what it needs; they count under "missing field".
        unjudged: Rows that lacked it and passed, because the rule says so.
        samples: Some of the dropped, chosen by a hash: the same ones in every run.
    """

    name: str
    kind: str
    judged: int
    dropped: int
    missing: int
    unjudged: int
    samples: tuple[Sample, ...]

    @property
    def share(self) -> float:
        """Dropped of judged."""
        return self.dropped / self.judged if self.judged else 0.0


class BrokenLine(_Frozen):
    """A line that is no row."""

    line: int
    reason: str


class Reviewed(_Frozen):
    """What people said so far.

    Attributes:
        sample: How many records are to be looked at.
        seed: Which ones.
        accepted: Rows kept because a person said so.
        rejected: Rows dropped because a person said so.
        stale: Rows with a decision about another content: judged by the rules.
    """

    sample: int
    seed: int
    accepted: int
    rejected: int
    stale: int


class Named(_Frozen):
    """A file: its name and what it holds."""

    name: str
    sha256: str


class Report(_Frozen):
    """A run, from the raw file to the records.

    Attributes:
        schema_version: Of this form.
        loragraft: The version that wrote it.
        key: What the result depends on.
        description: What the rules are for, in their own words.
        rules: The rules file.
        raw: The raw file.
        output: The file of records.
        lines: Lines that hold a row.
        broken: Lines that hold none.
        broken_lines: The first of them.
        unpaired: Rows that are no pair, by reason.
        kept: Records.
        target: How many were wanted.
        reasons: In the order in which rows were judged; "missing field" comes last.
        review: What people said so far.
    """

    schema_version: int = SCHEMA_VERSION
    loragraft: str
    key: str
    description: str
    rules: Named
    raw: Named
    output: Named
    lines: int
    broken: int
    broken_lines: tuple[BrokenLine, ...]
    unpaired: dict[str, int]
    kept: int
    target: int | None
    reasons: tuple[Reason, ...]
    review: Reviewed

    @property
    def dropped(self) -> int:
        """Rows that were dropped by whatever reason."""
        return sum(reason.dropped for reason in self.reasons)

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return self.model_dump(mode="json")


def report_path(out: Path) -> Path:
    """Return where the report of a file of records lies: CLEAN.report.json."""
    return out.with_name(f"{_stem(out)}.report.json")


def page_path(out: Path) -> Path:
    """Return where the report's page lies: CLEAN.report.html."""
    return out.with_name(f"{_stem(out)}.report.html")


def decisions_path(out: Path) -> Path:
    """Return where decisions about records lie: CLEAN.review.jsonl."""
    return out.with_name(f"{_stem(out)}.review.jsonl")


def _stem(out: Path) -> str:
    return out.name.removesuffix(SUFFIX)


def read_report(out: Path) -> Report | None:
    """Return the report beside a file of records, or None if there is none that can be read."""
    try:
        return Report.model_validate_json(report_path(out).read_bytes())
    except (OSError, ValidationError):
        return None


def spell_report(report: Report) -> bytes:
    """Return the report's file."""
    return (json.dumps(report.to_json(), indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def render_page(report: Report) -> str:
    """Return the report as one page that needs nothing else; every text in it is escaped."""
    from jinja2 import Environment, StrictUndefined

    from loragraft.chat.cleaning import clean

    text = files("loragraft.dataset.curate").joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["clean"] = clean
    return environment.from_string(text).render(report=report, steps=_steps(report))


def _steps(report: Report) -> list[tuple[str, int, int]]:
    """Return the way from raw rows to records: name, rows left behind it, rows lost in it."""
    left = report.lines - sum(report.unpaired.values())
    steps = [("rows", left, 0)]
    for reason in report.reasons[:-1]:
        lost = reason.dropped + reason.missing
        left -= lost
        steps.append((reason.name, left, lost))
    return steps
