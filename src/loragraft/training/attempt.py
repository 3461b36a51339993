"""One attempt at a run: from its last whole checkpoint, if there is one, to a whole draft."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from loragraft.artifact.checksums import check_checksums
from loragraft.artifact.hash_cache import cached_sha256
from loragraft.artifact.journal import Journal
from loragraft.artifact.progress import Progress, Silent
from loragraft.artifact.publish import Staging
from loragraft.artifact.space import require_disk
from loragraft.errors import BundleError, CheckpointError, InputError
from loragraft.training.callbacks import make_callback
from loragraft.training.config import TrainConfig
from loragraft.training.job import Job
from loragraft.training.log import TrainingLog
from loragraft.training.log_lines import LINES_NAME, LogLines
from loragraft.training.precision import choose_precision
from loragraft.training.publish import Trained, make_draft, promote, versions
from loragraft.training.reporters import reporting
from loragraft.training.resume import (
    FOLDER,
    UNREADABLE,
    State,
    changed_parts,
    last_usable,
    run_parts,
)
from loragraft.training.steps import count_steps, count_warmup
from loragraft.training.time_estimate import estimate_time, explain_memory
from loragraft.training.watch import Watch

COMPLETE = {"complete": True}
"""Entry of the journal once the draft is whole."""
NUMBER_BYTES = 12
"""Of a trained number in a checkpoint: itself and Adam's two moments, in float32."""
FILES_BYTES = 1 << 20
"""Of what else stands in a checkpoint or beside it."""
MEASURED_BATCHES = 20
"""Batches of the rest of a run from which on it is told how long it takes; seven are measured."""


