"""``run.json``: what a run is, how far it is, and what it was made from."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, get_args

from loragraft import __version__
from loragraft.artifact.files import open_regular, write_atomically
from loragraft.artifact.metadata import plain
from loragraft.errors import InputError
from loragraft.experiment.records import FAILED, SCHEMA_VERSION
from loragraft.experiment.run_numbers import check_numbers

RUN_NAME = "run.json"
SAMPLES_NAME = "samples.jsonl"
SCORES_NAME = "scores.jsonl"
LARGEST_RUN = 64 * 1024 * 1024
"""Bytes. One has some ten thousand."""

State = Literal["running", "interrupted", "failed", "stopped", "complete"]
"""Of a run: at work, or killed at it; ended by the user; by an error; by the monitor; whole."""


@dataclass(frozen=True)
class RunInfo:
    """What a run says about itself.

    Attributes:
        series: Its series.
        experiment: Its id.
        task: Kind of its records.
        size: Of the series' models.
        key: SHA-256 of ``inputs``: runs of one key give one question one answer.
        inputs: All that decides answers but the records.
        asked: SHA-256 of what the configuration said of them.
        facts: What its files were.
        source: Of the questions.
        questions: SHA-256 of their ids and records.
        total: Samples that it shall have.
        repeats: Answers to a question.
        retrieves: Whether questions got passages.
        optional: Whether its series is complete without it.
        monitor: What was watched for.
        state: How far it is.
        message: Why it is not complete, and what to do.
        finding: Of the monitor; None where it found nothing.
        engine: What a person calls the model.
        counts: Samples by status.
        again: Of the failed ones, those that the next run asks once more.
        load: What answering has cost, over all sessions.
        probe: Prompt tokens of fixed conversations, to be compared with other experiments.
        notes: What a person should know.
        session: When this session began, and how many samples were there.
        started: When the run was begun, UTC.
        updated: When this was written.
        samples: Size and SHA-256 of its samples' file, once it is complete.
        scores: What its scores were made from.
        version: Of loragraft.
        schema_version: Of this file and those beside it.
    """

    series: str
    experiment: str
    task: str
    size: str
    key: str
    inputs: Mapping[str, Any]
    asked: str
    facts: Mapping[str, Any]
    source: Mapping[str, Any]
    questions: str
    total: int
    repeats: int
    retrieves: bool
    optional: bool
    monitor: Mapping[str, Any]
    state: State = "running"
    message: str = ""
    finding: Mapping[str, Any] | None = None
    engine: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    again: int = 0
    load: Mapping[str, Any] = field(default_factory=dict)
    probe: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    session: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""
    updated: str = ""
    samples: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    version: str = __version__
    schema_version: int = SCHEMA_VERSION

    @property
    def answered(self) -> int:
        """Return how many samples have an answer, be it one that nothing can be read from."""
        return sum(count for status, count in self.counts.items() if status not in FAILED)

    @property
    def missing(self) -> dict[str, int]:
        """Return how many samples count as missing, by their status."""
        return {name: count for name, count in self.counts.items() if name != "ok" and count}


def utc_now() -> str:
    """Return the time as ISO 8601 in seconds."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_run(folder: Path, info: RunInfo) -> None:
    """Write a run's file so that its name shows the old or the new content.

    Raises:
        OutOfSpaceError: If the disk is full; the old content stays.
    """
    values = plain({**asdict(info), "updated": utc_now()})
    text = json.dumps(values, indent=2, allow_nan=False) + "\n"
    write_atomically(folder / RUN_NAME, text.encode("ascii"))


def read_run(folder: Path) -> RunInfo | None:
    """Read a run's file.

    Returns:
        None where there is none, or one that cannot be understood.

    Raises:
        InputError: If it is there and cannot be opened, a newer loragraft wrote it, or it holds a
            number that cannot be.
    """
    try:
        with open_regular(folder / RUN_NAME) as file:
            data = file.read(LARGEST_RUN + 1)
        values = json.loads(data) if len(data) <= LARGEST_RUN else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unopened(folder, error) from None
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    version = values.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InputError(
            f"{folder / RUN_NAME} has schema version {str(version)[:40]}; this loragraft reads "
            f"up to {SCHEMA_VERSION}. Upgrade loragraft."
        )
    return _parse(folder / RUN_NAME, values)


def _unopened(folder: Path, error: OSError) -> InputError:
    """Say why a run's file cannot be opened: before it, a folder may be none."""
    if error.errno in (errno.ENOTDIR, errno.ELOOP):
        return InputError(
            f"{folder} is no folder that runs can lie in: {error.strerror}. Name another one with "
            "--set outputs=FOLDER."
        )
    return InputError(
        f"{folder / RUN_NAME} cannot be read: {error.strerror}. Look at what is there and who may "
        "read it, or name another folder with --set outputs=FOLDER."
    )


_KINDS: Mapping[str, tuple[type, ...]] = {
    "str": (str,), "int": (int,), "bool": (bool,), "State": (str,), "tuple[str, ...]": (list,),
}  # fmt: skip


def _parse(path: Path, values: Mapping[str, Any]) -> RunInfo | None:
    """Make a run of JSON values; None where a field is missing or of another type.

    Raises:
        InputError: If a number is none that can be; see :func:`check_numbers`.
    """
    found: dict[str, Any] = {}
    for name, wanted in RunInfo.__annotations__.items():
        value = values.get(name)
        optional = wanted.endswith("| None")
        if not (optional and value is None):
            kinds = _KINDS.get(wanted, (dict,))
            if type(value) not in kinds:
                return None
        found[name] = tuple(map(str, value)) if isinstance(value, list) else value
    counts = found["counts"]
    sound = all(type(count) is int and count >= 0 for count in counts.values())
    if not sound or found["state"] not in get_args(State):
        return None
    check_numbers(path, values)
    return RunInfo(**found)


def is_held(lock: Path) -> bool:
    """Whether a process holds a lock, by what it noted beside it; for people only."""
    try:
        owner = json.loads(lock.with_name(lock.name + ".owner").read_text(encoding="utf-8"))
        pid, host = int(owner["pid"]), owner["host"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if host != socket.gethostname() or os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
