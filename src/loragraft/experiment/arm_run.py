"""One experiment of a series, run to its end: what is there is kept, what is missing is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from loragraft.artifact.progress import Progress
from loragraft.engine.batch.peak import forget_peak
from loragraft.engine.batch.specs import EngineSpec
from loragraft.errors import InputError
from loragraft.experiment.aside import altered
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.facts import changed, facts_of
from loragraft.experiment.key import asked_of, digest, run_inputs
from loragraft.experiment.questions import Questions
from loragraft.experiment.records import Sample
from loragraft.experiment.run_info import RunInfo, read_run, utc_now
from loragraft.experiment.session import Session
from loragraft.experiment.store import Key, RunStore, again, read_samples

if TYPE_CHECKING:
    from loragraft.engine.batch.protocol import BatchEngine
    from loragraft.experiment.arms.opening import Shared
    from loragraft.experiment.arms.protocol import Arm
    from loragraft.experiment.metrics.opening import Tools

ArmState = Literal["done", "kept", "stopped", "failed", "left out"]
"""What became of an experiment: run to its end; found complete; ended by the monitor; ended by an
error; not run, for a reason that is no fault."""

_ENGINES = tuple(get_args(get_args(EngineSpec)[0]))
_NOT_ANSWERS = frozenset({"corpus"})
"""Facts that decide no answer: of a corpus, only what its index holds does."""


@dataclass(frozen=True)
class ArmOutcome:
    """What became of an experiment.

    Attributes:
        name: Its id.
        state: See :data:`ArmState`.
        folder: Of its results.
        total: Samples that it shall have.
        counts: Those that are there, by status.
        message: Why it is not complete, with the next step.
        notes: What a person should know.
        seconds: This time.
    """

    name: str
    state: ArmState
    folder: Path
    total: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    message: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class ArmJob:
    """An experiment that is to be run.

    Attributes:
        config: Its series.
        name: Its id.
        questions: Of its kind.
        shared: What the series' experiments share: index, embedder; made when it is needed.
        progress: Who hears how far it is.
        restart: Whether what is there is moved aside and everything asked again.
        retry: Whether also those are asked again that failed twice.
        tools: What metrics may need; made when answers are measured.
    """

    config: SeriesConfig
    name: str
    questions: Questions
    shared: Callable[[], Shared]
    progress: Progress
    restart: bool = False
    retry: bool = False
    tools: Callable[[], Tools] | None = None

    @property
    def folder(self) -> Path:
        """Where its results are."""
        return folder_of(self.config, self.name)

    def keys(self, repeats: int) -> list[Key]:
        """Return question and repeat of every sample that it shall have."""
        return [(record.id, n) for record in self.questions.records for n in range(repeats)]


def folder_of(config: SeriesConfig, name: str) -> Path:
    """Return where an experiment's results are."""
    return config.outputs / config.series / name


def run_arm(job: ArmJob) -> ArmOutcome:
    """Run an experiment; one that is complete is left as it is, and nothing is loaded for it.

    Raises:
        LoragraftError: What ended it; what was answered before is kept.
        KeyboardInterrupt: If the user ended it; the same.
    """
    started = time.monotonic()
    before = None if job.restart else read_run(job.folder)
    if before is not None and is_current(job, before):
        if before.state == "complete" and not (job.retry and before.missing):
            return _outcome(job, replace(before, notes=()), "kept")
        if before.state == "stopped" and before.monitor == _monitor_json(job.config):
            return _outcome(job, before, "stopped")
    counted = None if before is None or job.retry else _recounted(job, before)
    if counted is not None:
        return _outcome(job, replace(counted, notes=()), "kept")
    info, notes = _answer(job)
    state: ArmState = "stopped" if info.state == "stopped" else "done"
    return _outcome(job, info, state, notes, time.monotonic() - started)


def _outcome(
    job: ArmJob, info: RunInfo, state: ArmState, notes: Iterable[str] = (), seconds: float = 0.0
) -> ArmOutcome:
    notes = tuple(dict.fromkeys((*notes, *info.notes)))
    if info.state == "complete" and not info.answered:
        state = "failed"
    return ArmOutcome(job.name, state, job.folder, info.total, info.counts, info.message, notes,
                      seconds)  # fmt: skip


def is_current(job: ArmJob, info: RunInfo) -> bool:
    """Whether a run that ended is of these questions, this configuration and these files.

    Told by small files alone: where it is not sure, the answer is no.
    """
    return (
        info.questions == job.questions.digest
        and info.asked == digest(asked_of(job.config, job.name))
        and info.total == len(job.questions) * info.repeats
        and info.again == 0
        and "bytes" in info.samples
        and not altered(job.folder, info)
        and not _is_stale(job, info)
    )


