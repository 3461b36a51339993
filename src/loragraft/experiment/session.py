"""One go at a run: from what is there to its end, or to what ends it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from loragraft.artifact.metadata import plain
from loragraft.errors import LoragraftError, OutOfSpaceError
from loragraft.experiment.records import FAILED, Sample
from loragraft.experiment.run_info import RunInfo, State, utc_now
from loragraft.experiment.store import Key, RunStore, again

if TYPE_CHECKING:
    from loragraft.engine.batch.protocol import BatchEngine, Load
    from loragraft.experiment.arm_run import ArmJob
    from loragraft.experiment.arms.protocol import Arm, Asked


class Session:
    """One go at a run: from what is there to its end, or to what ends it."""

    def __init__(self, job: ArmJob, arm: Arm, engine: BatchEngine | None, store: RunStore) -> None:
        """Put the parts together; nothing is asked yet.

        Args:
            job: What is run.
            arm: Asks and reads.
            engine: Answers; None for an arm without one.
            store: The run's folder, open.
        """
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
                missing = self._missing()
                self._probe(missing)
                self._ask(missing)
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

    def _probe(self, asked: Sequence[Asked]) -> None:
        """Note the prompt tokens of fixed conversations, and say where another arm's differ."""
        if self._engine is None:
            return
        from loragraft.experiment.parity import compare_probe

        texts = [message["content"] for one in asked for message in one.question.messages]
        probe, notes = compare_probe(self._job.config, self._job.name, self._engine, texts)
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
        return again(kept) or (self._job.retry and kept.status in FAILED)

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
        message = "" if found is None else _said(found)
        if counts.keys() <= FAILED:
            message = self._nothing_answered(counts)
        self._tell("complete", message, finding=values)
        return self._store.info

    def _nothing_answered(self, counts: Mapping[str, int]) -> str:
        samples = self._store.samples().values()
        words = next((sample.error for sample in samples if sample.error), "")
        told = ", ".join(f"{count} {status}" for status, count in counts.items())
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
