"""Scores of a run: computed when answers or metrics have changed, else left as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft import __version__
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.jsonl import read_jsonl, write_jsonl
from loragraft.artifact.lock import hold_lock
from loragraft.artifact.progress import Progress, Silent
from loragraft.errors import InputError
from loragraft.experiment.aside import explained
from loragraft.experiment.key import digest
from loragraft.experiment.reading import parse_score, score_json
from loragraft.experiment.records import Sample, Score
from loragraft.experiment.run_info import SAMPLES_NAME, SCORES_NAME, RunInfo, read_run, write_run
from loragraft.experiment.store import lock_path, read_samples

if TYPE_CHECKING:
    from loragraft.experiment.arm_run import ArmJob
    from loragraft.experiment.metrics.protocol import Metric


def score_arm(job: ArmJob, *, progress: Progress | None = None) -> None:
    """Measure a run's answers, as far as they have not been measured before.

    Raises:
        InputError: If there is no run.
        LoragraftError: What a metric cannot do without.
        LockedError: If another process writes the run.
    """
    info = read_run(job.folder)
    if info is None:
        raise InputError(f"{job.folder} holds no run; make one with loragraft experiment run.")
    made_from = _made_from(job, job.questions.digest)
    enough = (made_from, _made_from(job, info.questions))  # of those that are asked now, or of all
    if info.scores.get("made_from") in enough and as_written(job.folder, info):
        return
    with hold_lock(lock_path(job.folder)):
        _Scorer(job, info, made_from, progress or Silent()).run()


def _made_from(job: ArmJob, questions: str) -> str:
    """Return a digest of all that scores are made from, told without loading anything.

    Args:
        job: The experiment.
        questions: Digest of the questions whose answers are measured: a limit leaves some out.
    """
    path = job.folder / SAMPLES_NAME
    judge = job.config.judge and job.config.judge.model_dump(mode="json")
    return digest({
        "samples": sha256_file(path) if path.is_file() else None,
        "questions": questions,
        "metrics": job.config.metrics.model_dump(mode="json"),
        "judge": judge,
        "version": __version__,
    })  # fmt: skip


def as_written(folder: Path, info: RunInfo) -> bool:
    """Whether the scores' file is the one that was written, and nobody has changed it since."""
    path = folder / SCORES_NAME
    return path.is_file() and sha256_file(path) == info.scores.get("sha256")


def read_scores(folder: Path) -> Iterator[Score]:
    """Yield a run's scores; none where there is no file. What cannot be read is passed over."""
    path = folder / SCORES_NAME
    if not path.exists():
        return
    for line in read_jsonl(path, on_broken=lambda number, reason: None):
        try:
            yield parse_score(line.values)
        except InputError:
            continue


class _Scorer:
    """Computes scores, metric by metric; those of a metric that is what it was are kept."""

    def __init__(self, job: ArmJob, info: RunInfo, made_from: str, progress: Progress) -> None:
        self._job, self._info, self._made_from = job, info, made_from
        self._progress = progress
        self._records = {record.id: record for record in job.questions.records}

    def run(self) -> None:
        samples, metrics = self._wanted(), self._metrics()
        content = digest([[s.question_id, s.repeat, s.record, _content(s)] for s in samples])
        known = self._info.scores.get("metrics")
        before = known if isinstance(known, Mapping) else {}
        keys: dict[str, str] = {}
        scores: list[Score] = []
        intact = as_written(self._job.folder, self._info)
        before = before if intact else {}
        old = self._old() if before else {}
        self._progress.begin(f"{self._job.name}: measuring", len(metrics),
                             "metrics" if len(metrics) != 1 else "metric")  # fmt: skip
        for metric in metrics:
            name = " ".join(info.name for info in metric.infos)
            keys[name] = digest([content, plain_identity(metric)])
            kept = before.get(name) == keys[name]
            scores += self._kept(metric, old) if kept else list(
                metric.scores(samples, self._records)
            )  # fmt: skip
            self._progress.advance(1)
        self._write(scores, keys)

    def _metrics(self) -> list[Metric]:
        from loragraft.experiment.metrics.opening import open_context
        from loragraft.experiment.metrics.registry import metrics_for

        job = self._job
        context = open_context(job.config, job.name, job.tools and job.tools())
        return metrics_for(job.config.metrics, job.config.experiments[job.name].task, context)

    def _wanted(self) -> list[Sample]:
        """Return the samples of the questions, in their order."""
        there = read_samples(self._job.folder)
        digests = self._job.questions.digests
        return [
            there[key] for key in self._job.keys(self._info.repeats)
            if key in there and there[key].record == digests[key[0]]
        ]  # fmt: skip

    def _old(self) -> dict[str, list[Score]]:
        found: dict[str, list[Score]] = {}
        for score in read_scores(self._job.folder):
            found.setdefault(score.metric, []).append(score)
        return found

    @staticmethod
    def _kept(metric: Metric, old: Mapping[str, list[Score]]) -> Iterable[Score]:
        return [score for info in metric.infos for score in old.get(info.name, [])]

    def _write(self, scores: Iterable[Score], keys: Mapping[str, str]) -> None:
        folder = self._job.folder
        with explained(folder / SCORES_NAME):
            sha256 = write_jsonl(folder / SCORES_NAME, map(score_json, scores))
        told = {"made_from": self._made_from, "metrics": dict(keys), "sha256": sha256}
        info = read_run(folder)
        assert info is not None
        write_run(folder, _with_scores(info, told))


def _with_scores(info: RunInfo, told: Mapping[str, Any]) -> RunInfo:
    from dataclasses import replace

    return replace(info, scores=told)


def plain_identity(metric: Metric) -> Any:  # noqa: ANN401
    """Return what decides a metric's values, as JSON values."""
    return [[info.name, info.version] for info in metric.infos], metric.identity()


def _content(sample: Sample) -> str:
    from loragraft.experiment.reading import sample_json

    return digest(sample_json(sample))
