"""When an adapter was trained, as far as its files say so, and how much each source is worth."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path

from loragraft.adapter.leftovers import Leftover

_RECORDS = ("EXPERIMENT_METADATA.json", "trainer_state.json", "training_args.json",
            "all_results.json", "README.md")  # fmt: skip
_MAX_RECORD_BYTES = 4 << 20
"""A trainer's state of a long run has some hundred kilobytes."""
_DAY = re.compile(
    r"(?<![\w.-])(?P<key>[\w.-]{0,40}(?:date|time|created|started|finished|trained|_at)\w{0,20})"
    r"[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?P<year>20[12]\d)-(?P<month>\d\d)-(?P<day>\d\d)(?!\d)",
    re.IGNORECASE,
)
"""A field with a time in its name, and an ISO 8601 day; bounded, since the text is a stranger's."""
_EVENTS = re.compile(r"events\.out\.tfevents\.(\d{10})\.")
_WANDB = re.compile(r"(?:offline-)?run-(20[12]\d)(\d\d)(\d\d)_\d{6}")


@dataclass(frozen=True)
class Dated:
    """One day, and the source that says it.

    Attributes:
        day: The day, in the source's own time zone or UTC.
        source: File and field, in words.
        recorded: Whether training wrote it down; file times change with every copy.
    """

    day: date
    source: str
    recorded: bool


def find_dates(folder: Path, weights: Path | None, leftovers: tuple[Leftover, ...]) -> list[Dated]:
    """Collect every day that an adapter's files state, the recorded ones first."""
    found = [dated for name in _RECORDS for dated in _in_record(folder / name)]
    for leftover in leftovers:
        name = leftover.name.rstrip("/").rpartition("/")[2]
        if match := _EVENTS.match(name):
            stamp = datetime.fromtimestamp(int(match[1]), timezone.utc)
            found.append(Dated(stamp.date(), f"the name of {name}", recorded=True))
    for path in sorted(folder.glob("wandb/*run-*"))[:100]:
        match = _WANDB.match(path.name)
        day = _day(*match.groups()) if match else None
        if day is not None:
            found.append(Dated(day, f"the name of {path.name}", recorded=True))
    if weights is not None:
        try:
            stamp = datetime.fromtimestamp(weights.stat().st_mtime, timezone.utc)
            found.append(Dated(stamp.date(), f"the file time of {weights.name}", recorded=False))
        except (OSError, OverflowError, ValueError):
            pass
    return found


def _in_record(path: Path) -> Iterator[Dated]:
    """Find dated fields in a file; JSON is written out flat first, so that one rule fits all."""
    try:
        if not path.is_file() or path.stat().st_size > _MAX_RECORD_BYTES:
            return
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".json":
            text = json.dumps(json.loads(text), indent=0)
    except (OSError, ValueError, RecursionError):
        return
    for match in _DAY.finditer(text):
        day = _day(match["year"], match["month"], match["day"])
        if day is not None:
            yield Dated(day, f"{match['key']} in {path.name}", recorded=True)


def _day(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None
