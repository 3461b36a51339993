"""Support by a model of natural language inference: does the passage entail the claim?

A folder of a sequence-classification checkpoint that names one of its labels "entailment", as those
trained on MNLI do: passage first, claim second. It is read on this machine, one pair at a time, so
that a judgement depends on nothing but its pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from loragraft.adapter.peft_loading import quiet, require_packages
from loragraft.embedding.identity import folder_hash
from loragraft.errors import CheckpointError, NonFiniteError
from loragraft.experiment.metrics.grounding.reading import sentences
from loragraft.experiment.metrics.grounding.support import Claim, Judgement

VERSION = 1
"""Raised whenever the same claim and passage may get another judgement."""
ENTAILED = 0.5
"""Least probability of entailment: from here on it is likelier than all else together."""
LARGEST = 4_096
"""Tokens that are read at most: the memory of attention grows with their square."""
LEAST_ROOM = 32
"""Tokens of a passage that must fit beside a claim; a longer claim is cut."""
_LABEL = "entail"
_NOT = ("not", "non", "no_", "no-", "no ")
_PURPOSE = "Judging support by a model"


class NliSupport:
    """Judges by the probability of entailment.

    A passage that is too long is read in windows of whole sentences; the most convinced one counts.
    """

    name = "nli"

    def __init__(self, folder: Path) -> None:
        """Read a folder's configuration; the model is loaded with the first claim.

        Raises:
            MissingExtraError: If torch or transformers is not installed.
            CheckpointError: If the folder holds no such model; says which labels it has.
        """
        require_packages(_PURPOSE, "torch", "transformers")
        self._folder = folder
        self._entailment = _entailment(folder)
        self._model: Any = None

    def identity(self) -> dict[str, Any]:
        """Return what decides a judgement: the model's files, and the threshold."""
        return {"support": self.name, "version": VERSION, "least": ENTAILED, "model": self._hash}

    @cached_property
    def _hash(self) -> str:
        return folder_hash(self._folder)

    def supported(self, claims: Sequence[Claim]) -> list[Judgement]:
        """Judge claims, one after the other.

        Raises:
            CheckpointError: If the model cannot be loaded.
            NonFiniteError: If it computes no number.
        """
        return [self._judge(claim.strip(), passage.strip()) for claim, passage in claims]

    def close(self) -> None:
        """Free the model."""
        self._model = None

    def _judge(self, claim: str, passage: str) -> Judgement:
        if not claim or not passage:
            return Judgement(False, "nothing to compare")
        best = max(self._probability(rows) for rows in self._rows(claim, passage))
        verdict = best >= ENTAILED
        reason = f"entailed with {best:.2f}, {'at least' if verdict else 'below'} {ENTAILED}"
        return Judgement(verdict, reason, {"entailment": best})

    def _rows(self, claim: str, passage: str) -> Iterator[dict[str, Any]]:
        """Yield what the model reads: the claim with each window of the passage."""
        model, tokenizer = self._loaded()
        room = _room(model, tokenizer)
        special = tokenizer.num_special_tokens_to_add(pair=True)
        least = min(LEAST_ROOM, room // 2)
        left = max(room - special - self._count(claim), least)
        for window in self._windows(passage, left):
            yield dict(
                tokenizer(window, claim, truncation="longest_first", max_length=room,
                          return_tensors="pt")
            )  # fmt: skip

    def _windows(self, passage: str, room: int) -> Iterator[str]:
        """Yield runs of sentences that fit, each begun where the last one ended."""
        begun, end = 0, 0
        for start, stop in sentences(passage):
            if self._count(passage[begun:stop]) > room and end > begun:
                yield from self._fitting(passage[begun:end].strip(), room)
                begun = start
            end = stop
        yield from self._fitting(passage[begun:end].strip(), room)

    def _fitting(self, text: str, room: int) -> Iterator[str]:
        """Yield a text, or as many parts of it as a sentence without an end needs."""
        words = text.split()
        if len(words) < 2 or self._count(text) <= room:
            yield text
            return
        for part in (words[: len(words) // 2], words[len(words) // 2 :]):
            yield from self._fitting(" ".join(part), room)

    def _count(self, text: str) -> int:
        _, tokenizer = self._loaded()
        return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _probability(self, inputs: dict[str, Any]) -> float:
        import torch

        model, _ = self._loaded()
        with torch.inference_mode():
            logits = model(**inputs).logits[0].float()
        value = float(logits.softmax(-1)[self._entailment])
        if not math.isfinite(value):
            raise NonFiniteError(
                f"The model in {self._folder} computes no number. Take another one (nli)."
            )
        return value

    def _loaded(self) -> tuple[Any, Any]:
        if self._model is None:
            self._model = _load(self._folder)
        return self._model  # type: ignore[no-any-return]


def _entailment(folder: Path) -> int:
    """Return the number of the label that means entailment."""
    from loragraft.checkpoint.model import read_json

    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder} holds no model: config.json is missing. Give the folder of a "
            "sequence-classification checkpoint with an entailment label (nli)."
        )
    labels = read_json(folder / "config.json").get("id2label")
    named = (
        {str(key): str(label) for key, label in labels.items()} if isinstance(labels, dict) else {}
    )
    found = [key for key, label in named.items() if _means_entailment(label)]
    if len(found) != 1 or not found[0].isdecimal():
        has = ", ".join(sorted(named.values())[:8]) or "none"
        raise CheckpointError(
            f"{folder} must name one label entailment (id2label in config.json); it has {has}. "
            "Take a model of natural language inference."
        )
    return int(found[0])


def _means_entailment(label: str) -> bool:
    label = label.strip().casefold()
    return label.startswith(_LABEL) and not label.startswith(_NOT)


def _load(folder: Path) -> tuple[Any, Any]:
    """Load the model in float32 on the processor, and its tokenizer."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from loragraft.training.load import check_base, load_tokenizer

    check_base(folder)
    loader: Any = AutoModelForSequenceClassification
    try:
        with quiet():
            model, told = loader.from_pretrained(
                str(folder), dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
        raise CheckpointError(
            f"transformers cannot load {folder} as a classifier: {error}. Download it again."
        ) from error
    if told["missing_keys"]:
        raise CheckpointError(
            f"{folder} lacks {len(told['missing_keys'])} weights, such as "
            f"{min(told['missing_keys'])}: it has no trained head. Take a model of natural "
            "language inference."
        )
    return model.eval(), load_tokenizer(folder)


def _room(model: Any, tokenizer: Any) -> int:  # noqa: ANN401
    """Return how many tokens the model reads."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if isinstance(positions, int) and getattr(model.config, "model_type", "") in _OFFSET:
        positions -= 2
    limits = (positions, tokenizer.model_max_length, LARGEST)
    return min(one for one in limits if isinstance(one, int) and one > 0)


_OFFSET = ("roberta", "xlm-roberta", "camembert")
"""Families whose first two positions are never used."""
