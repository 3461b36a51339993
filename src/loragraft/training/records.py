"""Which files a run learns from, and which of their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from loragraft.artifact.hashing import sha256_file
from loragraft.dataset.records import TaskRecord, kind_of, read_records
from loragraft.dataset.split.load import find_split
from loragraft.dataset.split.rounding import SPLITS
from loragraft.dataset.split.seed import rank
from loragraft.errors import InputError
from loragraft.training.config import DataConfig, TrainConfig

Part = Literal["train", "validation"]
_Item = TypeVar("_Item")
_Record = TypeVar("_Record", bound=TaskRecord)

_TRAIN, _VALIDATION, _TEST = SPLITS
"""What a run must not learn from and must not choose by is the last one, which is never opened."""


def data_files(data: DataConfig, part: Part) -> tuple[Path, ...]:
    """Return the files of one part; none where there is no validation.

    Raises:
        InputError: If a file is missing, or a split's file is not what its manifest names.
    """
    if data.tag is None:
        files = data.train if part == "train" else (data.validation,) if data.validation else ()
        for file in files:
            if not file.is_file():
                raise InputError(f"{file} is no file; expected JSON lines to learn from.")
        return files
    split = find_split(data.tag, data.splits, parts=(_TRAIN, _VALIDATION))
    file = split.files[_TRAIN if part == "train" else _VALIDATION]
    return (file,) if part == "train" or file.stat().st_size else ()


def described(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Return what a run's metadata says of its files: name, sha256 and size."""
    return [
        {"name": file.name, "sha256": sha256_file(file), "bytes": file.stat().st_size}
        for file in files
    ]


def chosen(
    items: Sequence[_Item],
    limit: int | None,
    seed: int,
    key: Callable[[_Item], str] = attrgetter("id"),
) -> list[_Item]:
    """Return as many items as are wanted, which ones by the seed, in the order they stand in.

    Args:
        items: All.
        limit: Most; None takes all.
        seed: Decides with each item's name, so that further items do not change the order of these.
        key: An item's name.
    """
    if limit is None or len(items) <= limit:
        return list(items)
    order = sorted(range(len(items)), key=lambda index: rank(seed, key(items[index])))
    return [items[index] for index in sorted(order[:limit])]


@dataclass(frozen=True)
class Read(Generic[_Record]):
    """The records of one part that a task takes.

    Attributes:
        records: In the order of the data.
        facts: For the metadata: files, counts, what was left out.
    """

    records: tuple[_Record, ...]
    facts: Mapping[str, Any]


def read_kind(config: TrainConfig, part: Part, kind: type[_Record]) -> Read[_Record]:
    """Read the records of one kind; others of the same files are left out and counted.

    Raises:
        InputError: If a file cannot be read, an id stands in two of them, or there is no record
            of the kind to learn from.
    """
    files = data_files(config.data, part)
    found: list[_Record] = []
    others: Counter[str] = Counter()
    for record in _all(files):
        if isinstance(record, kind):
            found.append(record)
        else:
            others[kind_of(record)] += 1
    if files and not found:
        raise InputError(_none_of(kind, files, others, config.task))
    limit = config.data.max_train if part == "train" else config.data.max_validation
    records = chosen(found, limit, config.seed)
    facts = {
        "files": described(files),
        "records": len(records),
        "task_types": dict(sorted(Counter(record.task_type for record in records).items())),
        "left_out": {
            **{f"kind {name}": count for name, count in sorted(others.items())},
            **({"beyond the most": len(found) - len(records)} if len(records) < len(found) else {}),
        },
    }
    return Read(tuple(records), facts)


def _all(files: Sequence[Path]) -> Iterator[TaskRecord]:
    seen: dict[str, Path] = {}
    for file in files:
        for record in read_records(file):
            first = seen.setdefault(record.id, file)
            if first != file:
                raise InputError(
                    f"{first} and {file} both hold a record with the id {record.id!r}; give each "
                    "record an id of its own."
                )
            yield record


def _none_of(kind: type[Any], files: Sequence[Path], others: Mapping[str, int], task: str) -> str:
    wanted = kind.__name__.lower()
    held = ", ".join(f"{count} of the kind {name}" for name, count in sorted(others.items()))
    names = ", ".join(str(file) for file in files)
    return (
        f"{names} holds no records of the kind {wanted} ({held}); task: {task} learns from these "
        "only. Name other data, or another task."
    )
