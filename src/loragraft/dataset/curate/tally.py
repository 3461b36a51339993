"""Counts and samples of a run, in a form that a killed run goes on with."""

from __future__ import annotations

import hashlib
from bisect import insort
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from loragraft.dataset.curate.fields import read
from loragraft.dataset.curate.report import BrokenLine, Reason, Sample
from loragraft.dataset.curate.rule import Drop, Row

SAMPLES = 5
"""Dropped rows of each reason that the report shows."""
MISSING = "missing field"
"""The reason under which rows count that lack what a rule needs."""
RECORD_ID = "record id"
"""What the report calls rows that lack what their record would be called by."""
NAMED_LINES = 20
"""Broken lines that are named; of more the number is told."""
_SHOWN = 240
"""Characters of a field that a sample shows: a post is whole."""


class Tally:
    """Counts what happens to rows.

    Attributes:
        counts: Of lines and rows, by what happened; most names are those of the report.
        unpaired: Rows that are no pair, by reason.
    """

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        """Begin, or go on from what :meth:`saved` returned."""
        saved = saved or {}
        self.counts: Counter[str] = Counter(saved.get("counts", {}))
        self.unpaired: Counter[str] = Counter(saved.get("unpaired", {}))
        self._dropped: Counter[str] = Counter(saved.get("dropped", {}))
        self._missing: Counter[str] = Counter(saved.get("missing", {}))
        self._unjudged: Counter[str] = Counter(saved.get("unjudged", {}))
        self._broken: list[tuple[int, str]] = [tuple(item) for item in saved.get("lines", [])]
        self._samples: dict[str, list[tuple[int, dict[str, Any]]]] = {
            name: [(item[0], item[1]) for item in items]
            for name, items in saved.get("samples", {}).items()
        }

    def saved(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "counts": self.counts,
            "unpaired": self.unpaired,
            "dropped": self._dropped,
            "missing": self._missing,
            "unjudged": self._unjudged,
            "lines": self._broken,
            "samples": self._samples,
        }

    def broke(self, line: int, reason: str) -> None:
        """Count a line that is no row."""
        self.counts["broken"] += 1
        if len(self._broken) < NAMED_LINES:
            self._broken.append((line, reason))

    def let_pass(self, reason: str) -> None:
        """Count a row that lacks what a rule needs, and passes because the rule says so."""
        self._unjudged[reason] += 1

    def drop(self, reason: str, row: Row, drop: Drop, paths: Callable[[], tuple[str, ...]]) -> None:
        """Count a row that goes, and maybe keep it as an example.

        Args:
            reason: The rule's name.
            row: The row.
            drop: What was found.
            paths: Returns the fields to show; called for examples alone.
        """
        (self._missing if drop.missing else self._dropped)[reason] += 1
        measured = drop.measured
        if drop.missing:
            self._dropped[MISSING] += 1
            reason, measured = MISSING, f"{reason}: {measured}"
        data = f"{reason}\0{row.line}".encode("utf-8", "surrogatepass")
        place = int.from_bytes(hashlib.blake2b(data, digest_size=6).digest(), "big")
        samples = self._samples.setdefault(reason, [])
        if len(samples) < SAMPLES or place < samples[-1][0]:
            shown = {path: _shown(read(row.values, path)) for path in paths()}
            sample = {"line": row.line, "id": _cut(row.id), "measured": measured}
            insort(samples, (place, {**sample, "shown": shown}), key=lambda item: item[0])
            del samples[SAMPLES:]

    def reasons(self, names: Sequence[tuple[str, str]]) -> tuple[Reason, ...]:
        """Return what is known of each reason.

        Args:
            names: Names and kinds, in the order in which rows are judged.

        Returns:
            These, where rows had no id that before them, and at the end the fields that lacked.
        """
        left = self.counts["rows"]
        reasons = []
        for name, kind in [*([(RECORD_ID, "")] if self._missing[RECORD_ID] else []), *names]:
            reasons.append(self._reason(name, kind, left))
            left -= reasons[-1].dropped + reasons[-1].missing
        return (*reasons, self._reason(MISSING, "", self.counts["rows"]))

    def _reason(self, name: str, kind: str, judged: int) -> Reason:
        samples = (Sample(**sample) for _, sample in self._samples.get(name, []))
        return Reason(
            name=name,
            kind=kind,
            judged=judged,
            dropped=self._dropped[name],
            missing=self._missing[name],
            unjudged=self._unjudged[name],
            samples=tuple(sorted(samples, key=lambda sample: sample.line)),
        )

    @property
    def broken_lines(self) -> tuple[BrokenLine, ...]:
        """The first lines that are no rows."""
        return tuple(BrokenLine(line=line, reason=reason) for line, reason in self._broken)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _shown(value: object) -> str:
    if value is None:
        return "(missing)"
    if isinstance(value, list):
        value = "; ".join(_cut(str(item)) for item in value[:_SHOWN])
    return _cut(str(value))
