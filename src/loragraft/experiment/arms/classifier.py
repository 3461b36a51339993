"""A sequence-classification checkpoint as comparator: trained here, or with a head of its own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.dataset.records import Score, TaskRecord
from loragraft.errors import CheckpointError
from loragraft.experiment.arms.direct import DirectArm
from loragraft.experiment.config import ClassifierSpec, TaskKind

if TYPE_CHECKING:
    from loragraft.training.classifier import Classifier


class ClassifierArm(DirectArm):
    """Records of the kind ``score``, by a classifier."""

    task: TaskKind = "score"

    def __init__(self, name: str, spec: ClassifierSpec) -> None:
        """Name experiment and checkpoint; nothing is loaded yet."""
        super().__init__(name)
        self._spec = spec
        self._model: Classifier | None = None

    @cached_property
    def _folder(self) -> Path:
        from loragraft.checkpoint.resolve import resolve_checkpoint

        return resolve_checkpoint(self._spec.model).folder

    @cached_property
    def _adapter(self) -> Path | None:
        from loragraft.checkpoint.resolve import resolve_adapter

        return None if self._spec.adapter is None else resolve_adapter(self._spec.adapter).folder

    def identity(self) -> dict[str, Any]:
        """Return what decides a sample: the hashes of all files."""
        from loragraft.adapter.locate import locate_adapter
        from loragraft.artifact.hash_cache import cached_sha256
        from loragraft.embedding.identity import folder_hash
        from loragraft.training.saving import CONFIG_NAME

        told: dict[str, Any] = {"task": self.task, "classifier": folder_hash(self._folder)}
        if self._adapter is not None:
            location = locate_adapter(self._adapter)
            told["adapter"] = [cached_sha256(location.weights), cached_sha256(location.config)]
            trained = location.folder / CONFIG_NAME
            if trained.is_file():  # it says how long a record may be
                told["training"] = cached_sha256(trained)
        return told

    def number(self, record: TaskRecord) -> tuple[float, Mapping[str, Any]]:
        """Return a record's score."""
        assert isinstance(record, Score)
        if self._model is None:
            self._model = self._load()
        return float(self._model.scores([record.fields])[0]), {}

    def close(self) -> None:
        """Forget the model."""
        self._model = None

    def _load(self) -> Classifier:
        from loragraft.training.classifier import load_classifier

        if self._adapter is not None:
            return load_classifier(self._folder, self._adapter)
        return load_own_head(self._folder)


def load_own_head(folder: Path) -> Classifier:
    """Load a checkpoint with a classification head of its own.

    One label is a logit whose sigmoid is the score; of two, the second one's probability is. So
    transformers' own problem types have it, and so its Trainer saves.

    Raises:
        MissingExtraError: If torch or transformers is missing.
        CheckpointError: If it cannot be loaded, lacks its head, or has other labels.
        UnsupportedError: If it is quantized.
    """
    from loragraft.adapter.peft_loading import quiet, require_packages
    from loragraft.training.classifier import LONGEST, PURPOSE, Classifier
    from loragraft.training.load import check_base, load_tokenizer

    require_packages(PURPOSE, "torch", "transformers")
    check_base(folder)
    import torch
    from transformers import AutoModelForSequenceClassification

    loader: Any = AutoModelForSequenceClassification
    with quiet():
        try:
            model, loaded = loader.from_pretrained(
                str(folder), dtype=torch.float32, output_loading_info=True, local_files_only=True
            )
        except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
            raise CheckpointError(
                f"transformers cannot load {folder} as a classifier: {error}. Give a checkpoint "
                "that AutoModelForSequenceClassification saved."
            ) from error
    missing = sorted(loaded["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{folder} lacks {', '.join(missing[:3])}: it was not trained as a classifier, and "
            "its scores would be chance. Give its adapter too, or a checkpoint with its head."
        )
    return Classifier(_one_logit(model, folder), load_tokenizer(folder), LONGEST)


def _one_logit(model: Any, folder: Path) -> Any:  # noqa: ANN401 - transformers' models
    """Return a model with one logit: of two, their difference has the same probability.

    Raises:
        CheckpointError: If it has more labels.
    """
    labels = int(model.config.num_labels)
    if labels == 1:
        return model
    if labels != 2:
        raise CheckpointError(
            f"{folder} tells {labels} labels apart; a score from 0 to 1 needs a head of one label "
            "or two. Take another checkpoint."
        )
    plain = model.forward

    def forward(**inputs: Any) -> Any:  # noqa: ANN401
        found = plain(**inputs)
        found.logits = found.logits[:, 1:] - found.logits[:, :1]
        return found

    model.forward = forward
    return model
