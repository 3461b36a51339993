"""One batch of rows: judged, compared with what was kept, turned into lines of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loragraft.artifact.jsonl import dump_line
from loragraft.dataset.curate.decisions import Decision
from loragraft.dataset.curate.memories import OpenEmbedder
from loragraft.dataset.curate.opening import (
    OpenedJudge,
    OpenedMemory,
    everything,
    open_judges,
    open_memories,
)
from loragraft.dataset.curate.record import content_hash, record_maker
from loragraft.dataset.curate.report import Reason
from loragraft.dataset.curate.rule import Drop, Row
from loragraft.dataset.curate.rules import Rules
from loragraft.dataset.curate.state import State
from loragraft.dataset.curate.tally import Tally
from loragraft.dataset.records import TaskRecord, to_json
from loragraft.errors import InputError

REVIEW = "review"
RECORD = "record"


class _Left(NamedTuple):
    """A row that nothing spoke against so far."""

    row: Row
    accepted: bool


class Engine:
    """Takes batches of rows, returns lines of records; what it remembers is in a state."""

    def __init__(
        self,
        rules: Rules,
        decisions: Mapping[str, Decision],
        embedders: OpenEmbedder,
        state: State,
        tally: Tally,
    ) -> None:
        """Open the rules.

        Args:
            rules: What is kept, and how it becomes records.
            decisions: Of people, by id.
            embedders: Opens embedders by name.
            state: What a killed run left, or a new one.
            tally: What was counted so far.
        """
        self._decisions, self._tally = decisions, tally
        self._record = record_maker(rules.record)
        self._texts = rules.record.shown if rules.record is not None else ()
        self._judges: Sequence[OpenedJudge] = open_judges(rules.rules)
        self._memories: Sequence[OpenedMemory] = open_memories(rules.rules, embedders)
        for opened in self._memories:
            opened.memory.open(state)

    def take(self, rows: Sequence[Row]) -> bytes:
        """Judge a batch.

        Returns:
            The lines of the records that are kept.
        """
        left = self._decided(rows)
        for judge in self._judges:
            left = self._judged(judge, left)
        left, lines = self._recorded(left)
        kept = self._compared(left)
        self._tally.counts["kept"] += len(kept)
        self._tally.counts["accepted"] += sum(left[number].accepted for number in kept)
        return b"".join(lines[number] for number in kept)

    def reasons(self) -> tuple[Reason, ...]:
        """Return what was counted for each reason, in the order in which rows are judged."""
        names = [
            (REVIEW, ""),
            *((opened.spec.title, opened.spec.kind) for opened in self._judges),
            (RECORD, ""),
            *((memory.name, memory.spec.kind if memory.spec else "") for memory in self._memories),
        ]
        return self._tally.reasons(names)

    def _drop(self, reason: str, row: Row, drop: Drop, paths: Sequence[str] = ()) -> None:
        self._tally.drop(reason, row, drop, lambda: tuple(dict.fromkeys((*paths, *self._texts))))

    def _decided(self, rows: Sequence[Row]) -> list[_Left]:
        """Apply what people decided; a decision about another content is none."""
        left = []
        for row in rows:
            decision = self._decisions.get(row.id)
            if decision is not None and not self._still(decision, row):
                self._tally.counts["stale"] += 1
                decision = None
            if decision is not None and not decision.accept:
                self._tally.counts["rejected"] += 1
                self._drop(REVIEW, row, Drop("rejected by a person"))
            else:
                left.append(_Left(row, decision is not None))
        return left

    def _still(self, decision: Decision, row: Row) -> bool:
        try:
            return content_hash(self._record(row.id, row.values)) == decision.content
        except InputError:
            return False

    def _judged(self, opened: OpenedJudge, left: list[_Left]) -> list[_Left]:
        spec = opened.spec
        asked = self._asked(opened, left)
        verdicts = opened.judge.check_many([left[number].row for number in asked])
        gone = set()
        for number, drop in zip(asked, verdicts, strict=True):
            if drop is None:
                continue
            if drop.missing and spec.missing == "keep":
                self._tally.let_pass(spec.title)
            else:
                self._drop(spec.title, left[number].row, drop, spec.paths)
                gone.add(number)
        return [item for number, item in enumerate(left) if number not in gone] if gone else left

    def _asked(self, opened: OpenedJudge, left: list[_Left]) -> Sequence[int]:
        """Return which rows a rule judges."""
        if opened.applies is everything and not self._decisions:
            return range(len(left))
        return [n for n, item in enumerate(left) if not item.accepted and opened.applies(item.row)]

    def _recorded(self, left: list[_Left]) -> tuple[list[_Left], list[bytes]]:
        """Make the records; a row that makes none goes."""
        good, lines = [], []
        for item in left:
            try:
                record: TaskRecord = self._record(item.row.id, item.row.values)
                lines.append(dump_line(to_json(record)))
            except InputError as error:
                self._drop(RECORD, item.row, Drop(str(error)))
                continue
            good.append(item)
        return good, lines

    def _compared(self, left: list[_Left]) -> list[int]:
        """Return which rows no memory speaks against; they are remembered.

        What was kept before the batch speaks against some at once, so that memories that follow,
        an embedder among them, need not look at these. Which memory drops a row is settled in
        order, as if rows came one by one.
        """
        places: list[dict[int, int]] = []
        going: dict[int, tuple[int, Drop]] = {}
        for count, opened in enumerate(self._memories):
            numbers = [number for number in range(len(left)) if number not in going]
            places.append({number: place for place, number in enumerate(numbers)})
            opened.memory.begin([left[number].row for number in numbers])
            if opened is not self._memories[-1]:
                for number, place in places[-1].items():
                    drop = self._ask(opened, left[number], place)
                    if drop is not None:
                        going[number] = count, drop
        kept = [n for n in range(len(left)) if self._stays(left[n], n, places, going.get(n))]
        for opened in self._memories:
            opened.memory.end()
        return kept

    def _stays(
        self,
        item: _Left,
        number: int,
        places: Sequence[dict[int, int]],
        going: tuple[int, Drop] | None,
    ) -> bool:
        """Ask the memories in order, those up to the one that spoke against a row already."""
        last = len(self._memories) if going is None else going[0]
        for opened, place in zip(self._memories[:last], places, strict=False):
            drop = self._ask(opened, item, place[number], count=True)
            if drop is not None:
                self._drop(opened.name, item.row, drop, opened.paths)
                return False
        if going is not None:
            opened = self._memories[last]
            self._drop(opened.name, item.row, going[1], opened.paths)
            return False
        for opened, place in zip(self._memories, places, strict=True):
            opened.memory.keep(place[number])
        return True

    def _ask(
        self, opened: OpenedMemory, item: _Left, place: int, *, count: bool = False
    ) -> Drop | None:
        """Ask a memory about a row; ``count`` whether it passes for lack of a field."""
        if item.accepted and opened.spec is not None:
            return None
        drop = opened.memory.check(place)
        if drop is None or not drop.missing or opened.spec is None or opened.spec.missing == "drop":
            return drop
        if count:
            self._tally.let_pass(opened.name)
        return None
