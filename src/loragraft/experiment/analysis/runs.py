"""Runs that are compared by hand: their folders alone, without the series that made them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from loragraft import __version__
from loragraft.errors import InputError
from loragraft.experiment.analysis.browse import browsable
from loragraft.experiment.analysis.compared import comparisons_of
from loragraft.experiment.analysis.distributions import distributions_of
from loragraft.experiment.analysis.figures import figures_of
from loragraft.experiment.analysis.model import Analysis, Browsable
from loragraft.experiment.analysis.provenance import provenance_of
from loragraft.experiment.analysis.slices import slices_of
from loragraft.experiment.aside import altered
from loragraft.experiment.compare import check_comparable
from loragraft.experiment.config import TaskKind
from loragraft.experiment.measured import Measured
from loragraft.experiment.records import Score
from loragraft.experiment.run_info import (
    RUN_NAME,
    SAMPLES_NAME,
    SCORES_NAME,
    RunInfo,
    read_run,
    utc_now,
)
from loragraft.experiment.scoring import as_written, read_scores
from loragraft.experiment.store import read_samples
from loragraft.experiment.table import Line

if TYPE_CHECKING:
    from loragraft.experiment.metrics.protocol import MetricInfo

FACTUALITY = "factuality"


@dataclass(frozen=True)
class Runs:
    """Runs that were asked the same.

    Attributes:
        arms: Their records, by name; the first one is what the others are compared with.
        infos: Their metrics, in the order of tables, the one that decides first.
        metric: That decides which one does a question better.
    """

    arms: Mapping[str, Measured]
    infos: Mapping[str, MetricInfo]
    metric: str

    @property
    def baseline(self) -> str:
        """Return what the others are compared with."""
        return next(iter(self.arms))

    def browsable(self) -> Browsable:
        """Return all samples, to be looked through; accepted answers stand in no run's folder."""
        return browsable(self.arms, self.infos, baseline=self.baseline, metric=self.metric, seen={})


def read_runs(folders: Sequence[Path], metric: str | None = None) -> Runs:
    """Read runs from their folders.

    Args:
        folders: Of two runs or more; the first one is the baseline.
        metric: That decides which one does a question better; None for factuality, or the first
            that counts.

    Raises:
        InputError: If one is no run, is named twice or another's copy, was not measured or is not
            as it was written, or was not asked what the first was; or none has the metric.
    """
    _check_once(folders)
    arms: dict[str, Measured] = {}
    answers: dict[str, Path] = {}
    for folder in folders:
        measured = _read(folder)
        _check_another(folder, measured.info, answers)
        if arms:
            check_comparable(next(iter(arms.values())).info, measured.info)
        arms[_name(folder, measured.info, arms)] = measured
    infos = _infos(arms)
    leading = _metric(infos, metric)
    first = {leading: infos[leading]} if leading in infos else {}
    return Runs(arms, {**first, **infos}, leading)


def _check_once(folders: Sequence[Path]) -> None:
    """Refuse a run that is named twice: it would count as another one."""
    places = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise InputError(f"{folder} is named twice; name another run in place of one of them.")


def _check_another(folder: Path, info: RunInfo, answers: dict[str, Path]) -> None:
    """Refuse a run whose answers are those of one before, byte for byte: nothing would differ."""
    sha256 = info.samples.get("sha256")
    if not isinstance(sha256, str):
        return
    first = answers.setdefault(sha256, folder)
    if first is not folder:
        raise InputError(
            f"{folder} holds the very answers of {first}: one is a copy of the other. Name another "
            "run in place of one of them."
        )


def _read(folder: Path) -> Measured:
    info = read_run(folder)
    if info is None:
        raise InputError(
            f"{folder} holds no run that can be read; expected a folder with {RUN_NAME}, such as "
            "outputs/experiments/SERIES/EXPERIMENT."
        )
    _check_as_written(folder, info)
    samples = sorted(read_samples(folder).values(), key=lambda sample: sample.key)
    asked = {sample.key for sample in samples}
    scores: dict[str, list[Score]] = {}
    for score in read_scores(folder):
        if (score.question_id, score.repeat) in asked:
            scores.setdefault(score.metric, []).append(score)
    if not scores:
        raise InputError(
            f"{folder} has no scores to compare. Measure its answers first: loragraft experiment "
            "report CONFIG, with the series that it is of."
        )
    return Measured(info, samples, scores, {}, {}, {})


