"""``task: sequence-classification``: a comparator that gives a record's fields one score.

The base's own classifier with a single output learns by binary cross entropy; labels may be any
number from 0 to 1. Its head is trained whole and saved with the adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from loragraft.artifact.progress import Progress
from loragraft.dataset.records import Score
from loragraft.errors import CheckFailedError, InputError
from loragraft.training.classifier import (
    TASK_TYPE,
    load_classifier,
    load_scorer,
    pad,
    score_rows,
    set_padding,
)
from loragraft.training.config import TrainConfig
from loragraft.training.encoder_targets import choose_encoder_targets
from loragraft.training.field_ids import FieldEncoder
from loragraft.training.job import Batch, Job
from loragraft.training.load import add_adapter, load_tokenizer, require_training
from loragraft.training.log import Sample
from loragraft.training.records import Read, read_kind
from loragraft.training.saving import ADAPTER, save_adapter
from loragraft.training.scoring import MIDDLE, fields_text, known, roc_auc
from loragraft.training.targets import linear_modules

if TYPE_CHECKING:
    from torch import Tensor

PROVEN = 8
"""Examples whose scores must be the same when the saved adapter is loaded again."""
TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""Largest difference of such a score, by the type that the adapter is saved in."""


@dataclass(frozen=True)
class Example:
    """A record to learn from: its ids and its label from 0 to 1."""

    id: str
    ids: tuple[int, ...]
    label: float


def build_sequence_classification(config: TrainConfig, base: Path, progress: Progress) -> Job:
    """Load a base as a classifier with a fresh adapter, and encode score records.

    Raises:
        MissingExtraError: If a package is missing.
        InputError: If the data holds no score records, or all have one label; if the configuration
            asks for what only language models have.
        CheckpointError: If the base cannot be loaded as a classifier.
    """
    require_training(config)
    refuse_foreign(config)
    read = {part: read_kind(config, part, Score) for part in ("train", "validation")}
    _refuse_one_label(read["train"].records)
    progress.begin(f"Loading {base.name}", 0)
    model, heads = load_scorer(base, config.seed)
    tokenizer = load_tokenizer(base)
    padding = set_padding(model, tokenizer)
    encoder = FieldEncoder(tokenizer, model.config, config.optimiser.max_length)
    train, cut = _encode(encoder, read["train"].records)
    validation, cut_too = _encode(encoder, read["validation"].records)
    wrapped = _adapted(config, model, heads)
    scores = _Scores(wrapped, read["validation"].records, validation, padding)
    return Job(
        model=wrapped, train=train, validation=validation,
        collate=partial(_collate, padding=padding), loss=_loss, count=_count, tokens=_tokens,
        save=_Saving(wrapped, config, base, train, padding).save, answer=scores.answer,
        metrics=scores.metrics, facts=_facts(read, train, cut, validation, cut_too, heads),
        notes=_notes(read, cut, encoder.longest),
    )  # fmt: skip


def refuse_foreign(config: TrainConfig) -> None:
    """Refuse what only ``task: causal-lm`` has.

    Raises:
        InputError: Naming it.
    """
    asked = {
        "quantization: nf4": config.quantization != "none",
        "optimiser.packing": config.optimiser.packing,
    }
    for name, found in asked.items():
        if found:
            raise InputError(
                f"{name} is there for task: causal-lm only, and the task is {config.task}. Leave "
                "it out."
            )


def _refuse_one_label(records: Sequence[Score]) -> None:
    labels = {record.label for record in records}
    if len(labels) == 1:
        raise InputError(
            f"All {len(records)} records to learn from have the label {labels.pop():g}; a "
            "comparator learns from different ones. Look at how the data was split."
        )


def _encode(
    encoder: FieldEncoder, records: Sequence[Score]
) -> tuple[tuple[Example, ...], dict[str, int]]:
    """Return examples, and how many of them were cut by how many tokens."""
    found = [encoder.encode(record.fields) for record in records]
    examples = tuple(
        Example(record.id, one.ids, record.label)
        for record, one in zip(records, found, strict=True)
    )
    cut = [one.cut for one in found if one.cut]
    return examples, {"examples": len(cut), "tokens": sum(cut)}


def _adapted(config: TrainConfig, model: Any, heads: tuple[str, ...]) -> Any:  # noqa: ANN401
    """Put an adapter on the backbone; the head is trained whole."""
    inside = [
        name for name in linear_modules(model)
        if name.startswith(f"{model.base_model_prefix}.") and "pooler" not in name
    ]  # fmt: skip
    targets = choose_encoder_targets(config.lora, inside, config.base)
    wrapped = add_adapter(
        config, model, task=TASK_TYPE, targets=targets, modules_to_save=list(heads)
    )
    # PEFT adds the two usual names, whether the model has them or not.
    wrapped.peft_config[ADAPTER].modules_to_save = list(heads)
    return wrapped


