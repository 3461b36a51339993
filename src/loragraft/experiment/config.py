"""What a series of experiments is configured by: a file of YAML, see ``configs/``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from loragraft.artifact.names import check_name
from loragraft.engine.batch.specs import EngineSpec
from loragraft.errors import InputError
from loragraft.experiment.outputs import check_outputs
from loragraft.experiment.records import MOST_REPEATS
from loragraft.experiment.verdict.config import FactorialConfig, FidelityConfig, PromotionConfig
from loragraft.experiment.verdict.names import check_compared
from loragraft.experiment.verdict.promoted import Promoted
from loragraft.settings import FilePath, NameOrPath, Settings, load_settings

DEFAULT_SEED = 20251101
TaskKind = Literal["qa", "score", "reply", "embedding"]
MetricGroup = Literal["sanity", "factuality", "grounding", "retrieval", "perplexity"]

RESERVED = frozenset({"judge", "human", "report"})
"""Folders of a series that are no experiment's."""
PREVIOUS = ".previous-"
"""What an older run's folder has behind its name."""


def _named(text: str) -> str:
    try:
        return check_name(text)
    except InputError as error:
        told = str(error).partition(". ")[0]  # what follows speaks of options
        raise ValueError(f"{told}; expected one plain name such as science-lora") from None


def _experiment(text: str) -> str:
    if text.casefold() in RESERVED or PREVIOUS in text.casefold():
        raise ValueError(f"{text} is no name for an experiment: results have files of that name")
    return _named(text)


