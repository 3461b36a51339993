"""A base with one score on top: loaded to be trained, and loaded with its adapter to be asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.adapter.locate import locate_adapter
from loragraft.adapter.peft_loading import (
    OVERHEAD_BYTES,
    attach_strictly,
    peft_folder,
    quiet,
    require_packages,
)
from loragraft.artifact.space import require_memory
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import AdapterError, CheckpointError, NonFiniteError
from loragraft.training.config import DEFAULT_SEED, load_config
from loragraft.training.field_ids import FieldEncoder
from loragraft.training.load import check_base, load_tokenizer
from loragraft.training.saving import CONFIG_NAME
from loragraft.training.scoring import Fields

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PURPOSE = "Scoring texts"
TASK_TYPE = "SEQ_CLS"
LONGEST = 512
"""Tokens of a record where nothing else is known: what most encoders read."""
BATCH = 32
_POOLER = re.compile(r"(.+\.)?pooler\b.*")
"""A checkpoint of a masked language model lacks it, and its classifier needs it."""


def load_scorer(base: Path, seed: int = DEFAULT_SEED) -> tuple[Any, tuple[str, ...]]:
    """Load a base with one score on top, in float32 on the CPU.

    Args:
        base: The checkpoint's folder.
        seed: Decides the values of a head that the checkpoint lacks.

    Returns:
        The model, and the names of the modules that belong to the head: everything behind the
        backbone, and a pooler that the checkpoint lacks.

    Raises:
        CheckpointError: If weights of the backbone are missing, or transformers cannot load it.
        UnsupportedError: If the base is quantized.
        OutOfMemoryError: If it does not fit.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    check_base(base)
    with Checkpoint(base) as checkpoint:
        size = sum(info.size for info in checkpoint.tensors.values()) * 4
    require_memory(size + OVERHEAD_BYTES, f"Loading {base.name} in float32", "Take a smaller base.")
    loader: Any = AutoModelForSequenceClassification
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model, loaded = loader.from_pretrained(
                str(base), num_labels=1, dtype=torch.float32, ignore_mismatched_sizes=True,
                output_loading_info=True, local_files_only=True,
            )  # fmt: skip
        except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
            raise CheckpointError(
                f"transformers cannot load {base} as a classifier: {error}. Take an encoder such "
                "as DeBERTa, or a language model that transformers has a classifier of."
            ) from error
    new = {*loaded["missing_keys"], *(entry[0] for entry in loaded["mismatched_keys"])}
    model.config.use_cache = False
    return model, _head(model, base, new)


def _head(model: Any, base: Path, new: set[str]) -> tuple[str, ...]:  # noqa: ANN401
    """Return the head's modules.

    Raises:
        CheckpointError: If a weight is new that belongs to the backbone.
    """
    backbone = model.base_model_prefix
    heads = [name for name, module in model.named_children()
             if name != backbone and any(True for _ in module.parameters())]  # fmt: skip
    inside = {name for name in new if name.startswith(f"{backbone}.")}
    poolers = {name for name in inside if _POOLER.fullmatch(name)}
    if inside - poolers:
        raise CheckpointError(
            f"{base} lacks {len(inside - poolers)} weights of its model: "
            f"{', '.join(sorted(inside - poolers)[:5])}. Download it again."
        )
    return (*heads, *(("pooler",) if poolers and "pooler" not in heads else ()))


def set_padding(model: Any, tokenizer: Any) -> int:  # noqa: ANN401
    """Let a model know its padding token, and return it; decoders often have none.

    Raises:
        CheckpointError: If the tokenizer has neither that nor an end of a text.
    """
    found = tokenizer.pad_token_id
    if found is None:
        found = tokenizer.eos_token_id
    if found is None:
        raise CheckpointError(
            "The base's tokenizer has neither a padding token nor one that ends a text. Save it "
            "with one."
        )
    model.config.pad_token_id = int(found)
    return int(found)


def pad(rows: Sequence[Sequence[int]], padding: int) -> dict[str, Any]:
    """Return ids and attention mask, shape ``[rows, longest]``, padded on the right."""
    import torch

    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), padding, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[number, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def score_rows(
    model: Any,  # noqa: ANN401 - a transformers or PEFT model
    rows: Sequence[Sequence[int]],
    padding: int,
    batch: int = BATCH,
) -> NDArray[np.float32]:
    """Return the score from 0 to 1 of each row of ids; in eval mode, without gradients.

    Raises:
        NonFiniteError: If one is no number.
    """
    import numpy as np
    import torch

    device = next(model.parameters()).device
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    scores = np.empty(len(rows), np.float32)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            inputs = pad([rows[index] for index in part], padding)
            logits = model(**{name: value.to(device) for name, value in inputs.items()}).logits
            scores[part] = logits[:, 0].float().sigmoid().cpu().numpy()
    model.train(was_training)
    if not np.isfinite(scores).all():
        raise NonFiniteError("The classifier scores NaN. Take an earlier checkpoint.")
    return scores


class Classifier:
    """A base with a trained adapter and head, ready to score."""

    def __init__(self, model: Any, tokenizer: Any, longest: int) -> None:  # noqa: ANN401
        """Take a model with its adapter, and the tokenizer that belongs to it."""
        self._model = model.eval()
        self._padding = set_padding(model, tokenizer)
        self._encoder = FieldEncoder(tokenizer, model.config, longest)

    def scores(self, texts: Sequence[Fields | str], batch: int = BATCH) -> NDArray[np.float32]:
        """Score texts.

        Args:
            texts: A record's fields, in the order of those that it learnt from, or one text.
            batch: Texts that go through the model at once.

        Returns:
            From 0 to 1, in the order of the texts.

        Raises:
            NonFiniteError: If a score is no number.
        """
        return self.score_ids([self._encoder.encode(text).ids for text in texts], batch)

    def score_ids(self, rows: Sequence[Sequence[int]], batch: int = BATCH) -> NDArray[np.float32]:
        """Score rows of token ids; see :meth:`scores`."""
        return score_rows(self._model, rows, self._padding, batch)


def load_classifier(base: Path, adapter: Path, *, longest: int | None = None) -> Classifier:
    """Load a classifier that ``task: sequence-classification`` trained.

    Args:
        base: Folder of the base.
        adapter: The adapter's path.
        longest: Most tokens of a record; None takes what the adapter was trained with.

    Raises:
        MissingExtraError: If torch, transformers or peft is missing.
        CheckpointError: If the base cannot be loaded.
        AdapterError: If the adapter is none of a classifier, does not fit, or lacks the head.
    """
    require_packages(PURPOSE, "torch", "transformers", "peft")
    location = locate_adapter(Path(adapter))
    model, heads = load_scorer(Path(base))
    with quiet(), peft_folder(location) as folder:
        attached = attach_strictly(model, folder, location.weights)
    settings = attached.model.peft_config["default"]
    missing = [name for name in heads if name not in (settings.modules_to_save or ())]
    if settings.task_type != TASK_TYPE or missing:
        lacks = f"its head ({', '.join(missing)}) is not saved with it" if missing else "no head"
        raise AdapterError(
            f"{location.weights} is no classifier's adapter: its task is {settings.task_type}, "
            f"expected {TASK_TYPE}; {lacks}. Train one by task: sequence-classification."
        )
    told = location.folder / CONFIG_NAME
    if longest is None:
        longest = load_config(told).optimiser.max_length if told.is_file() else LONGEST
    return Classifier(attached.model, load_tokenizer(Path(base)), longest)
