"""Classifiers of toxicity: a folder on this disk, or what detoxify fetches when it was asked to."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loragraft.adapter.peft_loading import quiet
from loragraft.errors import CheckpointError, InputError, MissingExtraError, UnavailableError

NAMES = ("toxicity", "toxic")
"""What the label is called in detoxify's models and those like them."""

DETOXIFY_MODELS = ("original", "unbiased", "multilingual", "original-small", "unbiased-small")

_AT_ONCE = 32
_LONGEST = 512
"""Tokens of a text that are read, where the model does not say less."""
_SPARE_POSITIONS = 2
"""RoBERTa's positions begin at 2."""


class Classifier:
    """A sequence classifier of transformers in a folder, with a label for toxicity."""

    def __init__(self, folder: Path) -> None:
        """Look at the folder; the model is loaded with the first text.

        Raises:
            InputError: If it holds no classifier in safetensors.
            MissingExtraError: If transformers or torch is not installed.
        """
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder. Give the folder of a classifier.")
        for name in ("config.json", "model.safetensors"):
            if not (folder / name).is_file():
                raise InputError(
                    f"{folder} has no {name}. Give a folder as save_pretrained writes it, such as "
                    "a download of unitary/toxic-bert; pickled weights are not read."
                )
        for package in ("torch", "transformers"):
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(package, "peft", "Scoring toxicity")
        self._folder = folder
        self._loaded: tuple[Any, Any, int] | None = None

    def score_many(self, texts: Sequence[str]) -> list[float]:
        """Return each text's toxicity.

        Raises:
            CheckpointError: If the model cannot be loaded, or its scores are not finite.
            InputError: If it has no label for toxicity.
        """
        scores = [0.0] * len(texts)
        order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
        for first in range(0, len(order), _AT_ONCE):
            part = order[first : first + _AT_ONCE]
            for number, score in zip(part, self._scores([texts[n] for n in part]), strict=True):
                scores[number] = score
        return scores

    def _scores(self, texts: list[str]) -> list[float]:
        import torch

        model, tokenizer, label = self._loaded = self._loaded or self._load()
        longest = min(int(tokenizer.model_max_length), _most_tokens(model.config))
        given = tokenizer(
            _whole(texts), return_tensors="pt", truncation=True, padding=True, max_length=longest
        ).to(model.device)
        with torch.inference_mode():
            logits = model(**given).logits.double()
        one_of_two = logits.shape[1] == 2 and model.config.problem_type != _MANY
        chances = logits.softmax(dim=1) if one_of_two else logits.sigmoid()
        found: list[float] = chances[:, label].tolist()
        if not all(0 <= score <= 1 for score in found):
            raise CheckpointError(f"{self._folder} gives scores that are no numbers. Replace it.")
        return found

    def _load(self) -> tuple[Any, Any, int]:
        transformers: Any = importlib.import_module("transformers")
        import torch

        folder = str(self._folder)
        try:
            with quiet():
                model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
                    folder, local_files_only=True, use_safetensors=True, trust_remote_code=False,
                    output_loading_info=True, dtype=torch.float32,
                )  # fmt: skip
                tokenizer = transformers.AutoTokenizer.from_pretrained(
                    folder, local_files_only=True, trust_remote_code=False
                )
        except Exception as error:  # given a stranger's files it may fail in any way
            raise CheckpointError(
                f"transformers cannot load the classifier in {self._folder}: {error} Download it "
                "again."
            ) from error
        if report["missing_keys"]:
            missing = ", ".join(sorted(report["missing_keys"])[:3])
            raise CheckpointError(
                f"{self._folder} is no trained classifier: {missing} would be random. Give one "
                "that has its classification layer."
            )
        label = _label(self._folder, model.config)
        return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer, label


def _whole(texts: Sequence[str]) -> list[str]:
    """Return texts without half characters, which no tokenizer takes."""
    return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]


_MANY = "multi_label_classification"


def _most_tokens(config: Any) -> int:  # noqa: ANN401 - of any model
    positions = getattr(config, "max_position_embeddings", None)
    return min(positions - _SPARE_POSITIONS, _LONGEST) if positions else _LONGEST


def _label(folder: Path, config: Any) -> int:  # noqa: ANN401 - of any model
    """Return which output is toxicity."""
    labels = {str(name).strip().lower(): int(number) for number, name in config.id2label.items()}
    for name in NAMES:
        if name in labels:
            return labels[name]
    raise InputError(
        f"The classifier in {folder} has the labels {', '.join(list(labels)[:8])}; one of them "
        f"must be {' or '.join(NAMES)}. Name it so in id2label of its config.json, or choose "
        "another model."
    )


class DetoxifyModel:
    """A model of detoxify's, which the package fetches into its own cache."""

    def __init__(self, name: str) -> None:
        """Look for the package; the model is fetched and loaded with the first text.

        Raises:
            InputError: If detoxify has no such model.
            MissingExtraError: If the package is not installed.
        """
        if name not in DETOXIFY_MODELS:
            raise InputError(
                f"detoxify has no model {name!r}; there are {', '.join(DETOXIFY_MODELS)}."
            )
        if importlib.util.find_spec("detoxify") is None:
            raise MissingExtraError("detoxify", "toxicity", "Scoring toxicity by detoxify")
        self._name = name
        self._model: Any = None

    def score_many(self, texts: Sequence[str]) -> list[float]:
        """Return each text's toxicity.

        Raises:
            UnavailableError: If the model cannot be fetched.
        """
        model = self._model = self._model or self._load()
        scores: list[float] = []
        for first in range(0, len(texts), _AT_ONCE):
            part = _whole(texts[first : first + _AT_ONCE])
            found = model.predict(part)["toxicity"]
            scores += found if isinstance(found, list) else [found]
        return scores

    def _load(self) -> Any:  # noqa: ANN401
        detoxify: Any = importlib.import_module("detoxify")
        try:
            return detoxify.Detoxify(self._name)
        except OSError as error:
            raise UnavailableError(
                f"detoxify's model {self._name!r} could not be fetched: {error}. Check the "
                "connection, or give checkpoint: a folder with a classifier such as "
                "unitary/toxic-bert."
            ) from error
