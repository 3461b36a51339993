"""A training run from its configuration to the published adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft.artifact.metadata import read_metadata
from loragraft.artifact.progress import Progress, Silent
from loragraft.artifact.publish import Staging
from loragraft.checkpoint.resolve import Resolved, existing_path, resolve_checkpoint
from loragraft.embedding.finding import find_folder
from loragraft.training.advice import Advice, advise
from loragraft.training.attempt import Attempt
from loragraft.training.config import TrainConfig
from loragraft.training.job import Job, build_job
from loragraft.training.log import TrainingLog, read_log
from loragraft.training.reporters import require_reporters
from loragraft.training.resume import FOLDER, whole_checkpoints
from loragraft.training.rows import require_data

Build = Callable[[TrainConfig, Path, Progress], Job]


@dataclass(frozen=True)
class Outcome:
    """A published run.

    Attributes:
        folder: The adapter's.
        log: What happened.
        metadata: What ``EXPERIMENT_METADATA.json`` says.
        advice: What to change in the next run.
        resumed_from: Step of the checkpoint that the run went on from; 0 where it began anew.
    """

    folder: Path
    log: TrainingLog
    metadata: Mapping[str, Any]
    advice: tuple[Advice, ...]
    resumed_from: int = 0


def find_base(config: TrainConfig, base: str | None = None) -> Resolved:
    """Return the base's folder.

    Args:
        config: Names it.
        base: A path or another name that takes its place.

    Raises:
        InputError: If there is none of that name.
        UnavailableError: If it would have to be downloaded and cannot be.
    """
    text = base or config.base
    if config.revision and existing_path(text) is None and "@" not in text:
        text = f"{text}@{config.revision}"
    if config.task == "embedding":
        notes: list[str] = []
        return Resolved(find_folder(text, notes.append), None, tuple(notes))
    return resolve_checkpoint(text)


def train(
    config: TrainConfig,
    outputs: Path,
    *,
    base: str | None = None,
    replace: bool = False,
    restart: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
    build: Build = build_job,
) -> Outcome:
    """Train an adapter and publish it as ``outputs/EXPERIMENT_ID``.

    A run that was killed or interrupted goes on from its last checkpoint, to the same adapter.

    Args:
        config: What is trained on what, and how.
        outputs: Parent folder of the result.
        base: The base's folder or another name of it; the adapter keeps the configured name.
        replace: Whether an adapter of that name gives way once the new one is whole.
        restart: Whether checkpoints of an earlier attempt are thrown away.
        threads: Of the processor; None leaves it to torch.
        progress: Who wants to know how far it is.
        build: Makes the job; others than ours may share a base between runs.

    Raises:
        InputError: If configuration, data and base do not fit each other.
        LockedError: If another process trains under this name.
        BundleError: If the name is taken.
        NonFiniteError: If the loss is no number any more.
        CheckFailedError: If the adapter is not sound; it is not published.
        OutOfSpaceError: If the disk is full.
        MissingExtraError: If a package is missing.
    """
    from loragraft.training.load import require_training

    progress = progress or Silent()
    require_training(config)
    require_reporters(config)
    require_data(config.data)
    found = find_base(config, base)
    for note in found.notes:
        progress.note(f"Note: {note}.")
    _use_threads(threads)
    with Staging(outputs, config.experiment_id, replace=replace) as staging:
        if restart:
            staging.discard()
        with _kept(staging, progress):
            job = build(config, found.folder, progress)
            attempt = Attempt(config, job, found.folder, staging, progress)
            resumed = attempt.execute()
            folder = staging.publish()
    log = read_log(folder)
    return Outcome(folder, log, read_metadata(folder), advise(log, config), resumed)


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


@contextmanager
def _kept(staging: Staging, progress: Progress) -> Iterator[None]:
    """Say on an interruption what of the run is kept."""
    try:
        yield
    except KeyboardInterrupt:
        progress.end()
        steps = list(whole_checkpoints(staging.folder / FOLDER))
        kept = f"The checkpoint of step {steps[-1]} is kept" if steps else "Nothing is lost"
        goes = "goes on from there" if steps else "begins anew: no checkpoint was written yet"
        progress.note(f"{kept}: the same command {goes}.")
        raise
