"""Judges each stage as it comes, holding no more than the training's chances and the last ones.

A stage that differs from the training's side parts there, unless the stage before it differed in
the same way: then the fault is older, and the stage only has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from loragraft.trace.cause import ASPECTS, Aspect, Cause, Subject
from loragraft.trace.compare import (
    Cell,
    Distance,
    compare_ids,
    compare_texts,
    describe_stopping,
    distance,
)
from loragraft.trace.evidence import find_causes
from loragraft.trace.limits import divergence_limit
from loragraft.trace.observation import Observation
from loragraft.trace.report import StageReport

FOLLOWS: Mapping[str, frozenset[Aspect]] = {
    "template_swapped": frozenset({"ids"}),
    "template_missing": frozenset({"ids"}),
    "bos_doubled": frozenset({"text", "ids"}),
    "bos_added": frozenset({"ids"}),
    "vocabulary": frozenset({"text", "ids", "distribution", "stopping"}),
    "architecture": frozenset(ASPECTS),
    "cannot_run": frozenset(ASPECTS),
    "wrong_base": frozenset({"stopping"}),
}
"""What a cause explains beside its own aspect."""


@dataclass(frozen=True)
class Seen:
    """A stage as it goes to the judge.

    Attributes:
        key: Name for programs.
        subject: What it showed and what it should be.
        types: Types of its weights with the number of values in each.
        meant: Whether a change of the chances is the point of this stage: the adapter's.
        causes: What is known to be wrong before any comparison.
        notes: What a person should know.
        far: How far its chances are from the stage before, where that is measured elsewhere.
    """

    key: str
    subject: Subject
    types: Mapping[str, int] = field(default_factory=dict)
    meant: bool = False
    causes: tuple[Cause, ...] = ()
    notes: tuple[str, ...] = ()
    far: str | None = None


class Judge:
    """Takes the stages in order."""

    def __init__(self, probes: Sequence[str]) -> None:
        """Begin with nothing seen."""
        self._probes = tuple(probes)
        self.stages: list[StageReport] = []
        self._trained: Observation | None = None
        self._chances: Observation | None = None
        self._before: Observation | None = None
        self._before_chances: Observation | None = None
        self._known: set[str] = set()

    @property
    def before(self) -> Observation | None:
        """The last stage that was seen."""
        return self._before

    def skip(self, key: str, title: str, reason: str) -> None:
        """Note a stage that is not there."""
        self.stages.append(StageReport(key, title, skipped=reason))

    def take(self, seen: Seen, *, trained: bool = False) -> None:
        """Judge a stage.

        Args:
            seen: The stage.
            trained: Whether it is the training's own, which all later ones are held against.
        """
        found = seen.subject.seen
        if trained:
            self._trained = found
            if found.log_probs is not None:
                self._chances = found
        self.stages.append(self._first(seen) if self._before is None else self._next(seen, trained))
        self._before = found
        if found.log_probs is not None:
            self._chances = self._chances or found
            self._before_chances = found

    def broken(self, key: str, subject: Subject, causes: tuple[Cause, ...]) -> None:
        """Note a stage that cannot be read; the next is compared with the one before it."""
        cells = {aspect: Cell("not seen") for aspect in ASPECTS}
        cells["distribution"] = Cell("parts", causes[0].cause)
        self.stages.append(_report(Seen(key, subject), cells, causes, ()))

    def _first(self, seen: Seen) -> StageReport:
        found = seen.subject.seen
        cells = {aspect: Cell("first") for aspect in ASPECTS}
        cells["stopping"] = Cell("first", describe_stopping(found))
        if found.log_probs is None:
            cells["distribution"] = Cell("not seen")
        return _report(seen, cells, seen.causes, ())

    def _next(self, seen: Seen, trained: bool) -> StageReport:
        known = (*(() if trained else find_causes(seen.subject)), *seen.causes)
        fresh = [cause for cause in known if cause.code not in self._known]
        inherited = tuple(cause for cause in known if cause.code in self._known)
        cells = self._cells(seen, trained)
        for cause in inherited:
            if cells[cause.aspect].verdict in ("same", "parts"):
                cells[cause.aspect] = Cell("as before", cells[cause.aspect].detail)
        explained = {c.aspect for c in known}.union(*(FOLLOWS.get(c.code, ()) for c in known))
        for aspect in ASPECTS:
            if cells[aspect].verdict == "parts" and aspect not in explained:
                fresh.append(_unknown(aspect, cells[aspect], seen.subject))
        for cause in fresh:
            cells[cause.aspect] = Cell("parts", cells[cause.aspect].detail)
        self._known.update(cause.code for cause in fresh if cause.code != "unknown")
        return _report(seen, cells, tuple(fresh), inherited)

    def _cells(self, seen: Seen, trained: bool) -> dict[Aspect, Cell]:
        found, before = seen.subject.seen, self._before
        assert before is not None
        wanted = before if trained or self._trained is None else self._trained
        facts = seen.subject.paper.facts
        vocabulary = facts.vocabulary if facts is not None else ()
        text = compare_texts(self._probes, wanted, found)
        ids = compare_ids(self._probes, wanted, found, vocabulary)
        if all(t is None for t in found.texts):
            text, ids = Cell("not seen", "no text"), Cell("not seen", "no text")
        cells: dict[Aspect, Cell] = {
            "text": _settle(text, found.texts == before.texts, seen.meant),
            "ids": _settle(ids, found.ids == before.ids, seen.meant),
            "distribution": self._chances_cell(seen),
            "stopping": Cell("same" if found.ends is not None else "not seen",
                             describe_stopping(found)),
        }  # fmt: skip
        return cells

    def _chances_cell(self, seen: Seen) -> Cell:
        found, before, trained = seen.subject.seen, self._before_chances, self._chances
        if found.log_probs is None:
            return Cell("not seen") if seen.far is None else Cell("same", seen.far)
        if before is None or trained is None or before.log_probs is None:
            return Cell("first")
        last = distance(before.log_probs, found.log_probs)
        if last is None or trained.log_probs is None:
            return Cell("not seen", "no position in common")
        if seen.meant:
            return Cell("as meant", f"{last}, the adapter's own effect")
        limit = divergence_limit(seen.types)
        whole = distance(trained.log_probs, found.log_probs)
        detail = f"{last}; expected up to {limit:.2g}"
        if whole is None or not whole.beyond(limit):
            return Cell("same", detail)
        return _beyond(last, whole, limit, detail)


def _beyond(last: Distance, whole: Distance, limit: float, detail: str) -> Cell:
    if not last.beyond(limit):
        return Cell("as before", f"{detail}; {whole} against the training's side")
    return Cell("parts", detail)


def _settle(cell: Cell, as_before: bool, meant: bool) -> Cell:
    if cell.verdict != "parts":
        return cell
    if meant:
        return Cell("as meant", f"{cell.detail}; the adapter brings it")
    return Cell("as before", cell.detail) if as_before else cell


def _unknown(aspect: Aspect, cell: Cell, subject: Subject) -> Cause:
    return Cause(
        "unknown", aspect, f"{aspect} differs, cause unknown", cell.detail,
        f"Nothing in metadata or weights explains it; make this stage anew ({subject.again}), and "
        "report it if it parts again.",
    )  # fmt: skip


def _report(
    seen: Seen,
    cells: Mapping[Aspect, Cell],
    causes: tuple[Cause, ...],
    inherited: tuple[Cause, ...],
) -> StageReport:
    found = seen.subject.seen
    return StageReport(
        seen.key, seen.subject.title, None, dict(cells), found.answers, causes, inherited,
        (*seen.notes, *found.notes),
    )  # fmt: skip
