"""Small runs: a few conversations for a pico model that trains in a second."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loragraft.training.config import TrainConfig

ROWS, HELD = 17, 5
"""No multiple of a batch: the last of an epoch is short."""


def conversations(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Return rows of one question and its answer, of unlike lengths."""
    return [
        {
            "id": f"q{number}",
            "messages": [
                {"role": "user", "content": f"word {number} " + "the fox " * (number % 4)},
                {"role": "assistant", "content": f"lazy dogs {number * number}."},
            ],
        }
        for number in range(start, start + count)
    ]


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def small_config(folder: Path, *, held: bool = True, **changes: dict[str, Any]) -> TrainConfig:
    """Return a run of twelve steps on fresh data.

    Args:
        folder: That the data go into.
        held: Whether there are validation data.
        **changes: Values by section, laid over the usual ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data: dict[str, Any] = {"train": [write_rows(folder / "train.jsonl", conversations(ROWS))]}
    if held:
        data["validation"] = write_rows(folder / "held.jsonl", conversations(HELD, ROWS))
    sections: dict[str, dict[str, Any]] = {
        "lora": {"r": 4, "alpha": 8, "dropout": 0.1, "targets": "all"},
        "optimiser": {"learning_rate": 5e-3, "batch": 3, "accumulation": 2, "epochs": 4,
                      "max_length": 64, "warmup_steps": 2},
        "evaluation": {"every": 3, "samples": 1, "sample_tokens": 8},
    }  # fmt: skip
    for name, values in changes.items():
        sections[name] = {**sections.get(name, {}), **values}
    return TrainConfig.model_validate(
        {"experiment_id": "small", "base": "example/small", "reporters": [], "data": data,
         **sections}
    )  # fmt: skip


class Heard:
    """A progress that remembers what it was told, and may do something at a step."""

    def __init__(self, step: int | None = None, act: Any = None) -> None:  # noqa: ANN401
        """Take the step of the training after which something is done, and what."""
        self.notes: list[str] = []
        self._step, self._act, self._done, self._stage = step, act, 0, ""

    def begin(self, stage: str, total: int, unit: str = "bytes") -> None:
        """Begin to count."""
        self._stage, self._done = stage, 0

    def advance(self, count: int) -> None:
        """Count; act when it is time."""
        self._done += count
        if self._stage == "Training" and count and self._done == self._step:
            self._act()

    def note(self, text: str) -> None:
        """Remember."""
        self.notes.append(text)

    def end(self) -> None:
        """Do nothing."""

    @property
    def text(self) -> str:
        """All that was said."""
        return "\n".join(self.notes)
