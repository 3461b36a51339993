"""Which runs may be compared: the same questions, the same index, models of one size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loragraft.errors import InputError
from loragraft.experiment.key import digest
from loragraft.experiment.run_info import RunInfo


def check_comparable(a: RunInfo, b: RunInfo) -> None:
    """Refuse to compare two runs that were not asked the same.

    Raises:
        InputError: Naming each thing in which they differ, with both values.
    """
    differs = differences(a, b)
    if differs:
        raise InputError(
            f"{a.experiment} and {b.experiment} cannot be compared: {'; '.join(differs)}. Run both "
            "on the same questions and the same index, at one model size."
        )


def differences(a: RunInfo, b: RunInfo) -> list[str]:
    """Return in what two runs differ that must be the same, as ends of a sentence."""
    pairs = [
        ("size", a.size, b.size),
        ("kind of records", a.task, b.task),
        ("split", _split(a.source), _split(b.source)),
    ]
    found = [f"{what} {mine!r} against {theirs!r}" for what, mine, theirs in pairs
             if mine != theirs]  # fmt: skip
    if not found and a.questions != b.questions:
        counts = a.source.get("questions"), b.source.get("questions")
        found.append(f"other questions ({counts[0]} against {counts[1]})")
    indexes = _index(a), _index(b)
    if all(indexes) and indexes[0] != indexes[1]:
        found.append(f"index {indexes[0][:12]} against {indexes[1][:12]}")
    return found


def _split(source: Mapping[str, Any]) -> str:
    """Return what a person calls the questions' source, with the beginning of its hash."""
    name = source.get("split") or source.get("name") or "?"
    part, seed = source.get("part"), source.get("split_seed")
    told = f"{name} {part} seed {seed}" if part else str(name)
    return f"{told} {str(source.get('sha256'))[:12]}"


def _index(info: RunInfo) -> str:
    """Return a digest of what the index holds that a run searched; empty where it searched none."""
    arm = info.inputs.get("arm")
    index = arm.get("index") if isinstance(arm, Mapping) and info.retrieves else None
    return digest(index.get("files")) if isinstance(index, Mapping) else ""
