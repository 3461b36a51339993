"""Checkpoints of a run that may be killed at any moment: whole ones are found, others deleted.

```
OUTPUTS/.ID.staging/checkpoints/checkpoint-STEP/   what the Trainer writes, and
    checksums.txt                                  written last: without it nothing counts
```
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft import __version__
from loragraft.artifact.checksums import check_checksums, write_checksums
from loragraft.artifact.files import sync_tree
from loragraft.artifact.hashing import sha256_file
from loragraft.errors import BundleError
from loragraft.training.config import TrainConfig

FOLDER = "checkpoints"
PREFIX = "checkpoint-"
UNREADABLE = "journal"
"""What has changed where nobody can tell what has."""
STATE_NAME = "trainer_state.json"
"""The Trainer's."""
NO_MATTER = ("experiment_id", "description", "reporters", "grid")
"""Keys of a configuration that change nothing of what is trained."""


def run_parts(config: TrainConfig, facts: Mapping[str, Any], base: Mapping[str, str]) -> str:
    """Spell what decides a run's result: a checkpoint of another result is of no use.

    Threads and versions of libraries are left out: with others a run ends a rounding away.

    Args:
        config: The run's.
        facts: The job's; its ``files`` and ``examples_sha256`` say what is learnt.
        base: SHA-256 of the base's files.

    Returns:
        A JSON object of three hashes.
    """
    values = config.model_dump(mode="json", exclude=set(NO_MATTER) | {"data"})
    data = {key: facts.get(key) for key in ("files", "examples_sha256")}
    limits = config.data.model_dump(include={"max_train", "max_validation"})
    parts = {
        "configuration": [values, __version__.split(".")[0]],
        "data": [data, limits],
        "base": dict(base),
    }
    return json.dumps({name: _digest(part) for name, part in parts.items()})


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def changed_parts(journal: Path, key: str) -> list[str] | None:
    """Name what has changed since a journal was begun; None where there is no journal."""
    try:
        with journal.open(encoding="utf-8") as file:
            before = json.loads(json.loads(file.readline())["key"])
        new = json.loads(key)
        return [name for name in new if before.get(name) != new[name]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [UNREADABLE]


def seal(checkpoint: Path) -> None:
    """Say that a checkpoint is whole: it is on the disk, and its checksums are."""
    files = sorted(path for path in checkpoint.iterdir() if path.is_file())
    sync_tree(checkpoint)
    write_checksums(checkpoint, {path.name: sha256_file(path) for path in files})


def whole_checkpoints(folder: Path) -> dict[int, Path]:
    """Return the whole checkpoints by their step, in order, and delete the others.

    Args:
        folder: Where they stand; it need not exist.
    """
    found = {}
    for path in sorted(folder.glob(f"{PREFIX}*")):
        step = path.name.removeprefix(PREFIX)
        if step.isdecimal() and _is_whole(path):
            found[int(step)] = path
        else:
            _delete(path)
    return dict(sorted(found.items()))


def _is_whole(path: Path) -> bool:
    try:
        return path.is_dir() and not check_checksums(path)
    except BundleError:
        return False


@dataclass(frozen=True)
class State:
    """How far a checkpoint is.

    Attributes:
        folder: The checkpoint.
        step: Of the optimiser.
        best: Step of the lowest validation loss; None without validation.
        waited: Evaluations since then.
    """

    folder: Path
    step: int
    best: int | None
    waited: int

    def stopped_early(self, config: TrainConfig, steps: int) -> bool:
        """Whether the validation loss ended the run before its last step."""
        patience = config.evaluation.patience
        return bool(patience) and self.waited >= patience and self.step < steps

    @property
    def chosen(self) -> Path:
        """The checkpoint whose weights are the result, if the run is over."""
        return self.folder.with_name(f"{PREFIX}{self.best or self.step}")


def read_state(checkpoint: Path) -> State:
    """Read how far a whole checkpoint is."""
    known = json.loads((checkpoint / STATE_NAME).read_text(encoding="utf-8"))
    stopping = known["stateful_callbacks"].get("EarlyStoppingCallback", {})
    waited = stopping.get("attributes", {}).get("early_stopping_patience_counter", 0)
    return State(checkpoint, int(known["global_step"]), known.get("best_global_step"), int(waited))


def last_usable(folder: Path) -> State | None:
    """Return the newest whole checkpoint whose best one is there too; delete what is newer.

    Args:
        folder: Where checkpoints stand; it need not exist.
    """
    found = whole_checkpoints(folder)
    for step in sorted(found, reverse=True):
        state = read_state(found[step])
        if state.best is None or state.best in found:
            return state
        _delete(found[step])
    return None


def drop_old(folder: Path, keep: int, best: int | None) -> None:
    """Delete checkpoints but the newest few and the best."""
    steps = sorted(
        int(path.name.removeprefix(PREFIX))
        for path in folder.glob(f"{PREFIX}*")
        if path.name.removeprefix(PREFIX).isdecimal()
    )
    for step in steps[:-keep]:
        if step != best:
            _delete(folder / f"{PREFIX}{step}")


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
