"""What a training run consists of, whatever the task: the contract of tasks and the runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.artifact.progress import Progress, Silent

if TYPE_CHECKING:
    from torch import Tensor

    from loragraft.training.config import TrainConfig
    from loragraft.training.log import Sample

Batch = Any
"""What ``Job.collate`` makes of examples: a mapping of names to tensors, moved to the device."""


def _no_sample(index: int) -> Sample | None:
    return None


def _no_metrics() -> Mapping[str, float]:
    return {}


@dataclass(frozen=True)
class Job:
    """A model with its adapter, and the examples it is trained on.

    Attributes:
        model: A torch module; what is trained requires gradients, the rest does not.
        train: Examples (or packed rows of them) in the order of the data; the runner shuffles.
        validation: The same for validation; empty where there is none.
        collate: Makes a batch of examples: a mapping whose tensors the runner moves to the device.
        loss: The **summed** loss of a batch, a scalar that gradients flow through. The model's
            mode (train or eval) and ``no_grad`` are the runner's.
        count: Of what the batch's loss is a sum: answer tokens, or examples. The runner divides by
            the count of the whole accumulated batch.
        tokens: Tokens of a batch that go through the model, padding left out.
        save: Writes the adapter of the model as it is then, in its final form, into a folder that
            exists: ``adapter_config.json`` (``base_model_name_or_path`` and ``revision`` as
            configured) and ``adapter_model.safetensors`` in the configured dtype.
        answer: Lets the model answer a validation example; None where the task has no answers.
            The index runs over the validation records, in the order of the data.
        metrics: Further figures of the validation examples (ROC-AUC, Spearman ...) by name; asked
            at each evaluation, in eval mode and without gradients.
        facts: For the metadata: counts, lengths, modes, the files' hashes.
        notes: What a person should read before the run, in sentences.
    """

    model: Any
    train: Sequence[Any]
    validation: Sequence[Any]
    collate: Callable[[Sequence[Any]], Batch]
    loss: Callable[[Any, Batch], Tensor]
    count: Callable[[Batch], int]
    tokens: Callable[[Batch], int]
    save: Callable[[Path], None]
    answer: Callable[[int], Sample | None] = _no_sample
    metrics: Callable[[], Mapping[str, float]] = _no_metrics
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def build_job(config: TrainConfig, base: Path, progress: Progress | None = None) -> Job:
    """Load the base with a fresh adapter on it, and encode the examples.

    Args:
        config: The run's.
        base: The base's folder.
        progress: Who wants to know how far it is.

    Raises:
        InputError: If the data or the base does not fit the configuration.
    """
    progress = progress or Silent()
    if config.task == "causal-lm":
        from loragraft.training.causal_lm import build_causal_lm

        return build_causal_lm(config, base, progress)
    if config.task == "sequence-classification":
        from loragraft.training.sequence_classification import build_sequence_classification

        return build_sequence_classification(config, base, progress)
    from loragraft.training.embedding import build_embedding

    return build_embedding(config, base, progress)
