"""What people decided about records: one line each, the last about a record counts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from loragraft.artifact.files import sync_folder
from loragraft.artifact.jsonl import Broken, dump_line, scan_jsonl
from loragraft.artifact.space import explain_full_disk
from loragraft.errors import InputError

ACCEPT, REJECT = "accept", "reject"


class Decision(NamedTuple):
    """What a person said about a record.

    Attributes:
        accept: Whether it stays.
        content: What stands for the content that the person saw.
    """

    accept: bool
    content: str


def read_decisions(path: Path) -> dict[str, Decision]:
    """Read the decisions; a file that is not there holds none.

    A last line that a kill cut off is passed over.

    Raises:
        InputError: If a line is no decision.
    """
    decisions: dict[str, Decision] = {}
    if not path.exists():
        return decisions
    size = path.stat().st_size
    for line in scan_jsonl(path):
        if isinstance(line, Broken):
            if line.stop == size and not _ends_with_line(path):
                break
            raise InputError(f"{path}, line {line.number} {line.reason}. Right it or take it out.")
        record_id, decision, content = _fields(line.values)
        if not record_id or decision not in (ACCEPT, REJECT) or not content:
            raise InputError(
                f'{path}, line {line.number} is no decision: expected "id", "decision" ("{ACCEPT}" '
                f'or "{REJECT}") and "content". Right it or take it out.'
            )
        decisions[record_id] = Decision(decision == ACCEPT, content)
    return decisions


def _fields(values: Mapping[str, object]) -> tuple[str, str, str]:
    found = [values.get(name) for name in ("id", "decision", "content")]
    record_id, decision, content = (item if isinstance(item, str) else "" for item in found)
    return record_id, decision, content


def append_decision(path: Path, record_id: str, decision: Decision) -> None:
    """Note a decision; when this returns it is on the disk.

    Raises:
        OutOfSpaceError: If the disk is full.
    """
    word = ACCEPT if decision.accept else REJECT
    line = dump_line({"id": record_id, "decision": word, "content": decision.content})
    new = not path.exists()
    with explain_full_disk(path, len(line)), path.open("ab", buffering=0) as file:
        if not new and not _ends_with_line(path):
            _cut_torn(path)
        file.write(line)
        os.fsync(file.fileno())
    if new:
        sync_folder(path.parent)


def _ends_with_line(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        return size == 0 or file.read(1) == b"\n"


def _cut_torn(path: Path) -> None:
    """Take away the line that a kill cut off; a whole one that lacks its end gets it."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    try:
        read_one(data[whole:])
    except InputError:
        os.truncate(path, whole)
    else:
        with path.open("ab") as file:
            file.write(b"\n")


def read_one(data: bytes) -> Mapping[str, object]:
    """Read one line.

    Raises:
        InputError: If it is no JSON object.
    """
    from loragraft.artifact.jsonl import parse_object

    return parse_object(data)
