"""One experiment of a series, run to its end: what is there is kept, what is missing is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from loragraft.artifact.metadata import plain
from loragraft.artifact.progress import Progress
from loragraft.engine.batch.specs import EngineSpec
from loragraft.errors import CheckFailedError, InputError, LoragraftError, OutOfSpaceError
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.facts import changed, facts_of
from loragraft.experiment.key import asked_of, digest, run_inputs
from loragraft.experiment.questions import Questions
from loragraft.experiment.records import Sample
from loragraft.experiment.run_info import SAMPLES_NAME, RunInfo, State, read_run, utc_now
from loragraft.experiment.store import Key, RunStore, again, read_samples

if TYPE_CHECKING:
    from loragraft.engine.batch.protocol import BatchEngine, Load
    from loragraft.experiment.arms.opening import Shared
    from loragraft.experiment.arms.protocol import Arm, Asked

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
    """

    config: SeriesConfig
    name: str
    questions: Questions
    shared: Callable[[], Shared]
    progress: Progress
    restart: bool = False
    retry: bool = False

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
            return _outcome(job, before, "kept")
        if before.state == "stopped" and before.monitor == _monitor_json(job.config):
            return _outcome(job, before, "stopped")
    info, notes = _answer(job)
    state: ArmState = "stopped" if info.state == "stopped" else "done"
    return _outcome(job, info, state, notes, time.monotonic() - started)


def _outcome(
    job: ArmJob, info: RunInfo, state: ArmState, notes: Iterable[str] = (), seconds: float = 0.0
) -> ArmOutcome:
    notes = tuple(dict.fromkeys((*notes, *info.notes)))
    return ArmOutcome(job.name, state, job.folder, info.total, info.counts, info.message, notes,
                      seconds)  # fmt: skip


def is_current(job: ArmJob, info: RunInfo) -> bool:
    """Whether a run that ended is of these questions, this configuration and these files.

    Told by small files alone: where it is not sure, the answer is no.
    """
    path = job.folder / SAMPLES_NAME
    written = path.stat().st_size if path.exists() else 0
    return (
        info.questions == job.questions.digest
        and info.asked == digest(asked_of(job.config, job.name))
        and info.total == len(job.questions) * info.repeats
        and info.again == 0
        and info.samples.get("bytes") == written
        and not set(changed(info.facts, _facts(job))) - _NOT_ANSWERS
    )


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
        job.progress.begin(f"{name}: opening the model", 0)
        engine = _open_engine(job, arm)
        if engine is not None:
            stack.enter_context(closing(engine))
        identity = None if engine is None else engine.identity()
        inputs = run_inputs(config, name, _identity(job, arm), identity)
        info = _new_info(job, inputs, arm, engine)
        store = stack.enter_context(RunStore(job.folder, info, restart=job.restart))
        for note in store.notes:
            job.progress.note(note)
        return _Session(job, arm, engine, store).run(), store.notes


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


