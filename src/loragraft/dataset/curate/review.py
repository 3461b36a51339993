"""A sample of the records for a person to accept or reject."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from heapq import nsmallest
from pathlib import Path
from typing import NamedTuple

from loragraft.artifact.lock import hold_lock
from loragraft.dataset.curate.decisions import Decision, append_decision, read_decisions
from loragraft.dataset.curate.record import content_hash
from loragraft.dataset.curate.report import decisions_path, read_report
from loragraft.dataset.curate.rules import Review
from loragraft.dataset.records import TaskRecord, read_records
from loragraft.errors import InputError


class Item(NamedTuple):
    """A record of the sample.

    Attributes:
        record: The record.
        decision: What was decided about it as it is now; None if nothing was.
    """

    record: TaskRecord
    decision: Decision | None


def draw_sample(out: Path, *, sample: int | None = None, seed: int | None = None) -> list[Item]:
    """Return the sample of a file of records.

    Who is in it is decided by a hash of seed and id: the same records whatever their order, and
    where some leave the file, others of the same order take their places.

    Args:
        out: A file of records.
        sample: How many; else what the report beside the file says.
        seed: Which ones; likewise.

    Raises:
        InputError: If the file or the decisions cannot be read.
    """
    report = read_report(out)
    usual = Review() if report is None else report.review
    size = usual.sample if sample is None else sample
    key = f"{usual.seed if seed is None else seed}\0"
    chosen = nsmallest(size, read_records(out), key=lambda record: _place(key, record.id))
    decisions = read_decisions(decisions_path(out))
    return [Item(record, _decision(record, decisions.get(record.id))) for record in chosen]


def decide(out: Path, record: TaskRecord, *, accept: bool) -> Item:
    """Note what a person says about a record; the next curation goes by it.

    Returns:
        The record with its decision.

    Raises:
        LockedError: If another process notes decisions about the same file.
        OutOfSpaceError: If the disk is full.
    """
    path, decision = decisions_path(out), Decision(accept, content_hash(record))
    with hold_lock(path.with_name(f".{path.name}.lock")):
        append_decision(path, record.id, decision)
    return Item(record, decision)


def find_records(out: Path, ids: Iterable[str]) -> list[TaskRecord]:
    """Return the records of some ids, in the order of the file.

    Raises:
        InputError: If the file has no record of an id.
    """
    wanted = set(ids)
    found = [record for record in read_records(out) if record.id in wanted]
    missing = sorted(wanted - {record.id for record in found})
    if missing:
        raise InputError(
            f"{out} has no record {missing[0]!r}. See the sample's ids with --list; what was "
            "rejected before is not in the file any more: to take that back, delete its line in "
            f"{decisions_path(out)} and curate again."
        )
    return found


def _place(key: str, record_id: str) -> bytes:
    return hashlib.sha256((key + record_id).encode("utf-8")).digest()


def _decision(record: TaskRecord, decision: Decision | None) -> Decision | None:
    """Return a decision if it is about the record as it is now."""
    if decision is None or decision.content != content_hash(record):
        return None
    return decision
