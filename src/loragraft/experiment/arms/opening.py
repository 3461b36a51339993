"""From a series' configuration to its arms, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path

from loragraft.artifact.closing import Closing
from loragraft.dataset.records import Score, TaskRecord
from loragraft.errors import InputError
from loragraft.experiment.arms.protocol import Arm
from loragraft.experiment.arms.retrieval import Retrieval
from loragraft.experiment.config import (
    ClassifierSpec,
    EmbedderArm,
    Experiment,
    SamplingConfig,
    ScorePrompt,
    SeriesConfig,
)
from loragraft.experiment.records import Sample
from loragraft.settings import load_settings

Note = Callable[[str], object]
SamplesOf = Callable[[str], Iterable[Sample]]


class Shared(Closing):
    """What the arms of a series share: the index with its embedder, the records of train.

    Nothing is opened before an arm needs it. A context manager.

    Attributes:
        config: The series'.
    """

    def __init__(self, config: SeriesConfig, on_note: Note | None = None) -> None:
        """Remember the series.

        Args:
            config: Its configuration.
            on_note: Told what is read, and before anything is downloaded.
        """
        self.config, self.on_note = config, on_note
        self._examples: dict[int, tuple[Score, ...]] = {}

    @cached_property
    def retrieval(self) -> Retrieval:
        """Where passages come from.

        Raises:
            InputError: If the series names no index.
        """
        if self.config.retrieval is None:
            raise InputError(
                f"The series {self.config.series} names no index. Add retrieval.index, or set "
                "the experiments' retrieval to false."
            )
        return Retrieval(self.config.retrieval, self.on_note)

    def examples(self, count: int) -> tuple[Score, ...]:
        """Return the records of train that are shown with their number.

        Raises:
            InputError: If there is no split, or train has too few.
        """
        from loragraft.experiment.arms.examples import choose_examples

        if count not in self._examples:
            chosen = choose_examples(self.config.data, self.config.seed, count) if count else ()
            self._examples[count] = chosen
        return self._examples[count]

    def validation(self) -> Iterator[TaskRecord]:
        """Yield the records of the split's validation part; none where there is no split."""
        from loragraft.dataset.split.load import find_split

        data = self.config.data
        if data.tag is not None:
            yield from find_split(data.tag, data.splits, parts=("val",)).records("val")

    def close(self) -> None:
        """Close the index; twice does no harm."""
        if "retrieval" in self.__dict__:
            self.retrieval.close()


def open_arm(
    config: SeriesConfig, name: str, shared: Shared, samples_of: SamplesOf | None = None
) -> Arm:
    """Return an experiment's arm; no model is loaded.

    Args:
        config: Of the series.
        name: The experiment's id.
        shared: What all arms of the series share; the caller closes it.
        samples_of: Gives the samples of another experiment, for averages.

    Raises:
        InputError: If task and engine do not go together, or a file is not there.
    """
    experiment = config.experiments[name]
    if experiment.average:
        from loragraft.experiment.arms.average import AverageArm

        return AverageArm(name, experiment.task, experiment.average, samples_of or _none)
    engine = experiment.engine
    if isinstance(engine, ClassifierSpec):
        _require_task(name, experiment, "score", "A classifier")
        from loragraft.experiment.arms.classifier import ClassifierArm

        return ClassifierArm(name, engine)
    if isinstance(engine, EmbedderArm):
        _require_task(name, experiment, "embedding", "An embedder")
        from loragraft.experiment.arms.embedding import EmbeddingArm

        return EmbeddingArm(name, engine, shared.validation, shared.on_note)
    return _asking(config, name, shared)


def _asking(config: SeriesConfig, name: str, shared: Shared) -> Arm:
    """Return an arm that asks a language model."""
    experiment, sampling = config.experiments[name], config.sampling_of(name)
    if experiment.task != "qa" and (experiment.retrieval or experiment.stuffed):
        raise InputError(
            f"experiments.{name}: passages are for the task qa, and this is {experiment.task}. "
            "Leave retrieval and stuffed out."
        )
    if experiment.task == "qa":
        from loragraft.experiment.arms.qa import QaArm

        passages = experiment.retrieval or experiment.stuffed
        return QaArm(
            name,
            sampling,
            retrieval=shared.retrieval if passages else None,
            stuff=experiment.stuffed,
            perplexity="perplexity" in config.metrics.groups,
        )
    if experiment.task == "score":
        return _scoring(experiment, name, sampling, shared)
    if experiment.task == "reply":
        from loragraft.experiment.arms.reply import ReplyArm

        return ReplyArm(name, sampling)
    raise InputError(
        f"experiments.{name}: pairs are compared by an embedder, not by a language model. Set "
        "engine.kind to embedder."
    )


def _scoring(experiment: Experiment, name: str, sampling: SamplingConfig, shared: Shared) -> Arm:
    """Return an arm that asks for a number."""
    from loragraft.experiment.arms.score import ScoreArm

    prompt = score_prompt(experiment)
    try:
        return ScoreArm(name, sampling, prompt, shared.examples(prompt.examples))
    except InputError as error:
        raise InputError(f"experiments.{name}.scoring: {error}") from None


def score_prompt(experiment: Experiment) -> ScorePrompt:
    """Return how an experiment asks for a number, read from its file where it names one.

    Raises:
        InputError: If there is none, or the file cannot be read.
    """
    scoring = experiment.scoring
    if isinstance(scoring, Path):
        return load_settings(scoring, ScorePrompt)
    if scoring is None:
        raise InputError("scoring is missing: how is the number asked for? See configs/scoring/.")
    return scoring


def _require_task(name: str, experiment: Experiment, task: str, who: str) -> None:
    if experiment.task != task:
        raise InputError(
            f"experiments.{name}: {who} answers records of the kind {task}, and its task is "
            f"{experiment.task}. Set task to {task}, or choose another engine."
        )


def _none(name: str) -> Iterable[Sample]:
    raise InputError(f"The samples of {name} are needed for an average, and nobody gave them.")
