"""What a judge gives each question: the metric of series whose answers nothing else can tell apart.

Replies have no accepted answer. A pair of replies has a better one, by the judge of the series:
1 point for it, 0 for the other, half for both in a tie. So the two experiments of a pair have
points that add up to one, and an even match has a mean of 0.5 on both sides.
"""

from __future__ import annotations

from statistics import fmean
from typing import NamedTuple

from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.judge.summary import POINTS
from loragraft.experiment.judged import judged
from loragraft.experiment.metrics.protocol import MetricInfo
from loragraft.experiment.questions import QuestionFile

INFO = MetricInfo(
    "judge_points", "share", "higher", "main", "Zheng et al. 2023, both orders; see docs/judging.md"
)


class PairPoints(NamedTuple):
    """What two experiments have of a judge, by question.

    Attributes:
        mine: The one's.
        theirs: The other's.
        asked: How many questions the judge was to decide, those without an outcome among them.
    """

    mine: dict[str, float]
    theirs: dict[str, float]
    asked: int


def judge_points(config: SeriesConfig, file: QuestionFile, experiment: str) -> PairPoints:
    """Return an experiment's points and the baseline's, over the questions that were judged.

    A question with several answers has the mean of its pairs. Nobody is asked anything.

    Raises:
        InputError: If a file of verdicts cannot be read.
    """
    baseline = config.resolve(config.baseline)
    if config.judge is None:
        return PairPoints({}, {}, 0)
    asked: set[str] = set()
    pairs: dict[str, list[float]] = {}
    for result in judged(config, file):
        names = (result.summary.a, result.summary.b)
        if set(names) != {experiment, baseline}:
            continue
        for one in result.judged:
            asked.add(one.pair.question_id)
            if one.outcome is not None:
                points = POINTS[one.outcome]
                mine = points if names[0] == experiment else 1 - points
                pairs.setdefault(one.pair.question_id, []).append(mine)
    found = {name: fmean(values) for name, values in pairs.items()}
    theirs = {name: 1 - value for name, value in found.items()}
    return PairPoints(found, theirs, len(asked))