def _recounted(job: ArmJob, info: RunInfo) -> RunInfo | None:
    """Return a run that has all that other questions of the same kind want; None where not.

    So after a run without a limit, one with a limit has nothing to load, and the other way round.
    """
    questions, keys = job.questions, job.keys(info.repeats)
    if info.state != "complete" or info.asked != digest(asked_of(job.config, job.name)):
        return None
    if info.questions == questions.digest or _is_stale(job, info):
        return None
    with RunStore(job.folder, info) as store:
        there = [store.kept.get(key) for key in keys]
        if not all(
            kept is not None and kept.record == questions.digests[key[0]] and not again(kept)
            for key, kept in zip(keys, there, strict=True)
        ):
            return None
        store.tell(
            questions=questions.digest,
            source=questions.source,
            total=len(keys),
            counts=store.counts(keys),
            samples=store.finish(),
        )
        return store.info


def _is_stale(job: ArmJob, info: RunInfo) -> bool:
    return bool(set(changed(info.facts, _facts(job))) - _NOT_ANSWERS)


def _facts(job: ArmJob) -> dict[str, Any]:
    """Return facts of files, and of the experiments that are averaged."""
    facts = facts_of(job.config, job.name)
    for part in job.config.experiments[job.name].average:
        info = read_run(folder_of(job.config, part))
        facts[f"experiment {part}"] = None if info is None else dict(info.samples)
    return facts


def _monitor_json(config: SeriesConfig) -> dict[str, Any]:
    return config.monitor.model_dump(mode="json")


def _answer(job: ArmJob) -> tuple[RunInfo, list[str]]:
    """Ask what is missing; return how the run ended."""
    from loragraft.experiment.arms.opening import open_arm

    config, name = job.config, job.name
    with ExitStack() as stack:
        shared = job.shared()
        arm = stack.enter_context(
            closing(open_arm(config, name, shared, samples_of=lambda part: part_of(job, part)))
        )
        for part in arm.parts:
            _require_complete(job, part)
        if arm.asks:
            forget_peak()
            job.progress.begin(f"{name}: opening the model", 0)
        engine = _open_engine(job, arm)
        if engine is not None:
            stack.enter_context(closing(engine))
        identity = None if engine is None else engine.identity()
        inputs = run_inputs(config, name, _identity(job, arm), identity)
        info = _new_info(job, inputs, arm, engine)
        store = stack.enter_context(RunStore(job.folder, info, restart=job.restart))
        return Session(job, arm, engine, store).run(), store.notes


def _identity(job: ArmJob, arm: Arm) -> dict[str, Any]:
    identity = dict(arm.identity())
    for part in arm.parts:
        info = read_run(folder_of(job.config, part))
        identity[f"experiment {part}"] = None if info is None else dict(info.samples)
    return identity


def _open_engine(job: ArmJob, arm: Arm) -> BatchEngine | None:
    spec = job.config.experiments[job.name].engine
    if not arm.asks or not isinstance(spec, _ENGINES):
        return None
    from loragraft.experiment.open_arm import open_arm_engine

    return open_arm_engine(spec, context_needed=arm.context_needed(job.questions.records))


def part_of(job: ArmJob, part: str) -> Iterator[Sample]:
    """Yield the samples of another experiment, those of this one's questions."""
    for sample in read_samples(folder_of(job.config, part)).values():
        if job.questions.digests.get(sample.question_id) == sample.record:
            yield sample


def _require_complete(job: ArmJob, part: str) -> None:
    info = read_run(folder_of(job.config, part))
    if info is None or info.state != "complete" or info.questions != job.questions.digest:
        raise InputError(
            f"{job.name} averages {part}, which is not complete. Run it first: loragraft "
            f"experiment run CONFIG --only {part} --only {job.name}."
        )


def _new_info(
    job: ArmJob, inputs: Mapping[str, Any], arm: Arm, engine: BatchEngine | None
) -> RunInfo:
    config, experiment = job.config, job.config.experiments[job.name]
    spec = experiment.engine
    return RunInfo(
        series=config.series,
        experiment=job.name,
        task=experiment.task,
        size=config.size,
        key=digest(inputs),
        inputs=inputs,
        asked=digest(asked_of(config, job.name)),
        facts=_facts(job),
        source=job.questions.source,
        questions=job.questions.digest,
        total=len(job.questions) * arm.repeats,
        repeats=arm.repeats,
        retrieves=experiment.retrieval,
        optional=experiment.optional,
        monitor=_monitor_json(config),
        engine=engine.name if engine is not None else str(getattr(spec, "model", "")),
        started=utc_now(),
    )
