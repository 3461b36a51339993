"""A grid of runs: all are trained, one after another, and the best by validation loss is named.

Every run is one of ``train run`` and is published under its own name; what is finished is never
trained again, and what was killed goes on from its checkpoint. The test split plays no part.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loragraft.artifact.progress import Progress, Silent
from loragraft.artifact.publish import Staging
from loragraft.errors import (
    BundleError,
    CheckFailedError,
    InputError,
    LockedError,
    LoragraftError,
    NonFiniteError,
    OutOfMemoryError,
)
from loragraft.training.advice import Advice, advise
from loragraft.training.config import TrainConfig
from loragraft.training.grid_cells import Cell, Mark, Standing, find_standing, make_cells
from loragraft.training.grid_publish import is_grids_own, is_same, publish_best
from loragraft.training.grid_report import GridReport, Line, best_line, make_line
from loragraft.training.job import Job, build_job
from loragraft.training.resume import FOLDER, whole_checkpoints
from loragraft.training.run import Build, find_base, train

OWN_FAULT = (NonFiniteError, CheckFailedError, OutOfMemoryError, LockedError)
"""Errors that are one run's own; whatever else is wrong is so for all, and ends the grid."""


@dataclass(frozen=True)
class GridOutcome:
    """A grid that was run.

    Attributes:
        report: Every run with its figures.
        folder: A copy of the best run's adapter under the grid's own name, with the report.
        advice: On the best run.
    """

    report: GridReport
    folder: Path
    advice: tuple[Advice, ...]


@dataclass
class _Work:
    """What is done of a grid while it is worked on."""

    cells: tuple[Cell, ...]
    done: dict[str, Standing] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def lines(self) -> tuple[Line, ...]:
        return tuple(
            make_line(cell, self.done.get(cell.id), self.failed.get(cell.id, ""))
            for cell in self.cells
        )


def plan_grid(
    config: TrainConfig, outputs: Path, *, base: str | None = None, progress: Progress | None = None
) -> GridReport:
    """Say what a grid would run and what of it is there; trains nothing.

    Raises:
        InputError: If the configuration, the data or the base cannot be used.
    """
    cells = _checked(config)
    _, mark = _prepare(config, base, progress or Silent())
    lines = []
    for cell in cells:
        standing = find_standing(cell, outputs, mark)
        done = standing if standing.state == "finished" else None
        line = make_line(cell, done, standing.why)
        lines.append(line if done else line.waiting(standing.state))
    return GridReport(config.experiment_id, tuple(lines))


def run_grid(
    config: TrainConfig,
    outputs: Path,
    *,
    base: str | None = None,
    replace: bool = False,
    jobs: int = 1,
    threads: int | None = None,
    progress: Progress | None = None,
) -> GridOutcome:
    """Train every run of a grid that is not finished, and name the best.

    Args:
        config: With the grid's values; the others are every run's.
        outputs: Parent folder of the runs and of the result.
        base: The base's folder or another name of it.
        replace: Whether results of other settings under these names give way.
        jobs: Runs at once, each in a process of its own if more than one.
        threads: Of the processor, for each run.
        progress: Who wants to know how far it is.

    Raises:
        InputError: If there is nothing to choose by, or the configuration, the data or the base
            cannot be used.
        LockedError: If another process works on the same grid.
        BundleError: If a name is taken by something else.
        CheckFailedError: If not a single run could be finished.
        UnavailableError: If the disk is full or a package is missing.
    """
    progress = progress or Silent()
    cells = _checked(config)
    own = is_grids_own(outputs / config.experiment_id)
    with Staging(outputs, config.experiment_id, replace=replace or own) as staging:
        _begin(staging, replace=replace)
        build, mark = _prepare(config, base, progress)
        work = _Work(cells)
        replaced = _look(work, outputs, mark, replace=replace)
        todo = [cell for cell in cells if cell.id not in work.done]
        progress.note(f"{len(todo)} of {len(cells)} runs are left to do.")
        with _stopping(work, progress):
            if jobs > 1 and len(todo) > 1:
                from loragraft.training.grid_jobs import run_children

                run_children(todo, outputs, base, replaced, jobs, threads, progress, work.failed)
            else:
                _one_by_one(work, todo, outputs, base, replaced, build, threads, progress)
        for name in _look(work, outputs, mark, replace=True):
            work.failed.setdefault(name, "what is there is still another run's result")
        report = GridReport(config.experiment_id, work.lines())
        best = best_line(report)
        if best is None:
            raise CheckFailedError(_none(report))
        if todo or not is_same(staging.target, report):
            publish_best(staging, outputs / best.id, report)
    log = work.done[best.id].log
    chosen = next(cell.config for cell in cells if cell.id == best.id)
    return GridOutcome(report, staging.target, advise(log, chosen) if log else ())


def _begin(staging: Staging, *, replace: bool) -> None:
    """Empty the staging folder, which a single run of the grid's name may have left something in.

    Raises:
        BundleError: If that run could still go on.
    """
    if whole_checkpoints(staging.folder / FOLDER) and not replace:
        raise BundleError(
            f"{staging.folder} holds an unfinished run of the grid's own name, which would be "
            "lost. Give the grid another name (--id), finish that run, or give --replace."
        )
    staging.discard()