def _check_as_written(folder: Path, info: RunInfo) -> None:
    """Refuse answers or scores that are not those that loragraft wrote: nobody knows of what."""
    if altered(folder, info):
        raise InputError(
            f"{folder / SAMPLES_NAME} is not the file that the run wrote. See what is there, and "
            "ask what is missing: loragraft experiment run CONFIG, with the series that it is of."
        )
    if (folder / SCORES_NAME).is_file() and not as_written(folder, info):
        raise InputError(
            f"{folder / SCORES_NAME} is not the file that was measured. Measure again: loragraft "
            "experiment report CONFIG, with the series that it is of."
        )


def _name(folder: Path, info: RunInfo, taken: Mapping[str, Measured]) -> str:
    """Return what a run is called: its experiment, or its path where that is another run's, too."""
    for name in (info.experiment, f"{info.series}/{info.experiment}", str(folder)):
        if name and name not in taken:
            return name
    raise InputError(f"{folder} is named twice; name another run.")


def _infos(arms: Mapping[str, Measured]) -> dict[str, MetricInfo]:
    """Return what runs have scores of, as far as this loragraft knows such a metric."""
    scored = {metric for measured in arms.values() for metric in measured.scores}
    found: dict[str, MetricInfo] = {}
    for measured in arms.values():
        found |= {info.name: info for info in _known(measured.info) if info.name in scored}
    return found


def _known(info: RunInfo) -> Iterator[MetricInfo]:
    from loragraft.experiment.metrics.registry import catalogue

    arm = info.inputs.get("arm")
    index = arm.get("index") if isinstance(arm, Mapping) else None
    passages = index.get("passages") if isinstance(index, Mapping) else None
    for kind in get_args(TaskKind):
        if kind == info.task:
            yield from catalogue(kind, passages if isinstance(passages, int) else 0)


def _metric(infos: Mapping[str, MetricInfo], wanted: str | None) -> str:
    main = [info.name for info in infos.values() if info.tier == "main"]
    there = [*main, *(info.name for info in infos.values() if info.tier == "sanity")]
    if wanted is None:
        return FACTUALITY if FACTUALITY in infos else next(iter(there), FACTUALITY)
    if wanted not in there:
        raise InputError(
            f"The runs have no metric {wanted!r} that is compared; expected one of "
            f"{', '.join(there) or 'none'}."
        )
    return wanted


def analyse_runs(runs: Runs) -> Analysis:
    """Return what runs mean beside each other; nothing is promoted."""
    arms, infos, baseline = runs.arms, runs.infos, runs.baseline
    first = arms[baseline].info
    return Analysis(
        title=" and ".join(arms) if len(arms) == 2 else ", ".join(arms),
        series="",
        size=first.size,
        baseline=baseline,
        created=utc_now(),
        version=__version__,
        rule={},
        verdicts=(),
        experiments={name: _told(name, one) for name, one in arms.items()},
        metrics={info.name: asdict(info) for info in infos.values()},
        figures=tuple(figures_of(arms, infos)),
        comparisons=comparisons_of(arms, infos, baseline),
        refused={},
        slices=tuple(slices_of(arms, infos, {})),
        distributions=tuple(distributions_of(arms, infos)),
        questions={first.task: dict(first.source)},
        warnings=tuple(_warnings(arms)),
    )


def _told(name: str, measured: Measured) -> dict[str, Any]:
    info = measured.info
    line = Line(name, (), info.state, info.engine, info.total, info.counts, (), info.message,
                info.notes)  # fmt: skip
    return {**asdict(line), "provenance": provenance_of(info)}


def _warnings(arms: Mapping[str, Measured]) -> Iterator[str]:
    for name, measured in arms.items():
        info = measured.info
        if info.state != "complete":
            yield f"{name} is {info.state}: its figures are of the answers that are there."
        if len(measured.samples) > info.total:
            yield (f"{name} holds {len(measured.samples)} answers, and was last asked for "
                   f"{info.total}: all of them are compared.")  # fmt: skip
    versions = {measured.info.version for measured in arms.values()}
    if len(versions) > 1:
        yield (f"The runs are of different versions of loragraft ({', '.join(sorted(versions))}): "
               "a metric may have changed between them.")  # fmt: skip
