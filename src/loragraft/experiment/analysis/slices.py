"""Where an experiment is better: by task type, by paper, by papers that training has seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from loragraft.experiment.analysis.model import Slice
from loragraft.experiment.analysis.values import papers_of, types_of, values_by_question
from loragraft.experiment.measured import Measured

if TYPE_CHECKING:
    from loragraft.experiment.metrics.protocol import MetricInfo

BY_TYPE, BY_PAPER, BY_SEEN = "task type", "paper", "paper in training"
SEEN, UNSEEN = "seen in training", "not seen in training"
MOST_PAPERS = 500
"""Papers that are shown: those with most questions."""

Groups = Mapping[str, Sequence[str]]
"""Questions by the name of their slice."""


def slices_of(
    arms: Mapping[str, Measured],
    infos: Mapping[str, MetricInfo],
    seen: Mapping[str, bool | None],
) -> Iterator[Slice]:
    """Yield the main metrics of all experiments over parts of the questions.

    Args:
        arms: The experiments' records.
        infos: The metrics.
        seen: Of each question whether its paper is in training; None for no paper.
    """
    metrics = [info.name for info in infos.values() if info.tier == "main"]
    values = {
        metric: {name: found for name, one in arms.items()
                 if (found := values_by_question(one, metric))}
        for metric in metrics
    }  # fmt: skip
    for by, groups in _groupings(arms, seen):
        for metric in metrics:
            if values[metric]:
                yield from _of_metric(by, groups, metric, values[metric])


def _groupings(
    arms: Mapping[str, Measured], seen: Mapping[str, bool | None]
) -> Iterator[tuple[str, Groups]]:
    """Yield how questions are divided; a division into one part says nothing."""
    types: dict[str, str] = {}
    papers: dict[str, str | None] = {}
    for measured in arms.values():
        types.update(types_of(measured))
        papers.update(papers_of(measured))
    words = {True: SEEN, False: UNSEEN, None: None}
    for by, names in (
        (BY_TYPE, types),
        (BY_SEEN, {name: words[seen.get(name)] for name in types} if seen else {}),
        (BY_PAPER, papers),
    ):
        groups = _grouped(names)
        if len(groups) > 1 or (groups and by == BY_SEEN):
            yield by, groups


def _grouped(names: Mapping[str, str | None]) -> dict[str, list[str]]:
    """Return questions by slice, in the order of the slices' names; the largest where many."""
    groups: dict[str, list[str]] = {}
    for question, name in names.items():
        if name is not None:
            groups.setdefault(name, []).append(question)
    kept = sorted(groups, key=lambda name: (-len(groups[name]), name))[:MOST_PAPERS]
    return {name: groups[name] for name in sorted(kept)}


def _of_metric(
    by: str, groups: Groups, metric: str, values: Mapping[str, Mapping[str, float]]
) -> Iterator[Slice]:
    for name, questions in groups.items():
        means = {}
        for experiment, found in values.items():
            there = [found[question] for question in questions if question in found]
            if there:
                means[experiment] = (sum(there) / len(there), len(there))
        yield Slice(by, name, metric, len(questions), means)