Name = Annotated[str, AfterValidator(_named)]
ExperimentName = Annotated[str, AfterValidator(_experiment)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class DataConfig(Settings):
    """The questions, the same for every experiment.

    Attributes:
        tag: Of a split: its manifest's folder is ``splits``.
        splits: Folder of the split's manifest.
        part: Which part of it.
        files: Task records, where there is no split.
        limit: Only so many, chosen by the seed.
    """

    tag: str | None = None
    splits: FilePath = Path("evaluation/datasets/splits")
    part: Literal["test", "val", "train"] = "test"
    files: tuple[FilePath, ...] = ()
    limit: Count | None = None

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        if (self.tag is None) == (not self.files):
            raise ValueError("give either tag (a split) or files")
        return self


class RetrievalConfig(Settings):
    """Where passages come from.

    Attributes:
        index: The index's folder.
        passages: How many a question gets.
        mode: Search by meaning, by words or both; None takes what measures best.
        filters: Conditions on documents.
        embedder: Where the index's embedder is now, if it moved.
    """

    index: FilePath
    passages: Annotated[int, Field(ge=1, le=100)] = 5
    mode: Literal["dense", "lexical", "hybrid"] | None = None
    filters: tuple[str, ...] = ()
    embedder: NameOrPath | None = None


class SamplingConfig(Settings):
    """How answers are written.

    Attributes:
        temperature: 0 takes the likeliest token every time.
        top_k: Candidates; 0 for all.
        top_p: Probability mass of candidates; 1 for all.
        min_p: Least probability relative to the likeliest; 0 for none.
        repeat_penalty: 1 for none.
        max_tokens: Of an answer.
        stop: Texts that end an answer.
        repeats: Answers to each question, each with a seed of its own; above 1 only where the
            temperature is.
        think: Switch a template's thinking; None leaves it. What is thought is never scored.
        system: The system message; None leaves it to the template.
    """

    temperature: Annotated[float, Field(ge=0, le=10)] = 0.0
    top_k: Annotated[int, Field(ge=0)] = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    min_p: Share = 0.0
    repeat_penalty: Annotated[float, Field(gt=0)] = 1.0
    max_tokens: Count = 256
    stop: tuple[str, ...] = ()
    repeats: Annotated[int, Field(ge=1, le=MOST_REPEATS)] = 1
    think: bool | None = None
    system: str | None = None

    @model_validator(mode="after")
    def _repeats_differ(self) -> SamplingConfig:
        if self.repeats > 1 and self.temperature == 0:
            raise ValueError("repeats: at temperature 0 each answer is the same; raise one of them")
        return self


class ClassifierSpec(Settings):
    """A sequence-classification checkpoint as comparator, for records of the kind ``score``.

    Attributes:
        model: The checkpoint.
        adapter: Trained by ``loragraft train run``; None for a checkpoint with its own head.
    """

    kind: Literal["classifier"]
    model: NameOrPath
    adapter: NameOrPath | None = None


class EmbedderArm(Settings):
    """A sentence embedder, for records of the kind ``embedding``.

    Attributes:
        model: As ``rag index --embedder`` takes it.
        adapter: Put on it.
    """

    kind: Literal["embedder"]
    model: NameOrPath
    adapter: NameOrPath | None = None


class ScorePrompt(Settings):
    """How a number is asked for, see ``configs/scoring/``.

    Attributes:
        template: With ``{name}`` for fields of a record; a list of messages or one plain text.
        system: The system message of a chat.
        chat: Whether the chat template is used; else the plain text is the prompt.
        examples: Records shown first with their number: chosen from train by the seed.
        method: ``text`` reads the number that is written, ``probability`` the model's own
            probabilities of ``choices``.
        choices: Texts and their values, for ``probability``.
        parser: ``float`` takes the answer as it stands, ``staged`` looks for a number.
        temperature: Takes the series' place.
        max_tokens: Takes the series' place.
    """

    template: str
    system: str | None = None
    chat: bool = True
    examples: Annotated[int, Field(ge=0, le=32)] = 0
    method: Literal["text", "probability"] = "text"
    choices: dict[str, Share] = Field(default_factory=dict)
    parser: Literal["float", "staged"] = "staged"
    temperature: Annotated[float, Field(ge=0, le=10)] | None = None
    max_tokens: Count | None = None

    @model_validator(mode="after")
    def _choices(self) -> ScorePrompt:
        if self.method == "probability" and len(self.choices) < 2:
            raise ValueError("choices: probability needs two or more texts with their values")
        return self


def _here_or_file(value: object) -> str:
    return "file" if isinstance(value, str | Path) else "prompt"


Scoring = Annotated[
    Annotated[ScorePrompt, Tag("prompt")] | Annotated[FilePath, Tag("file")],
    Discriminator(_here_or_file),
]
"""How a number is asked for: here, or in a file."""


class Experiment(Settings):
    """One arm.

    Attributes:
        task: The kind of records that it answers.
        engine: Who answers.
        retrieval: Whether questions get passages.
        stuffed: Give whole documents of the gold evidence in place of passages found.
        sampling: Takes the series' place, key by key.
        scoring: How a number is asked for; needed for ``score``.
        average: Experiments whose scores are averaged in place of an engine: adapters or folds.
        description: For people.
        optional: Whether the series is complete without it.
        training: The configuration that made the adapter, for the record.
    """

    task: TaskKind = "qa"
    engine: (
        Annotated[EngineSpec | ClassifierSpec | EmbedderArm, Field(discriminator="kind")] | None
    ) = None
    retrieval: bool = False
    stuffed: bool = False
    sampling: SamplingConfig | None = None
    scoring: Scoring | None = None
    average: tuple[ExperimentName, ...] = ()
    description: str = ""
    optional: bool = False
    training: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Experiment:
        if (self.engine is None) == (not self.average):
            raise ValueError("give either engine or average")
        if self.task == "score" and self.scoring is None and not self.average:
            kind = getattr(self.engine, "kind", "")
            if kind != "classifier":
                raise ValueError("scoring is missing: how is the number asked for?")
        return self


class GroundingConfig(Settings):
    """How support by a passage is decided.

    Attributes:
        support: ``overlap`` (offline, deterministic), ``nli`` (a model's folder) or ``judge``.
        nli: Folder of a sequence-classification checkpoint with an entailment label.
        embedder: For ``overlap``; None takes the index's own.
    """

    support: Literal["overlap", "nli", "judge"] = "overlap"
    nli: NameOrPath | None = None
    embedder: NameOrPath | None = None

    @model_validator(mode="after")
    def _folder(self) -> GroundingConfig:
        if self.support == "nli" and self.nli is None:
            raise ValueError("nli: name the folder of the model")
        return self


class JudgeConfig(Settings):
    """A model that compares answers in pairs.

    Attributes:
        engine: Who judges; never one of the arms without a word.
        pairs: Experiments compared, as ``[A, B]``; empty: each one with the baseline.
        max_tokens: Of reasons and verdict together.
        retries: How often a malformed verdict is asked for again.
        limit: Questions judged, chosen by the seed; None for all.
    """

    engine: EngineSpec
    pairs: tuple[tuple[Name, Name], ...] = ()
    max_tokens: Count = 512
    retries: Annotated[int, Field(ge=0, le=5)] = 1
    limit: Count | None = None


class MetricsConfig(Settings):
    """What is measured.

    Attributes:
        groups: Which metrics.
        grounding: How support is decided.
        factuality: ``match`` with the accepted answers, or also the claims of long answers by
            ``overlap``, ``nli`` or ``judge``.
        long_answer: Sentences from which on an answer is long, and its claims are counted.
    """

    groups: tuple[MetricGroup, ...] = ("sanity", "factuality", "grounding", "retrieval")
    grounding: GroundingConfig = GroundingConfig()
    factuality: Literal["match", "overlap", "nli", "judge"] = "match"
    long_answer: Count = 3


class MonitorConfig(Settings):
    """When a run is stopped because its outputs are degenerate.

    Attributes:
        after: Answers before the first look.
        stop: Whether it is stopped; else it is only said.
        share: Of answers that show a fault, above which the run is degenerate.
    """

    after: Count = 20
    stop: bool = True
    share: Share = 0.9


class SeriesConfig(Settings):
    """A series: experiments of one model size over the same questions.

    Attributes:
        series: Its name; the folder of its results.
        size: Of its models, for people: 0.5B.
        seed: Decides samples, orders and limits.
        data: The questions.
        retrieval: Where passages come from; needed where an experiment retrieves.
        sampling: How answers are written.
        experiments: By id.
        baseline: What the others are compared with.
        aliases: Other names of experiments.
        after: Series that must be complete before this one starts.
        metrics: What is measured.
        judge: Who judges pairs, if anybody does.
        promotion: When an experiment is promoted; None where that is not asked.
        factorial: Which experiments are the four of tuning by retrieval.
        fidelity: Which experiments tell what an export has cost.
        monitor: When a run is stopped.
        promoted: What ``experiment promote --write`` has noted; no answer depends on it.
        outputs: Folder of all series.
    """

    series: Name
    size: str = ""
    seed: int = DEFAULT_SEED
    data: DataConfig
    retrieval: RetrievalConfig | None = None
    sampling: SamplingConfig = SamplingConfig()
    experiments: Annotated[dict[ExperimentName, Experiment], Field(min_length=1)]
    baseline: Name
    aliases: dict[Name, ExperimentName] = Field(default_factory=dict)
    after: tuple[FilePath, ...] = ()
    metrics: MetricsConfig = MetricsConfig()
    judge: JudgeConfig | None = None
    promotion: PromotionConfig | None = PromotionConfig()
    factorial: FactorialConfig | None = None
    fidelity: FidelityConfig | None = None
    monitor: MonitorConfig = MonitorConfig()
    promoted: Promoted | None = None
    outputs: FilePath = Path("outputs/experiments")

    @model_validator(mode="after")
    def _known_names(self) -> SeriesConfig:
        if len({name.casefold() for name in self.experiments}) < len(self.experiments):
            raise ValueError("experiments: two differ in capitals alone; folders may not")
        for alias, name in self.aliases.items():
            if name not in self.experiments or alias in self.experiments:
                raise ValueError(f"aliases: {alias} must be another name of an experiment")
        if self.resolve(self.baseline) is None:
            raise ValueError(f"baseline: {self.baseline} is no experiment of the series")
        for name, experiment in self.experiments.items():
            if experiment.retrieval and self.retrieval is None:
                raise ValueError(f"retrieval is missing: {name} needs an index")
            missing = [part for part in experiment.average if part not in self.experiments]
            if missing or name in experiment.average:
                raise ValueError(f"experiments.{name}.average names {missing or [name]}")
        check_compared(self.resolve, self.factorial, self.fidelity)
        return self

    def resolve(self, name: str) -> str | None:
        """Return the experiment that a name or alias means; None for none."""
        name = self.aliases.get(name, name)
        return name if name in self.experiments else None

    def sampling_of(self, name: str) -> SamplingConfig:
        """Return an experiment's sampling: its own keys over the series'."""
        own = self.experiments[name].sampling
        if own is None:
            return self.sampling
        return SamplingConfig.model_validate(
            {**self.sampling.model_dump(), **own.model_dump(exclude_unset=True)}
        )


def load_series(path: Path, changes: Sequence[str] = ()) -> SeriesConfig:
    """Read a series' configuration.

    Args:
        path: A file of YAML.
        changes: Values that take the place of the file's, as ``key.path=VALUE``.

    Raises:
        InputError: As :func:`~loragraft.settings.load_settings`, and of outputs that are no folder.
    """
    config = load_settings(path, SeriesConfig, changes)
    check_outputs(config.outputs, config.series)
    return config