class _Session:
    """One go at a run: from what is there to its end, or to what ends it."""

    def __init__(self, job: ArmJob, arm: Arm, engine: BatchEngine | None, store: RunStore) -> None:
        from loragraft.experiment.metrics.monitor import Monitor

        self._job, self._arm, self._engine, self._store = job, arm, engine, store
        self._keys = job.keys(arm.repeats)
        self._monitor = Monitor(job.config.monitor, arm.task)
        self._started = time.monotonic()
        self._load = dict(store.info.load)
        self._finding: Any = None

    def run(self) -> RunInfo:
        """Ask what is missing; say in ``run.json`` how it ended, whatever ends it."""
        self._forget_changed()
        done = sum(key in self._store.kept for key in self._keys)
        self._tell("running", "", session={"began": utc_now(), "done": done})
        try:
            self._look_back()
            if self._finding is None:
                self._probe()
                self._ask(self._missing())
        except KeyboardInterrupt:
            self._tell("interrupted", "Interrupted by the user; the same command goes on.")
            raise
        except OutOfSpaceError:
            raise  # there is no room to say so
        except LoragraftError as error:
            self._tell("failed", str(error))
            raise
        return self._end()

    def _forget_changed(self) -> None:
        """Take out samples of questions whose record is another than it was."""
        digests = self._job.questions.digests
        gone = [
            key for key, kept in self._store.kept.items()
            if key[0] in digests and kept.record != digests[key[0]]
        ]  # fmt: skip
        if gone:
            self._store.notes.append(
                f"{len(gone)} questions of {self._job.name} are not what they were; they are "
                "asked again."
            )
            self._store.forget(gone)

    def _look_back(self) -> None:
        """Let the monitor see what earlier sessions have answered."""
        if not self._store.kept:
            return
        wanted = set(self._keys)
        for sample in self._store.samples().values():
            if sample.key in wanted:
                self._see(sample)

    def _see(self, sample: Sample) -> None:
        self._monitor.see(sample)
        if self._finding is None and self._job.config.monitor.stop:
            self._finding = self._monitor.finding()

    def _probe(self) -> None:
        """Note the prompt tokens of fixed conversations, and say where another arm's differ."""
        if self._engine is None:
            return
        from loragraft.experiment.parity import compare_probe

        probe, notes = compare_probe(self._job.config, self._job.name, self._engine)
        self._store.notes += notes
        for note in notes:
            self._job.progress.note(note)
        self._store.tell(probe=probe)

    def _missing(self) -> list[Asked]:
        """Prepare the questions that have no answer, or a failed one to be tried again."""
        from loragraft.experiment.arms.protocol import Asked, seed_of

        job, kept = self._job, self._store.kept
        wanted = [key for key in self._keys if key not in kept or self._asked_again(key)]
        records = {record.id: record for record in job.questions.records}
        ids = list(dict.fromkeys(name for name, _repeat in wanted))
        job.progress.begin(f"{job.name}: preparing", len(ids), "questions")
        questions = {}
        for name in ids:
            questions[name] = self._arm.prepare(records[name], self._engine)
            job.progress.advance(1)
        seed = job.config.seed
        return [Asked(questions[name], n, seed_of(seed, name, n)) for name, n in wanted]

    def _asked_again(self, key: Key) -> bool:
        kept = self._store.kept[key]
        failed = kept.status not in ("ok", "parse_error", "unscorable")
        return again(kept) or (self._job.retry and failed)

    def _ask(self, asked: Sequence[Asked]) -> None:
        if not asked:
            return
        job = self._job
        total = len(self._keys)
        job.progress.begin(f"{job.name}: answering", total, "answers")
        job.progress.advance(total - len(asked))
        digests = job.questions.digests
        with closing(self._arm.samples(asked, self._engine)) as samples:  # type: ignore[type-var]
            for sample in samples:
                self._see(self._store.add(sample, digests[sample.question_id]))
                job.progress.advance(1)
                if self._finding is not None:
                    return

    def _end(self) -> RunInfo:
        """Say how it ended: whole, or stopped by the monitor."""
        finding = self._finding
        complete = all(key in self._store.kept for key in self._keys)
        late = None if finding is not None else self._monitor.finding()
        found = finding or late
        values = found and plain(found.to_json())
        if finding is not None and not complete:
            self._tell("stopped", _stopped(finding), finding=values)
            return self._store.info
        counts = self._store.counts(self._keys)
        self._tell("complete", "" if found is None else _said(found), finding=values)
        if counts and not counts.get("ok") and not counts.get("parse_error"):
            raise CheckFailedError(self._nothing_answered(counts))
        return self._store.info

    def _nothing_answered(self, counts: Mapping[str, int]) -> str:
        samples = self._store.samples().values()
        words = next((sample.error for sample in samples if sample.error), "")
        told = ", ".join(f"{status} {count}" for status, count in counts.items())
        return f"No question of {self._job.name} was answered ({told}). {words}".strip()

    def _tell(self, state: State, message: str, **more: Any) -> None:  # noqa: ANN401
        keys, store = self._keys, self._store
        failed = sum(again(store.kept[key]) for key in keys if key in store.kept)
        ended = {"samples": store.finish()} if state != "running" else {}
        store.tell(
            state=state,
            message=message,
            counts=store.counts(keys),
            again=failed,
            load=self._cost(),
            notes=tuple(dict.fromkeys((*store.info.notes, *store.notes))),
            **ended,
            **more,
        )

    def _cost(self) -> dict[str, Any]:
        """Return what answering has cost, earlier sessions' included."""
        load: Load | None = self._engine.load if self._engine is not None else None
        now = asdict(load) if load is not None else {}
        total = dict(self._load)
        for name, value in now.items():
            if name == "peak_bytes":
                total[name] = max((v for v in (value, total.get(name)) if v), default=None)
            else:
                total[name] = (total.get(name) or 0) + value
        elapsed = time.monotonic() - self._started
        total["wall_seconds"] = (self._load.get("wall_seconds") or 0.0) + elapsed
        return total


def _said(finding: Any) -> str:  # noqa: ANN401
    causes = "; ".join(finding.causes)
    likely = f" Likely causes: {causes}." if causes else ""
    return (
        f"The outputs look degenerate: {finding.measured}; expected {finding.expected}.{likely} "
        f"{finding.next_step}"
    ).strip()


def _stopped(finding: Any) -> str:  # noqa: ANN401
    return (
        f"{_said(finding)} The run was stopped; to run it to its end all the same: --set "
        "monitor.stop=false."
    )
