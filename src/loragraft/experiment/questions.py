"""The questions of a series: the same for every experiment of a kind."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft.artifact.hashing import sha256_file
from loragraft.dataset.records import TaskRecord, kind_of, read_records
from loragraft.dataset.split.load import find_split
from loragraft.errors import InputError
from loragraft.experiment.config import DataConfig, SeriesConfig, TaskKind
from loragraft.experiment.key import digest, record_digest


@dataclass(frozen=True)
class Questions:
    """Records of one kind, and where they come from.

    Attributes:
        records: In the order of their file.
        digests: SHA-256 of each record, by id.
        source: Of the records, as JSON values: what two runs must share to be compared.
    """

    records: tuple[TaskRecord, ...]
    digests: dict[str, str]
    source: dict[str, Any]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.records)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of ids and records: two sets of the same digest are the same."""
        return digest(self.digests)


class QuestionFile:
    """All records of a series, read once."""

    def __init__(self, config: SeriesConfig) -> None:
        """Read them.

        Raises:
            InputError: If the split or a file is not there, or is not what its manifest says.
        """
        self._seed, self._limit = config.seed, config.data.limit
        self._origin, records = _read(config.data)
        self._by_kind: dict[str, list[TaskRecord]] = {}
        for record in records:
            self._by_kind.setdefault(kind_of(record), []).append(record)

    @property
    def all(self) -> list[TaskRecord]:
        """Return the questions of all kinds, as many of each as the limit allows."""
        kinds = self._by_kind.values()
        return [record for records in kinds for record in choose(records, self._limit, self._seed)]

    def of(self, task: TaskKind) -> Questions:
        """Return the questions of a kind, as many as the series' limit allows.

        Raises:
            InputError: If there is none.
        """
        records = self._by_kind.get(task, [])
        if not records:
            there = ", ".join(sorted(self._by_kind))
            raise InputError(
                f"{self._origin['name']} holds no records of the kind {task}; it has {there}. "
                "Name other data, or the experiments' task."
            )
        chosen = choose(records, self._limit, self._seed)
        digests = {record.id: record_digest(record) for record in chosen}
        source = {**self._origin, "limit": self._limit, "kind": task, "questions": len(chosen)}
        return Questions(tuple(chosen), digests, source)


def choose(records: Sequence[TaskRecord], limit: int | None, seed: int) -> list[TaskRecord]:
    """Return so many records, chosen by a seed, in their own order.

    The choice depends on ids and seed alone, and a smaller one is part of each larger one.
    """
    if limit is None or limit >= len(records):
        return list(records)
    ranked = sorted(records, key=lambda record: _rank(seed, record.id))
    kept = {record.id for record in ranked[:limit]}
    return [record for record in records if record.id in kept]


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"limit\n{seed}\n{name}".encode("utf-8", "surrogatepass")).digest()


def _read(data: DataConfig) -> tuple[dict[str, Any], list[TaskRecord]]:
    if data.tag is None:
        return _read_files(data.files)
    split = find_split(data.tag, data.splits, parts=[data.part])
    origin = {
        "name": split.files[data.part].name,
        "split": split.tag,
        "split_seed": split.seed,
        "part": data.part,
        "sha256": split.manifest["files"][data.part]["sha256"],
    }
    return origin, list(split.records(data.part))


def _read_files(paths: Sequence[Path]) -> tuple[dict[str, Any], list[TaskRecord]]:
    records = list(_records(paths))
    names = ", ".join(path.name for path in paths)
    hashes = [sha256_file(path) for path in paths]
    return {"name": names, "split": None, "split_seed": None, "part": None,
            "sha256": hashes[0] if len(hashes) == 1 else digest(hashes)}, records  # fmt: skip


def _records(paths: Sequence[Path]) -> Iterator[TaskRecord]:
    seen: dict[str, Path] = {}
    for path in paths:
        for record in read_records(path):
            first = seen.setdefault(record.id, path)
            if first != path:
                raise InputError(
                    f"{path} has the id {record.id!r}, as {first} has; give each record an id of "
                    "its own."
                )
            yield record
