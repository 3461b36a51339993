"""What a training run is configured by: a file of YAML, see ``configs/training/``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from loragraft.artifact.names import check_name
from loragraft.dataset.split.load import DEFAULT_FOLDER
from loragraft.errors import InputError
from loragraft.settings import FilePath, Settings, load_settings

Task = Literal["causal-lm", "sequence-classification", "embedding"]
Quantization = Literal["none", "nf4"]
Reporter = Literal["tensorboard", "wandb", "mlflow"]
Schedule = Literal["linear", "cosine", "constant"]

TARGETS = {
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "science": ("q_proj", "k_proj", "v_proj", "o_proj", "down_proj"),
    "all": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}
"""Sets of modules by name. ``science``: attention decides what is looked up, ``down_proj`` is where
facts are written back (Geva et al. 2021, arXiv 2012.14913). ``all``: as Dettmers et al. 2023, arXiv
2305.14314, found necessary to match full fine-tuning."""

DEFAULT_SEED = 20251101
GAP_ALARM = 0.3
"""Nats by which the loss on validation may exceed that of training before a run is called
overfitted."""


def _named(text: str) -> str:
    try:
        return check_name(text)
    except InputError as error:
        raise ValueError(str(error)) from None


Name = Annotated[str, AfterValidator(_named)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class DataConfig(Settings):
    """What is learnt: a split by its tag, or files.

    Attributes:
        tag: Of a split, whose train and val are used and whose test is never read.
        splits: Folder of the split's manifest.
        train: Files of task records or conversations (``messages``), where there is no split.
        validation: A file like them.
        corpus: Documents that hold the evidence: JSON lines or a folder, for prompts with
            passages.
        max_train: Use this many examples only, chosen by the seed.
        max_validation: The same for validation.
    """

    tag: str | None = None
    splits: FilePath = DEFAULT_FOLDER
    train: tuple[FilePath, ...] = ()
    validation: FilePath | None = None
    corpus: FilePath | None = None
    max_train: Count | None = None
    max_validation: Count | None = None

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        if (self.tag is None) == (not self.train):
            raise ValueError("give either tag (a split) or train (files)")
        if self.tag is not None and self.validation is not None:
            raise ValueError("validation comes from the split; leave one of tag and validation out")
        return self


class PromptConfig(Settings):
    """How a record becomes a conversation.

    Attributes:
        system: The system message; None leaves it to the template.
        closed_book: Share of questions that are asked without passages.
        passages: Fewest and most passages of a prompt, the gold ones among them; the number is
            drawn for each record.
        passage_tokens: Most tokens of a passage.
        hard_distractors: Share of the other passages that are like the question by its words; the
            rest is drawn at random.
        sentence: Answer with the sentence of the evidence that holds the answer, where there is
            one, instead of the bare answer.
        citation: Cite the gold passage by its label after the answer.
        think: Switch a template's thinking; None leaves it.
    """

    system: str | None = None
    closed_book: Share = 1.0
    passages: tuple[Count, Count] = (2, 4)
    passage_tokens: Annotated[int, Field(ge=32, le=4096)] = 200
    hard_distractors: Share = 0.5
    sentence: bool = True
    citation: bool = True
    think: bool | None = None

    @model_validator(mode="after")
    def _ordered(self) -> PromptConfig:
        if self.passages[0] > self.passages[1]:
            raise ValueError("passages: expected the fewest first, then the most")
        return self


class LoraSettings(Settings):
    """The adapter.

    Attributes:
        r: Rank.
        alpha: The change is scaled by alpha / r, or alpha / sqrt(r) with ``rslora``.
        dropout: Of the adapter's input.
        targets: ``attention``, ``science``, ``all``, or the modules' names.
        rslora: Kalajdzievski 2023, arXiv 2312.03732.
        dora: Liu et al. 2024, arXiv 2402.09353.
    """

    r: Annotated[int, Field(ge=1, le=4096)] = 16
    alpha: Annotated[float, Field(gt=0)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    targets: Literal["attention", "science", "all"] | tuple[str, ...] = "science"
    rslora: bool = False
    dora: bool = False

    @property
    def modules(self) -> tuple[str, ...]:
        """Return the names of the adapted modules."""
        return TARGETS[self.targets] if isinstance(self.targets, str) else self.targets


class OptimiserConfig(Settings):
    """How the weights are moved.

    Attributes:
        learning_rate: The highest.
        schedule: How it falls after the warm-up.
        warmup_steps: Steps in which it rises from nothing; None takes ``warmup_share``.
        warmup_share: The same as a share of all steps.
        weight_decay: Of AdamW.
        epochs: Times that the data is seen; ``max_steps`` ends it earlier.
        max_steps: Most optimiser steps.
        batch: Examples that go through the model at once.
        accumulation: Batches whose gradients are added up before a step.
        max_length: Most tokens of an example; what is cut is told, answers are never cut.
        packing: Put several examples into one row, each blind to the others.
        gradient_checkpointing: Compute activations twice instead of keeping them.
        max_gradient_norm: Longer gradients are shortened to it; 0 leaves them.
    """

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    schedule: Schedule = "linear"
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    warmup_share: Share = 0.03
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    epochs: Annotated[float, Field(gt=0, le=1000)] = 2
    max_steps: Count | None = None
    batch: Count = 4
    accumulation: Count = 4
    max_length: Annotated[int, Field(ge=16)] = 1024
    packing: bool = False
    gradient_checkpointing: bool = False
    max_gradient_norm: Annotated[float, Field(ge=0)] = 1.0


class EvaluationConfig(Settings):
    """How a run is watched.

    Attributes:
        every: Steps between evaluations, each with a checkpoint; None is once an epoch.
        log_every: Steps between log lines.
        patience: Evaluations without a better loss after which training stops; 0 never stops.
        gap: See ``GAP_ALARM``.
        samples: Validation prompts that are answered at each evaluation, to be read.
        sample_tokens: Most tokens of such an answer.
        keep: Checkpoints that stay besides the best, while a run goes on.
    """

    every: Count | None = None
    log_every: Count = 10
    patience: Annotated[int, Field(ge=0)] = 3
    gap: Annotated[float, Field(gt=0)] = GAP_ALARM
    samples: Annotated[int, Field(ge=0, le=50)] = 3
    sample_tokens: Count = 64
    keep: Count = 2


class EmbeddingConfig(Settings):
    """What only ``task: embedding`` has.

    Attributes:
        loss: ``cosine`` moves the similarity towards the label, ``ranking`` only orders pairs
            (CoSENT), ``negatives`` takes all other pairs of a batch for negatives.
    """

    loss: Literal["cosine", "ranking", "negatives"] = "ranking"


class GridConfig(Settings):
    """Values whose combinations ``train grid`` runs."""

    r: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = (16, 32)
    learning_rate: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (1e-4, 5e-5)
    epochs: tuple[Annotated[float, Field(gt=0, le=1000)], ...] = (2, 3)

    @model_validator(mode="after")
    def _not_empty(self) -> GridConfig:
        for name in ("r", "learning_rate", "epochs"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name}: expected one or more values, each once")
        return self


class TrainConfig(Settings):
    """A training run.

    Attributes:
        experiment_id: Name of the result's folder.
        description: For people.
        task: What is trained.
        base: A checkpoint's folder or a repository id.
        revision: Of the repository.
        quantization: ``nf4`` loads the base in four bits with double quantization (QLoRA).
        precision: What is computed in; ``auto`` is bfloat16 where the machine computes in it, else
            float32.
        adapter_dtype: What the adapter is saved in.
        reporters: Who hears of the figures, besides ``weights.json``.
        seed: Decides everything that is drawn.
        grid: For ``train grid``.
    """

    experiment_id: Name
    description: str = ""
    task: Task = "causal-lm"
    base: str
    revision: str | None = None
    data: DataConfig
    prompt: PromptConfig = PromptConfig()
    lora: LoraSettings = LoraSettings()
    quantization: Quantization = "none"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    adapter_dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    optimiser: OptimiserConfig = OptimiserConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()
    reporters: tuple[Reporter, ...] = ("tensorboard",)
    seed: Annotated[int, Field(ge=0, lt=2**32)] = DEFAULT_SEED
    grid: GridConfig = GridConfig()


def load_config(path: Path) -> TrainConfig:
    """Read a training run's configuration.

    Raises:
        InputError: As :func:`loragraft.settings.load_settings`.
    """
    return load_settings(path, TrainConfig)
