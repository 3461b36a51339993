"""How far a series is, and what of it is stale: told by small files, without any model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from loragraft.errors import InputError
from loragraft.experiment.arm_run import folder_of
from loragraft.experiment.aside import altered, holds_something
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.facts import changed, facts_of, unreachable
from loragraft.experiment.key import asked_of, digest
from loragraft.experiment.questions import QuestionFile, Questions
from loragraft.experiment.run import left_out
from loragraft.experiment.run_info import RUN_NAME, SAMPLES_NAME, RunInfo, is_held, read_run
from loragraft.experiment.store import lock_path

_BLOCK = 1 << 20


@dataclass(frozen=True)
class ArmStatus:
    """How far an experiment is.

    Attributes:
        name: Its id.
        state: ``not started``, ``running``, ``interrupted``, ``failed``, ``stopped``,
            ``complete`` or ``left out``.
        total: Samples that it shall have.
        done: Those that are there.
        counts: By status, as of the end of its last session.
        engine: The model.
        rate: Samples a second, while it runs.
        seconds_left: At that rate.
        stale: What has changed since it was made: corpus, index, adapter, model, scoring,
            questions, configuration, answers (somebody has changed the file).
        unseen: What cannot be looked at now: a server that is off, a folder that is gone.
        message: Why it is not complete, with the next step.
        notes: What a person should know.
        updated: When it was last written, UTC.
    """

    name: str
    state: str
    total: int
    done: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    engine: str = ""
    rate: float | None = None
    seconds_left: float | None = None
    stale: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    message: str = ""
    notes: tuple[str, ...] = ()
    updated: str = ""


@dataclass(frozen=True)
class SeriesStatus:
    """How far a series is.

    Attributes:
        series: Its name.
        folder: Of its results.
        arms: Its experiments, in order.
        complete: Whether all are complete but those that it is complete without.
    """

    series: str
    folder: Path
    arms: tuple[ArmStatus, ...]
    complete: bool


def series_status(config: SeriesConfig) -> SeriesStatus:
    """Return how far a series is.

    Raises:
        InputError: If its questions cannot be read.
    """
    file = QuestionFile(config)
    arms = tuple(
        arm_status(config, name, file.of(experiment.task))
        for name, experiment in config.experiments.items()
    )
    needed = [arm for arm in arms if not config.experiments[arm.name].optional]
    complete = all(arm.state in ("complete", "left out") for arm in needed)
    return SeriesStatus(config.series, config.outputs / config.series, arms, complete)


def arm_status(config: SeriesConfig, name: str, questions: Questions) -> ArmStatus:
    """Return how far an experiment is."""
    folder = folder_of(config, name)
    try:
        info = read_run(folder)
    except InputError as error:
        return ArmStatus(name, "failed", len(questions), message=str(error))
    if info is None:
        reason = left_out(config, name)
        begun = "left out" if reason else "not started"
        return ArmStatus(name, begun, len(questions), message=reason or _unreadable(folder))
    held = is_held(lock_path(folder))
    state: str = info.state
    if state == "running" and not held:
        state = "interrupted"
    elif state == "complete" and info.total and not info.answered:
        state = "failed"  # as the run said: each question was asked, and none was answered
    done = sum(info.counts.values()) if state != "running" else _written(folder, info)
    rate = _rate(info, done) if state == "running" else None
    now = facts_of(config, name)
    return ArmStatus(
        name,
        state,
        info.total,
        done if state != "interrupted" else max(done, _written(folder, info)),
        info.counts,
        info.engine,
        rate,
        (info.total - done) / rate if rate else None,
        stale_parts(config, name, questions, info),
        tuple(part for part in unreachable(info.facts, now) if part in now),
        _message(state, info),
        info.notes,
        info.updated,
    )


def _message(state: str, info: RunInfo) -> str:
    if state == "interrupted" and not info.message:
        return "The process that wrote it was killed; the same command goes on."
    return info.message


def stale_parts(
    config: SeriesConfig, name: str, questions: Questions, info: RunInfo
) -> tuple[str, ...]:
    """Return what has changed since a run was made, by name."""
    parts = list(changed(info.facts, facts_of(config, name)))
    if info.questions != questions.digest:
        parts.append(_other_questions(info, questions))
    if info.asked != digest(asked_of(config, name)):
        parts.append("configuration")
    if altered(folder_of(config, name), info):
        parts.append("answers")
    return tuple(parts)


def _other_questions(info: RunInfo, questions: Questions) -> str:
    """Name what differs: the questions themselves, or how many of them are asked."""
    was, now = info.source.get("limit"), questions.source.get("limit")
    return "questions" if was == now else f"questions (limit {was or 'none'}, now {now or 'none'})"


def _unreadable(folder: Path) -> str:
    """Say what becomes of answers whose run.json nobody can read; empty where there are none."""
    if not holds_something(folder):
        return ""
    return (
        f"{folder / RUN_NAME} cannot be read, and the answers beside it count for nothing without "
        "it. Put it back from a copy; else the next run moves the folder aside and asks anew."
    )


def _written(folder: Path, info: RunInfo) -> int:
    """Return how many lines of samples there are, at most as many as there shall be."""
    try:
        with (folder / SAMPLES_NAME).open("rb") as file:
            lines = sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))
    except OSError:
        return 0
    return min(lines, info.total)


def _rate(info: RunInfo, done: int) -> float | None:
    """Return samples a second of the session that is at work."""
    try:
        began = datetime.fromisoformat(str(info.session["began"]).replace("Z", "+00:00"))
        before = int(info.session["done"])
    except (KeyError, ValueError, TypeError):
        return None
    seconds = (datetime.now(timezone.utc) - began).total_seconds()
    return (done - before) / seconds if seconds > 0 and done > before else None
