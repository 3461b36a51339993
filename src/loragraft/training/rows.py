"""Rows of training data: task records and conversations, read from a split or from files."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.jsonl import read_jsonl
from loragraft.dataset.records import LONGEST_ID, TaskRecord, parse_record
from loragraft.dataset.split.load import load_split
from loragraft.dataset.split.seed import rank
from loragraft.engine.protocol import Message
from loragraft.errors import InputError
from loragraft.training.config import DataConfig

Part: TypeAlias = Literal["train", "validation"]
ROLES = ("system", "developer", "user", "assistant", "tool")
CONVERSATION = "conversation"
"""Task type of a conversation that names none."""
_IN_SPLITS: Mapping[Part, str] = {"train": "train", "validation": "val"}
_LONGEST_SHOWN = 60


@dataclass(frozen=True)
class Messages:
    """A row that is a conversation already.

    Attributes:
        id: The row's; where it has none, one that follows from its content.
        turns: Up to the last of the assistant's.
        learnt: Which turns are learnt: the assistant's, but for those of ``"weight": 0``.
        task_type: The row's.
    """

    id: str
    turns: tuple[Message, ...]
    learnt: tuple[int, ...]
    task_type: str = CONVERSATION


Row: TypeAlias = TaskRecord | Messages


@dataclass(frozen=True)
class DataFile:
    """A file that was read.

    Attributes:
        path: Where it lies.
        sha256: Of its bytes.
        rows: In it.
    """

    path: Path
    sha256: str
    rows: int

    def to_json(self) -> dict[str, Any]:
        """Return what metadata say of it."""
        return {"name": self.path.name, "sha256": self.sha256, "rows": self.rows}


@dataclass(frozen=True)
class Rows:
    """What a part of the data holds.

    Attributes:
        files: They were read.
        rows: In the files' order.
        unused: Rows beyond ``max_train`` or ``max_validation``.
        split_seed: Of the split; None for files.
    """

    files: tuple[DataFile, ...]
    rows: tuple[Row, ...]
    unused: int = 0
    split_seed: int | None = None


def read_rows(data: DataConfig, part: Part, seed: int) -> Rows:
    """Read the rows of a part; a split's test file is not opened.

    Args:
        data: Where they are.
        part: For training, or for validation; there may be no rows for the latter.
        seed: Chooses where not all are wanted.

    Raises:
        InputError: If a file cannot be read, is not its manifest's, or a row is neither a task
            record nor a conversation, or has an id that another has; names file and line.
    """
    paths, split_seed = _paths(data, part)
    files: list[DataFile] = []
    rows: list[Row] = []
    places: dict[str, str] = {}
    same: Counter[str] = Counter()
    for path in paths:
        fresh = list(_read_file(path, places, same))
        if not fresh:
            raise InputError(f"{path} holds no rows; expected one JSON object a line.")
        files.append(DataFile(path, sha256_file(path), len(fresh)))
        rows += fresh
    most = data.max_train if part == "train" else data.max_validation
    chosen = _chosen(rows, most, seed)
    return Rows(tuple(files), tuple(chosen), len(rows) - len(chosen), split_seed)


def require_data(data: DataConfig) -> None:
    """Look for what is named as data, before a base of gigabytes is fetched for it.

    Raises:
        InputError: If a file is missing, or a split is not what its manifest says.
    """
    parts: tuple[Part, ...] = ("train", "validation")
    files = [path for part in parts for path in _paths(data, part)[0]]
    for path in (*files, *([data.corpus] if data.corpus else [])):
        if not path.exists():
            raise InputError(
                f"{path} does not exist; the configuration names it as data. Change it there, or "
                "with --set data.train=..., data.splits=... or data.corpus=..."
            )


def _paths(data: DataConfig, part: Part) -> tuple[Sequence[Path], int | None]:
    if data.tag is not None:
        name = _IN_SPLITS[part]
        split = load_split(data.splits, data.tag, (name,))
        return (split.files[name],), split.seed
    if part == "train":
        return data.train, None
    return () if data.validation is None else (data.validation,), None


def _chosen(rows: Sequence[Row], most: int | None, seed: int) -> Sequence[Row]:
    if most is None or len(rows) <= most:
        return rows
    kept = {row.id for row in sorted(rows, key=lambda row: rank(seed, "kept", row.id))[:most]}
    return [row for row in rows if row.id in kept]


def _read_file(path: Path, places: dict[str, str], same: Counter[str]) -> Iterator[Row]:
    for number, values in ((line.number, line.values) for line in read_jsonl(path)):
        here = f"{path}, line {number}"
        try:
            row = _row(values, same)
        except InputError as error:
            raise InputError(f"{here}: {error}") from None
        first = places.setdefault(row.id, here)
        if first != here:
            raise InputError(
                f"{here} has the id {row.id!r}, as {first} has; give each row an id of its own."
            )
        yield row


def _row(values: Mapping[str, Any], same: Counter[str]) -> Row:
    if "kind" not in values and "messages" in values:
        return _messages(values, same)
    if "kind" not in values:
        raise InputError(
            f"The row has the fields {_shown(sorted(values))}; expected a task record (with "
            '"kind") or a conversation (with "messages"). dataset curate makes task records of '
            "other rows."
        )
    return parse_record(values)


def _messages(values: Mapping[str, Any], same: Counter[str]) -> Messages:
    rows = values["messages"]
    if not isinstance(rows, list) or not rows:
        raise InputError('The field "messages" is no list of turns; expected role and content.')
    turns = tuple(_turn(turn, number) for number, turn in enumerate(rows, start=1))
    learnt = tuple(
        at for at, turn in enumerate(turns) if turn["role"] == "assistant" and _counts(rows[at], at)
    )
    if not learnt:
        raise InputError("The conversation has no turn of the assistant to learn; add its answer.")
    turns = turns[: learnt[-1] + 1]
    task_type = values.get("task_type", CONVERSATION)
    if not isinstance(task_type, str) or not task_type.strip():
        raise InputError(f'The field "task_type" is {_shown(task_type)}; expected a text.')
    return Messages(_identity(values, turns, same), turns, learnt, task_type)


def _turn(turn: object, number: int) -> Message:
    found = turn if isinstance(turn, dict) else {}
    role, content = found.get("role"), found.get("content")
    if role not in ROLES or not isinstance(content, str):
        raise InputError(
            f"Turn {number} is {_shown(turn)}; expected an object with role "
            f"({', '.join(ROLES)}) and content, a text."
        )
    if not content.strip() and role == "assistant":
        raise InputError(f"Turn {number}, the assistant's, is blank; leave the row out.")
    return {"role": str(role), "content": content}


def _counts(turn: Mapping[str, Any], at: int) -> bool:
    weight = turn.get("weight", 1)
    if weight not in (0, 1):
        raise InputError(
            f"Turn {at + 1} has the weight {_shown(weight)}; expected 1 (learnt) or 0 (only read)."
        )
    return bool(weight)


def _identity(values: Mapping[str, Any], turns: Sequence[Message], same: Counter[str]) -> str:
    name = values.get("id")
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)
    if name is None:
        digest = hashlib.sha256(json.dumps(turns).encode()).hexdigest()[:16]
        same[digest] += 1
        return f"row-{digest}" + (f"-{same[digest]}" if same[digest] > 1 else "")
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_ID:
        raise InputError(
            f'The field "id" is {_shown(name)}; expected a text of 1 to {LONGEST_ID} characters.'
        )
    return name


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."