def _collate(examples: Sequence[Example], padding: int) -> Batch:
    import torch

    labels = torch.tensor([example.label for example in examples], dtype=torch.float32)
    return {**pad([example.ids for example in examples], padding), "labels": labels}


def _loss(model: Any, batch: Batch) -> Tensor:  # noqa: ANN401
    from torch.nn.functional import binary_cross_entropy_with_logits

    output = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    logits = output.logits[:, 0].float()
    return binary_cross_entropy_with_logits(logits, batch["labels"], reduction="sum")


def _count(batch: Batch) -> int:
    return len(batch["labels"])


def _tokens(batch: Batch) -> int:
    return int(batch["attention_mask"].sum())


@dataclass(frozen=True)
class _Scores:
    """What the model says of the validation records."""

    model: Any
    records: Sequence[Score]
    examples: Sequence[Example]
    padding: int

    def metrics(self) -> dict[str, float]:
        """Return ROC-AUC and accuracy, as far as the labels have two classes."""
        if not self.examples:
            return {}
        labels = [example.label for example in self.examples]
        scores = score_rows(self.model, [e.ids for e in self.examples], self.padding).tolist()
        rated = [(a > MIDDLE) == (b > MIDDLE)
                 for a, b in zip(labels, scores, strict=True) if a != MIDDLE]  # fmt: skip
        accuracy = sum(rated) / len(rated) if rated else None
        return known({"roc_auc": roc_auc(labels, scores), "accuracy": accuracy})

    def answer(self, index: int) -> Sample | None:
        """Return a record's fields, its label and its score."""
        if not 0 <= index < len(self.records):
            return None
        record = self.records[index]
        (score,) = score_rows(self.model, [self.examples[index].ids], self.padding).tolist()
        return Sample(
            record.id, fields_text(record.fields), f"{record.label:g}", f"{score:.3f}",
            tokens=0, ended=True,
        )  # fmt: skip


@dataclass(frozen=True)
class _Saving:
    """Saves the adapter, and proves that it loads back as the same."""

    model: Any
    config: TrainConfig
    base: Path
    examples: Sequence[Example]
    padding: int

    def save(self, folder: Path) -> None:
        """Write the adapter with its head.

        Raises:
            CheckFailedError: If what was written scores otherwise than the trained model.
        """
        save_adapter(self.model, folder, self.config)
        rows = [example.ids for example in self.examples[:PROVEN]]
        loaded = load_classifier(self.base, folder)
        trained = score_rows(self.model, rows, self.padding)
        difference = float(abs(loaded.score_ids(rows) - trained).max())
        if difference > TOLERANCES[self.config.adapter_dtype]:
            raise CheckFailedError(
                f"The saved adapter scores up to {difference:.3g} away from the trained model, "
                f"expected at most {TOLERANCES[self.config.adapter_dtype]:g}. Set adapter_dtype: "
                "float32."
            )


def _facts(
    read: dict[str, Read[Score]],
    train: Sequence[Example],
    cut: dict[str, int],
    validation: Sequence[Example],
    cut_too: dict[str, int],
    heads: Sequence[str],
) -> dict[str, Any]:
    parts = {"train": (train, cut), "validation": (validation, cut_too)}
    facts: dict[str, Any] = {"head": list(heads)}
    for part, (examples, short) in parts.items():
        lengths = [len(example.ids) for example in examples]
        positive = sum(example.label > MIDDLE for example in examples)
        more = {"median": median(lengths), "most": max(lengths)} if lengths else {}
        facts[part] = {
            **read[part].facts, "examples": len(examples), "positive": positive,
            "tokens": {"all": sum(lengths), **more}, "cut": short,
        }  # fmt: skip
    return facts


def _notes(read: dict[str, Read[Score]], cut: dict[str, int], longest: int) -> tuple[str, ...]:
    notes = []
    if cut["examples"]:
        notes.append(
            f"{cut['examples']} of {len(read['train'].records)} records were longer than {longest} "
            f"tokens; {cut['tokens']} tokens were cut from their longest fields."
        )
    seen = {fields_text(record.fields) for record in read["train"].records}
    same = sum(fields_text(record.fields) in seen for record in read["validation"].records)
    if same:
        notes.append(
            f"{same} of {len(read['validation'].records)} validation records stand word for word "
            "in what is learnt from; their scores are no evidence."
        )
    return tuple(notes)
