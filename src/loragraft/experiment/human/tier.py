"""The human tier of a series: pairs to raters and back, by the series' configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loragraft.dataset.records import TaskRecord
from loragraft.errors import InputError
from loragraft.experiment.config import SeriesConfig, TaskKind
from loragraft.experiment.human.blind import FOLDER, Exported, export_pairs
from loragraft.experiment.human.ratings import (
    Export,
    Ratings,
    keep_ratings,
    read_exports,
    read_rater,
    read_ratings,
)
from loragraft.experiment.human.summary import HumanSummary, summarise_ratings
from loragraft.experiment.judge.book import read_verdicts
from loragraft.experiment.judge.pairwise import Judged, Pair, make_pairs, settle
from loragraft.experiment.judge.prompt import Material
from loragraft.experiment.judge.series import (
    GoldOf,
    SamplesOf,
    baseline_pairs,
    check_pair,
    material_of,
    pair_names,
    verdict_path,
)
from loragraft.experiment.key import record_digest


@dataclass(frozen=True)
class Tier:
    """What the human tier works on.

    Attributes:
        config: The series.
        records_of: Returns the records of a kind of task.
        samples_of: Returns an experiment's samples.
        gold_of: Finds the texts of gold evidence, where there is an index.
        notes: What a person should know of what was taken.
    """

    config: SeriesConfig
    records_of: Callable[[TaskKind], Sequence[TaskRecord]]
    samples_of: SamplesOf
    gold_of: GoldOf | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where exports and ratings lie."""
        return self.config.outputs / self.config.series / FOLDER

    def export(self, names: tuple[str, str] | None, path: Path, count: int | None) -> Exported:
        """Write pairs of two experiments for raters.

        Args:
            names: The experiments; None for the only pair that the series compares.
            path: The raters' file.
            count: How many questions at most; None for all.

        Raises:
            InputError: If they cannot be compared, or the file is there.
        """
        a, b = self._names(names)
        records = {record.id: record for record in self._records(a)}

        def material(name: str) -> Material:
            return material_of(records[name], self.gold_of)

        return export_pairs(self._pairs(a, b), (a, b), material, path, self.folder, count=count,
                            seed=self.config.seed)  # fmt: skip

    def _names(self, names: tuple[str, str] | None) -> tuple[str, str]:
        if names is not None:
            return check_pair(self.config, *names)
        judge = self.config.judge
        known = pair_names(self.config) if judge is not None else baseline_pairs(self.config) or []
        if len(known) != 1:
            there = ", ".join(self.config.experiments)
            raise InputError(
                f"Which two experiments of {self.config.series} shall people compare? There are: "
                f"{there}; name the two with --pairs A B."
            )
        return known[0]

    def _records(self, name: str) -> Sequence[TaskRecord]:
        return self.records_of(self.config.experiments[name].task)

    def _pairs(self, a: str, b: str) -> list[Pair]:
        digests = {record.id: record_digest(record) for record in self._records(a)}
        return make_pairs(self.samples_of(a), self.samples_of(b), digests)

    def take(self, paths: Sequence[Path]) -> list[tuple[Export, Ratings]]:
        """Read raters' files and keep what they say: all, or nothing where one is wrong.

        Raises:
            InputError: If a file is of no export, or is not what was written; or if two are of
                the same rater.
        """
        exports = read_exports(self.folder)
        found = [read_rater(path, exports) for path in paths]
        known: dict[tuple[str, str], Path] = {}
        for (_, ratings), path in zip(found, paths, strict=True):
            before = known.setdefault((ratings.export, ratings.rater.casefold()), path)
            if before is not path:
                raise InputError(
                    f"{before} and {path} have the same name, which is the rater's. Rename one."
                )
        for export, ratings in found:
            older = keep_ratings(export, ratings)
            if older is not None:
                self.notes.append(
                    f"{ratings.rater} had rated these pairs before, and otherwise: the new votes "
                    f"count, the old ones are kept in {older}. If that was somebody else, give "
                    "this file another name."
                )
        return found

    def summaries(self) -> list[HumanSummary]:
        """Return what raters have said of each export so far.

        Raises:
            InputError: If a file of the exports cannot be read.
        """
        return [self.summary(export) for export in read_exports(self.folder)]

    def summary(self, export: Export) -> HumanSummary:
        """Return what raters have said of an export, and how far the judge agrees."""
        return summarise_ratings(export.key, read_ratings(export), self._judged(export))

    def _judged(self, export: Export) -> list[Judged]:
        """Return what the judge said of the same two experiments, whichever was named first."""
        a, b = export.key.a, export.key.b
        if not {a, b} <= self.config.experiments.keys():
            return []
        for one, other in ((a, b), (b, a)):
            path = verdict_path(self.config, one, other)
            if path.exists():
                found = settle(self._pairs(one, other), read_verdicts(path).get)
                return found if one == a else [judged.turned() for judged in found]
        return []
