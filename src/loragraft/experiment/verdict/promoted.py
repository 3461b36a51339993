"""What stands in a configuration of the experiment that was promoted."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from loragraft.settings import NameOrPath, Settings


class Promotion(Settings):
    """An experiment that was promoted, and what it was promoted for.

    Attributes:
        experiment: Its id.
        series: Its series.
        size: Of the series' models.
        date: When, UTC.
        engine: Kind of the engine that answered.
        model: As the engine names it; None for an average of experiments.
        adapter: Put on the model, or merged into it; None for none that is known. Left out where
            the bundle's metadata, which tell of it, could not be read.
        metric: Of the gain.
        gain: Observed over the baseline.
        interval: Where the gain surely is.
        wanted: What gain was asked for.
        grounding: Observed; None where none was asked for.
        grounding_from: Its lower bound.
        grounding_wanted: What was asked for.
        questions: That both experiments have.
        papers: Among them.
        baseline: What it was compared with.
        key: Of the run.
    """

    experiment: str
    series: str
    size: str = ""
    date: str
    engine: str = ""
    model: NameOrPath | None = None
    adapter: NameOrPath | None = None
    baseline: str
    metric: str
    gain: float
    interval: Annotated[tuple[float, ...], Field(min_length=2, max_length=2)]
    wanted: float
    grounding: float | None = None
    grounding_from: float | None = None
    grounding_wanted: float | None = None
    questions: int
    papers: int
    key: str


class Promoted(Promotion):
    """The last promotion, with those before it.

    Attributes:
        history: Earlier ones, the latest first.
    """

    history: tuple[Promotion, ...] = ()
