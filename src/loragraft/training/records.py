"""The records of one kind that a task other than a language model's learns from."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from loragraft.dataset.records import TaskRecord, kind_of
from loragraft.errors import InputError
from loragraft.training.config import TrainConfig
from loragraft.training.rows import Messages, Part, Row, Rows, read_rows

_Record = TypeVar("_Record", bound=TaskRecord)
PARTS: tuple[Part, ...] = ("train", "validation")
_CONVERSATIONS = "conversations"


@dataclass(frozen=True)
class Read(Generic[_Record]):
    """The records of one part that a task takes.

    Attributes:
        records: In the order of the data.
        rows: What they were among.
        facts: For the metadata: counts, and what was left out.
    """

    records: tuple[_Record, ...]
    rows: Rows
    facts: Mapping[str, Any]


def read_kind(config: TrainConfig, part: Part, kind: type[_Record]) -> Read[_Record]:
    """Read the records of one kind; other rows of the same files are left out and counted.

    Raises:
        InputError: As :func:`~loragraft.training.rows.read_rows`, or if there is no record of the
            kind.
    """
    read = read_rows(config.data, part, config.seed)
    records = tuple(row for row in read.rows if isinstance(row, kind))
    others = Counter(_named(row) for row in read.rows if not isinstance(row, kind))
    if read.rows and not records:
        raise InputError(_none_of(kind, read, others, config.task))
    left_out = {name: count for name, count in sorted(others.items())}
    if read.unused:
        left_out["beyond the most"] = read.unused
    facts = {
        "records": len(records),
        "task_types": dict(sorted(Counter(record.task_type for record in records).items())),
        "left_out": left_out,
    }
    return Read(records, read, facts)


def read_parts(config: TrainConfig, kind: type[_Record]) -> dict[Part, Read[_Record]]:
    """Read what is learnt and what tells whether it is; see :func:`read_kind`."""
    return {part: read_kind(config, part, kind) for part in PARTS}


def data_facts(parts: Mapping[Part, Read[Any]], examples: Iterable[object]) -> dict[str, Any]:
    """Return what a run's metadata say of all data, and what decides whether it may go on.

    Args:
        parts: What was read.
        examples: What is made of it; anything that is spelled alike only where it is the same.
    """
    digest = hashlib.sha256()
    for example in examples:
        digest.update(f"{example!r}\n".encode("utf-8", "surrogatepass"))
    files = [{"part": part, **file.to_json()} for part, one in parts.items()
             for file in one.rows.files]  # fmt: skip
    return {
        "files": files,
        "split_seed": parts["train"].rows.split_seed,
        "examples_sha256": digest.hexdigest(),
    }


def _named(row: Row) -> str:
    return _CONVERSATIONS if isinstance(row, Messages) else f"kind {kind_of(row)}"


def _none_of(kind: type[Any], read: Rows, others: Mapping[str, int], task: str) -> str:
    held = ", ".join(f"{name}: {count}" for name, count in sorted(others.items()))
    names = ", ".join(str(file.path) for file in read.files)
    return (
        f"{names} holds no records of the kind {kind.__name__.lower()} ({held}); task: {task} "
        "learns from these only. Name other data, or another task."
    )
