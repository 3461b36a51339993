"""``task: sequence-classification``: a comparator that gives a record's fields one score.

The base's own classifier with a single output learns by binary cross entropy; labels may be any
number from 0 to 1. Its head is trained whole and saved with the adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.artifact.progress import Progress
from loragraft.dataset.records import Score
from loragraft.errors import CheckFailedError, CheckpointError, InputError
from loragraft.training.causal_lm import count_parameters
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
from loragraft.training.encoder_tasks import length_facts, refuse_foreign, sample_order, told_twice
from loragraft.training.field_ids import FieldEncoder
from loragraft.training.job import Batch, Job
from loragraft.training.load import add_adapter, load_tokenizer, require_training
from loragraft.training.log import Sample
from loragraft.training.precision import without_autocast
from loragraft.training.records import Read, data_facts, read_parts
from loragraft.training.rows import Part
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
    read = read_parts(config, Score)
    _refuse_one_label(read["train"].records)
    progress.begin(f"Loading {base.name}", 0)
    model, heads = load_scorer(base, config.seed)
    tokenizer = load_tokenizer(base)
    padding = set_padding(model, tokenizer)
    encoder = FieldEncoder(tokenizer, model.config, config.optimiser.max_length)
    train, cut = _encode(encoder, read["train"].records)
    validation, cut_too = _encode(encoder, read["validation"].records)
    _refuse_unknown_ids(model, [*train, *validation], padding, config.base)
    wrapped = _adapted(config, model, heads)
    records = read["validation"].records
    scores = _Scores(wrapped, records, validation, padding, sample_order(config, records))
    return Job(
        model=wrapped, train=train, validation=validation,
        collate=partial(_collate, padding=padding), loss=_loss, count=_count, tokens=_tokens,
        save=_Saving(wrapped, config, base, train, padding).save, answer=scores.answer,
        metrics=scores.metrics, notes=_notes(read, cut, encoder.longest),
        facts={
            **data_facts(read, [*train, *validation]), **count_parameters(wrapped),
            "head": list(heads), "train": _facts(read["train"], train, cut),
            "validation": _facts(read["validation"], validation, cut_too),
        },
    )  # fmt: skip


def _refuse_one_label(records: Sequence[Score]) -> None:
    labels = {record.label for record in records}
    if len(labels) == 1:
        raise InputError(
            f"All {len(records)} records to learn from have the label {labels.pop():g}; a "
            "comparator learns from different ones. Look at how the data was split."
        )


def _refuse_unknown_ids(
    model: Any,  # noqa: ANN401
    examples: Sequence[Example],
    padding: int,
    base: str,
) -> None:
    rows = int(model.get_input_embeddings().weight.shape[0])
    highest = max(padding, *(max(example.ids) for example in examples))
    if highest >= rows:
        raise CheckpointError(
            f"The tokenizer of {base} makes the token {highest}, but the model has {rows} rows: "
            "they do not belong together. Download the base again."
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
    order: Sequence[int]

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
        if index >= len(self.order):
            return None
        record, example = self.records[self.order[index]], self.examples[self.order[index]]
        (score,) = score_rows(self.model, [example.ids], self.padding).tolist()
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
        with without_autocast(self.model):
            trained = score_rows(self.model, rows, self.padding)
        difference = float(abs(loaded.score_ids(rows) - trained).max())
        if difference > TOLERANCES[self.config.adapter_dtype]:
            raise CheckFailedError(
                f"The saved adapter scores up to {difference:.3g} away from the trained model, "
                f"expected at most {TOLERANCES[self.config.adapter_dtype]:g}. Set adapter_dtype: "
                "float32."
            )


def _facts(read: Read[Score], examples: Sequence[Example], cut: dict[str, int]) -> dict[str, Any]:
    return {
        **read.facts, "examples": len(examples), "cut": cut,
        "positive": sum(example.label > MIDDLE for example in examples),
        **length_facts([len(example.ids) for example in examples]),
    }  # fmt: skip


def _notes(read: Mapping[Part, Read[Score]], cut: dict[str, int], longest: int) -> tuple[str, ...]:
    notes = []
    if cut["examples"]:
        notes.append(
            f"{cut['examples']} of {len(read['train'].records)} records were longer than {longest} "
            f"tokens; {cut['tokens']} tokens were cut from their longest fields."
        )
    texts = {part: [fields_text(r.fields) for r in one.records] for part, one in read.items()}
    return (*notes, *told_twice(texts["train"], texts["validation"]))