def _checked(config: TrainConfig) -> tuple[Cell, ...]:
    if config.data.tag is None and config.data.validation is None:
        raise InputError(
            "A grid chooses the best run by its validation loss, and there are no validation "
            "data. Give data.validation, or a split by data.tag."
        )
    return make_cells(config)


def _prepare(config: TrainConfig, base: str | None, progress: Progress) -> tuple[Build, Mark]:
    """Read what all runs share, and say how a run is built of it."""
    from loragraft.training.attempt import hash_base
    from loragraft.training.load import require_training
    from loragraft.training.reporters import require_reporters
    from loragraft.training.rows import read_rows, require_data

    require_training(config)
    require_reporters(config)
    require_data(config.data)
    found = find_base(config, base)
    hashes = hash_base(found.folder, progress)
    if config.task == "causal-lm":
        return _shared_causal(config, found.folder, hashes, progress)
    parts = [read_rows(config.data, part, config.seed) for part in ("train", "validation")]
    _require_validation(len(parts[1].rows))
    files = tuple(file.sha256 for part in parts for file in part.files)
    return build_job, Mark(files, None, hashes)


def _shared_causal(
    config: TrainConfig, base: Path, hashes: Mapping[str, str], progress: Progress
) -> tuple[Build, Mark]:
    """Read and encode the data once: rank, rate and epochs change nothing of them."""
    from loragraft.training.causal_lm import build_causal_lm, read_causal_data

    data = read_causal_data(config, base, progress)
    _require_validation(len(data.validation.examples))
    facts = data.facts
    files = tuple(str(file["sha256"]) for file in facts["files"])

    def build(cell: TrainConfig, folder: Path, watching: Progress) -> Job:
        return build_causal_lm(cell, folder, watching, read=lambda *_: data)

    return build, Mark(files, str(facts["examples_sha256"]), hashes)


def _require_validation(count: int) -> None:
    if not count:
        raise InputError(
            "The validation data are empty, and a grid chooses the best run by the loss on them. "
            "Make a split with a larger share for val."
        )


def _look(work: _Work, outputs: Path, mark: Mark, *, replace: bool) -> frozenset[str]:
    """Find what is finished; return the names of what is to give way.

    Raises:
        BundleError: If a name is taken and may not be replaced.
    """
    other = {}
    for cell in work.cells:
        standing = find_standing(cell, outputs, mark)
        if standing.state == "finished":
            work.done[cell.id] = standing
            work.failed.pop(cell.id, None)
        elif standing.state == "other":
            other[cell.id] = standing.why
    if other and not replace:
        name, why = next(iter(other.items()))
        more = f", and {len(other) - 1} more" if len(other) > 1 else ""
        raise BundleError(
            f"{outputs / name}{more} is there and not this grid's: it differs in {why}. Give "
            "--replace to train it anew, or another name to the grid (--id)."
        )
    return frozenset(other)


def _one_by_one(
    work: _Work,
    todo: Sequence[Cell],
    outputs: Path,
    base: str | None,
    replaced: frozenset[str],
    build: Build,
    threads: int | None,
    progress: Progress,
) -> None:
    spent = epochs = 0.0
    for number, cell in enumerate(todo):
        progress.note(
            f"Run {number + 1} of {len(todo)}: {cell.id}{_left(todo[number:], spent, epochs)}"
        )
        begun = time.monotonic()
        try:
            outcome = train(
                cell.config, outputs, base=base, replace=cell.id in replaced, threads=threads,
                progress=progress, build=build,
            )  # fmt: skip
            if not outcome.resumed_from:
                spent += time.monotonic() - begun
                epochs += cell.config.optimiser.epochs
        except OWN_FAULT as error:
            work.failed[cell.id] = str(error)
            progress.note(f"{cell.id} failed: {error}")
        finally:
            gc.collect()  # the Trainer and its model hold one another


def _left(todo: Sequence[Cell], spent: float, epochs: float) -> str:
    """Estimate the time of what is left by the epochs that are done."""
    if not epochs:
        return ""
    seconds = spent / epochs * sum(cell.config.optimiser.epochs for cell in todo)
    words = f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
    return f"; about {words} are left for the grid"


@contextmanager
def _stopping(work: _Work, progress: Progress) -> Iterator[None]:
    """Say on Ctrl-C, and on an error that is all runs', what of the grid is kept."""
    try:
        yield
    except (KeyboardInterrupt, LoragraftError):
        progress.end()
        progress.note("Runs that are finished are kept; the same command goes on with the others.")
        raise


def _none(report: GridReport) -> str:
    first = next((line for line in report.lines if line.error), None)
    why = f" The first, {first.id}: {first.error}" if first else ""
    return f"None of the {len(report.lines)} runs of the grid could be finished.{why}"


def grid_json(outcome: GridOutcome) -> dict[str, Any]:
    """Return a grid's outcome as JSON values."""
    from dataclasses import asdict

    advice = [asdict(item) for item in outcome.advice]
    return {**outcome.report.to_json(), "folder": str(outcome.folder), "advice": advice}
