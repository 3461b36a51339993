"""Which experiment is promoted, and where that is noted."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft.errors import InputError
from loragraft.experiment.analysis.model import Analysis, Verdict
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.verdict.entry import (
    Behind,
    behind_of,
    check_model,
    entry_of,
    relative_to,
)
from loragraft.experiment.verdict.noting import KEY, Edit, note_promotion
from loragraft.experiment.verdict.telling import tell_folders

DEFAULT_NAME = "default.yaml"
PROMOTED, REFUSED, UNDECIDED = 0, 1, 4
"""Exit codes of ``experiment promote``."""


@dataclass(frozen=True)
class Choice:
    """What comes of the verdicts.

    Attributes:
        promoted: The verdict on the experiment that is promoted; None for none.
        code: For the shell.
    """

    promoted: Verdict | None
    code: int


@dataclass(frozen=True)
class Noted:
    """Where a promotion was noted.

    Attributes:
        file: The configuration.
        changed: Whether it was written; the same promotion stood there already if not.
        folders: Whose metadata tell of it.
        notes: Why those of others do not, and what else could not be noted.
    """

    file: Path
    changed: bool
    folders: tuple[Path, ...]
    notes: tuple[str, ...]


def choose(verdicts: Sequence[Verdict], experiment: str | None = None) -> Choice:
    """Return which experiment is promoted: the named one, or the one that surely gains most.

    Raises:
        InputError: If there is no verdict on the one that is named.
    """
    if experiment is not None:
        verdicts = [one for one in verdicts if one.experiment == experiment]
        if not verdicts:
            raise InputError(f"There is no verdict on {experiment}.")
    promoted = [one for one in verdicts if one.decision == "promote"]
    if promoted:
        return Choice(max(promoted, key=_merit), PROMOTED)
    undecided = any(one.decision == "undecided" for one in verdicts)
    return Choice(None, UNDECIDED if undecided else REFUSED)


def _merit(verdict: Verdict) -> tuple[float, float]:
    return (verdict.shown or 0.0, verdict.gain or 0.0)


def named(config: SeriesConfig, experiment: str | None) -> str | None:
    """Return the experiment that a name or an alias means; None for none.

    Raises:
        InputError: If it means none, or the series promotes nothing.
    """
    if config.promotion is None:
        raise InputError(
            f"The series {config.series} promotes nothing (promotion: null). Give it a rule, such "
            "as promotion: {gain: 0.05}; see docs/verdict.md."
        )
    if experiment is None:
        return None
    found = config.resolve(experiment)
    if found is None:
        raise InputError(
            f"{experiment} is no experiment of the series {config.series}; it has "
            f"{', '.join(config.experiments)}."
        )
    return found


def check_metric(config: SeriesConfig, analysis: Analysis) -> None:
    """Refuse a rule on a metric that the series does not measure, such as a misspelt one.

    Raises:
        InputError: Naming those that it does; a series without any run measures nothing yet.
    """
    rule = config.promotion
    single = [name for name, info in analysis.metrics.items() if info["tier"] != "diagnostic"]
    if rule is None or not analysis.metrics or rule.metric in single:
        return
    if rule.metric in analysis.metrics:
        raise InputError(
            f"promotion.metric is {rule.metric}, which describes a run and compares none; expected "
            f"one of {', '.join(single)}."
        )
    near = difflib.get_close_matches(rule.metric, single, 1)
    guess = f"; did you mean {near[0]}?" if near else "."
    raise InputError(
        f"promotion.metric is {rule.metric}, which the series does not measure{guess} It measures "
        f"{', '.join(single)} (metrics.groups)."
    )


def default_file(config: Path, given: Path | None = None) -> Path:
    """Return the configuration in which promotions are noted.

    Args:
        config: The series' own file.
        given: The one that the user names.

    Raises:
        InputError: If there is none.
    """
    path = given if given is not None else config.parent / DEFAULT_NAME
    if not path.is_file():
        raise InputError(
            f"{path} is no file; expected the configuration that the workspace's series share. "
            "Name it with --default FILE."
        )
    return path


def note(config: SeriesConfig, analysis: Analysis, verdict: Verdict, file: Path) -> Noted:
    """Note a promotion in a configuration and in the metadata of bundle and adapter.

    Raises:
        InputError: If the verdict is another than ``promote``, the model is not there, or the
            file cannot be edited. Nothing is written then.
    """
    behind = behind_of(config, verdict.experiment)
    values = entry_of(config, analysis, verdict, behind)
    check_model(config, verdict.experiment)
    edit = note_promotion(file, relative_to(values, file.parent))
    told, notes = tell_folders(behind.folders, _told(values))
    return Noted(file, edit.changed, told, (*_left_out(verdict, values, behind, edit), *notes))


def _left_out(
    verdict: Verdict, values: dict[str, Any], behind: Behind, edit: Edit
) -> Iterator[str]:
    """Yield what could not be noted, and what was there and is not kept."""
    for reason in behind.unread if "adapter" not in values else ():
        yield f"Whether {verdict.experiment} has an adapter is not known, and not noted: {reason}"
    if edit.comments:
        lines = "line" if edit.comments == 1 else "lines"
        yield (
            f"{edit.comments} {lines} of comment inside the section {KEY}: were not kept: it is "
            "written anew with each promotion. Write comments above the section."
        )


def _told(values: dict[str, Any]) -> dict[str, Any]:
    """Return a promotion as a folder that may go elsewhere tells of it: without paths."""
    return {key: value for key, value in values.items() if key not in ("model", "adapter")}