class Attempt:
    """What is done between taking the lock and publishing.

    Attributes:
        config: Of the run.
        job: What is trained.
        base: The base's folder.
    """

    def __init__(
        self, config: TrainConfig, job: Job, base: Path, staging: Staging, progress: Progress
    ) -> None:
        """Take what is trained, and the staging folder, whose lock is held.

        Raises:
            InputError: If there is nothing to learn.
            CheckpointError: If the base holds no weights.
        """
        if not job.train:
            raise InputError("The training data are empty; there is nothing to learn.")
        self.config, self.job, self.base = config, job, base
        self._staging, self._progress = staging, progress
        self._hashes = hash_base(base, progress)
        self._steps = count_steps(config, len(job.train))
        self._precision = choose_precision(config)

    def execute(self) -> int:
        """Train, and put what is published into the staging folder.

        Returns:
            The step of the checkpoint that the run went on from; 0 where it began anew.
        """
        for note in (*self.job.notes, *self._warnings()):
            self._progress.note(f"Note: {note}")
        key = run_parts(self.config, self.job.facts, self._hashes)
        self._begin_anew_if_changed(key)
        start = 0
        with Journal(self._staging.journal_path, key) as journal:
            if COMPLETE not in journal.entries:
                start = self._train(journal)
                journal.append(COMPLETE)
        promote(self._staging.folder)
        _check_whole(self._staging.folder)
        return start

    def _warnings(self) -> Iterator[str]:
        warmup = count_warmup(self.config, self._steps)
        if warmup >= self._steps > 1:
            yield (
                f"The learning rate rises for {warmup} steps and the run has {self._steps}: it "
                "never reaches optimiser.learning_rate. Lower optimiser.warmup_steps."
            )
        if not self.job.validation:
            yield (
                "There are no validation data: training does not stop early, and the last weights "
                "are published, whether or not they are the best."
            )

    def _begin_anew_if_changed(self, key: str) -> None:
        changed = changed_parts(self._staging.journal_path, key)
        if not changed:
            return
        had = f"had another {' and another '.join(changed)}"
        if UNREADABLE in changed:
            had = "left a journal that cannot be read"
        self._progress.note(f"The unfinished run of this name {had}: training begins anew.")
        self._staging.discard()

    def _train(self, journal: Journal) -> int:
        """Go on from the last whole checkpoint to a whole draft; return its step."""
        state = last_usable(self._staging.folder / FOLDER)
        self._require_disk()
        start = 0 if state is None else state.step
        if start:
            self._progress.note(f"Going on from the checkpoint of step {start} of {self._steps}.")
            self._tell_difference(journal)
        path = self._staging.folder / LINES_NAME
        with LogLines(path, self.config.experiment_id, after=start) as lines:
            if state is None or not self._over(state):
                state = self._run_steps(journal, lines, state)
            early = state.stopped_early(self.config, self._steps)
            every = self.config.evaluation.log_every
            log = lines.log("stopped-early" if early else "finished", every)
        self._draft(log, state, _seconds(journal))
        return start

    def _require_disk(self) -> None:
        """Refuse to begin where the checkpoints do not fit.

        Raises:
            OutOfSpaceError: Naming what is missing.
        """
        trained = sum(p.numel() for p in self.job.model.parameters() if p.requires_grad)
        checkpoint = trained * NUMBER_BYTES + FILES_BYTES
        keep = self.config.evaluation.keep + 1  # the best, too
        count = min(keep, self._steps) + 1  # and the one that is being written
        require_disk(self._staging.folder, count * checkpoint, "Training with its checkpoints")

    def _over(self, state: State) -> bool:
        return state.step >= self._steps or state.stopped_early(self.config, self._steps)

    def _run_steps(self, journal: Journal, lines: LogLines, state: State | None) -> State:
        """Train to the end; return the last checkpoint."""
        from loragraft.training.trainer import JobTrainer, Stepping, make_arguments

        folder, before, begun = self._staging.folder, _seconds(journal), time.monotonic()
        answer = self.job.answer if self.job.validation else None
        watch = Watch(
            lines, self.config.evaluation, folder=folder, answer=answer, progress=self._progress
        )

        def saved(step: int) -> None:
            seconds = before + time.monotonic() - begun
            entry = {"checkpoint": step, "seconds": round(seconds, 3), "by": surroundings()}
            journal.append(entry)

        arguments = make_arguments(self.config, folder, self.job, self._precision)
        arguments.eval_on_start = arguments.eval_on_start and state is None
        done = state.step if state else 0
        with reporting(self.config, self._staging.outputs, after=done) as reporters:
            callbacks = [make_callback(watch), Stepping(self._progress), *reporters]
            trainer = JobTrainer(self.job, arguments, self.config, watch, callbacks, saved)
            self._tell_time(done)
            self._progress.begin("Training", self._steps, "steps")
            self._progress.advance(done)
            with explain_memory():
                trainer.train(resume_from_checkpoint=str(state.folder) if state else None)
        self._progress.end()
        last = last_usable(folder / FOLDER)
        assert last is not None, "the last step has a checkpoint"
        return last

    def _tell_difference(self, journal: Journal) -> None:
        """Say where a run goes on in another way than it began: it will not be the same bits."""
        before: dict[str, str] = next((e["by"] for e in reversed(journal.entries) if "by" in e), {})
        now = surroundings()
        changed = [
            f"{name} {before[name]}" for name in now if before.get(name, now[name]) != now[name]
        ]
        if changed:
            self._progress.note(
                f"It was begun with {', '.join(changed)}: the adapter will be a rounding away from "
                "that of an unbroken run."
            )

    def _tell_time(self, done: int) -> None:
        """Say how long it will take, where that is longer than finding it out."""
        batches = (self._steps - done) * self.config.optimiser.accumulation
        if batches > MEASURED_BATCHES:
            self._progress.begin("Measuring some batches", 0)
            estimate = estimate_time(self.config, self.job, self._precision, done)
            self._progress.end()
            self._progress.note(estimate.words)

    def _draft(self, log: TrainingLog, state: State, seconds: float) -> None:
        from loragraft.training.trainer import load_trained

        load_trained(self.job.model, state.chosen)
        trained = Trained(
            config=self.config, job=self.job, base=self.base, base_hashes=self._hashes, log=log,
            step=state.best or state.step, steps=state.step, seconds=seconds,
            precision=self._precision.name, device=self._precision.device,
        )  # fmt: skip
        self._progress.begin("Checking the adapter", 0)
        make_draft(trained, self._staging.folder, self._staging.target)
        self._progress.end()


def hash_base(folder: Path, progress: Progress | None = None) -> dict[str, str]:
    """Return the SHA-256 of a base's weights and configuration, by their path below its folder.

    Raises:
        CheckpointError: If there are no weights.
    """
    weights = sorted(folder.rglob("*.safetensors"))
    if not weights:
        raise CheckpointError(f"{folder} holds no safetensors files: it is no checkpoint's folder.")
    files = [*weights, *(path for path in (folder / "config.json",) if path.is_file())]
    progress = progress or Silent()
    progress.begin("Hashing the base", sum(path.stat().st_size for path in files))
    try:
        return {
            path.relative_to(folder).as_posix(): cached_sha256(path, on_bytes=progress.advance)
            for path in files
        }
    finally:
        progress.end()


def surroundings() -> dict[str, str]:
    """Return what decides how a result is rounded."""
    import torch

    known = versions()
    return {
        "threads": str(torch.get_num_threads()),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        **{name: known[name] for name in ("torch", "transformers", "peft") if name in known},
    }


def _seconds(journal: Journal) -> float:
    """Return the time that training took up to the last checkpoint."""
    times = [entry["seconds"] for entry in journal.entries if "seconds" in entry]
    return float(times[-1]) if times else 0.0


def _check_whole(folder: Path) -> None:
    problems = check_checksums(folder)
    if problems:
        raise BundleError(
            f"{folder} was changed while it was finished: {problems[0].message} Run the command "
            "again with --restart."
        )
