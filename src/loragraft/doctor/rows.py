"""What a check of the machine says: a finding, with the figures behind it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loragraft.adapter.findings import Finding, failed, passed, warned


@dataclass(frozen=True)
class Row:
    """One finding about this machine.

    Attributes:
        finding: What was found, what serves, and the next step. A failure is something without
            which loragraft cannot work; a warning is worth a person's time.
        facts: The figures, for programs.
    """

    finding: Finding
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return {**self.finding.as_dict(), "facts": dict(self.facts)}


@dataclass(frozen=True)
class Surroundings:
    """What the checks look at.

    Attributes:
        folders: Where the user works: their disks are measured, leftovers looked for.
        environ: The environment's variables.
    """

    folders: tuple[Path, ...] = (Path(),)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


def fine(
    code: str, measured: str, expected: str, hint: str = "", facts: Mapping[str, Any] | None = None
) -> Row:
    """Return a row that says all is well; a hint may say what else could be had."""
    finding = passed(code, measured, expected)
    if hint:
        finding = Finding(code, finding.severity, measured, expected, hint)
    return Row(finding, facts or {})


def note(
    code: str, measured: str, expected: str, step: str, facts: Mapping[str, Any] | None = None
) -> Row:
    """Return a row that a person should read; everything works all the same."""
    return Row(warned(code, measured, expected, step), facts or {})


def broken(
    code: str, measured: str, expected: str, step: str, facts: Mapping[str, Any] | None = None
) -> Row:
    """Return a row about something without which loragraft does not work."""
    return Row(failed(code, measured, expected, step), facts or {})


def shown(text: str | Path) -> str:
    r"""Spell a text on one line: control characters and lone surrogates as ``\n``, ``\x1b``."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(text)
    )
