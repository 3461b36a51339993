"""A second look at what was found, by a model that reads question and passage together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from loragraft.adapter.peft_loading import quiet, require_packages
from loragraft.artifact.space import require_memory
from loragraft.checkpoint.model import read_json
from loragraft.checkpoint.safetensors import read_header
from loragraft.errors import CheckpointError, NonFiniteError, UnsupportedError
from loragraft.rag.index.dense import Floats

DEFAULT_BATCH = 16
MOST_TOKENS = 512
"""Of question and passage together: what most cross-encoders read, and more than both have."""
LONGEST_QUESTION = 2000
"""Characters of a question that are read: more would leave the passage no room."""
_OVERHEAD_BYTES = 1 << 30
"""Memory of torch and transformers, and of one batch's activations."""
_HEADS = ("classifier", "score", "classification_head")
"""What the tensors are called that make a score of an encoder's output."""
_KIND = "ForSequenceClassification"


class CrossEncoderReranker:
    """A cross-encoder in a folder, loaded with the first question; nothing is downloaded."""

    def __init__(
        self, folder: Path, *, batch: int = DEFAULT_BATCH, max_tokens: int = MOST_TOKENS
    ) -> None:
        """Look at the files.

        Args:
            folder: Of the model, with its tokenizer.
            batch: Pairs in one forward pass.
            max_tokens: Of question and passage together; never more than the model reads.

        Raises:
            MissingExtraError: If sentence-transformers is not installed.
            CheckpointError: If a file is missing or broken.
            UnsupportedError: If the model gives no score, or several.
        """
        require_packages("A reranker", "torch", "transformers", "sentence_transformers")
        self._folder, self._batch = Path(folder), max(1, batch)
        self._tokens = min(max_tokens, _checked(self._folder))
        self._model: Any = None

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self._folder.absolute().name

    def score(self, question: str, texts: Sequence[str]) -> Floats:
        """Return how well each text answers a question: logits; greater is better.

        Raises:
            CheckpointError: If the model cannot be loaded.
            NonFiniteError: If it says NaN or Inf.
        """
        if not texts:
            return np.empty(0, np.float32)
        asked = _clean(question[:LONGEST_QUESTION])
        with quiet():
            model = self._loaded()
            scores = model.predict(
                [(asked, _clean(text)) for text in texts],
                batch_size=self._batch, show_progress_bar=False, convert_to_numpy=True,
            )  # fmt: skip
        found = np.asarray(scores, np.float32).reshape(-1)
        if len(found) != len(texts) or not np.isfinite(found).all():
            raise NonFiniteError(
                f"The reranker {self.name} scores {len(texts)} passages as {found[:4]}. Take "
                "another one, or search without."
            )
        return found

    def _loaded(self) -> Any:  # noqa: ANN401
        if self._model is None:
            from sentence_transformers import CrossEncoder
            from torch import cuda, float32, nn

            try:
                self._model = CrossEncoder(
                    str(self._folder), max_length=self._tokens, local_files_only=True,
                    device="cuda" if cuda.is_available() else "cpu",
                    activation_fn=nn.Identity(), model_kwargs={"dtype": float32},
                )  # fmt: skip
            except (OSError, ValueError, RuntimeError, ImportError, KeyError, TypeError) as error:
                raise CheckpointError(
                    f"sentence-transformers cannot load the reranker {self._folder}: {error}. "
                    "Download it again, or upgrade sentence-transformers."
                ) from error
        return self._model


def _clean(text: str) -> str:
    # Tokenizers refuse lone surrogates.
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _checked(folder: Path) -> int:
    """Return the tokens that a reranker reads, if it is one.

    Raises:
        CheckpointError: If a file is missing or broken.
        UnsupportedError: If it is no cross-encoder, or was saved without its head: transformers
            would make one up, and the order would be chance.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no folder. Give the folder of a cross-encoder.")
    config = read_json(folder / "config.json")
    kinds = config.get("architectures")
    if not isinstance(kinds, list) or not any(str(kind).endswith(_KIND) for kind in kinds):
        raise UnsupportedError(
            f"{folder} is no reranker: its config.json names {kinds}, a cross-encoder's names "
            f"one that ends with {_KIND}. Give the folder of a cross-encoder."
        )
    labels = _labels(config)
    if labels != 1:
        raise UnsupportedError(
            f"{folder} gives {labels} scores for a passage; a reranker gives one. Give another "
            "cross-encoder."
        )
    _check_weights(folder)
    tokenizer = folder / "tokenizer_config.json"
    named = read_json(tokenizer).get("model_max_length") if tokenizer.is_file() else None
    limits = (named, config.get("max_position_embeddings"), MOST_TOKENS)
    return min(limit for limit in limits if type(limit) is int and limit > 0)


def _labels(config: Mapping[str, Any]) -> int:
    labels = config.get("id2label")
    if isinstance(labels, Mapping):
        return len(labels)
    count = config.get("num_labels")
    return count if type(count) is int else 2  # what transformers takes where nothing is said


def _check_weights(folder: Path) -> None:
    shards = [read_header(path)[0] for path in sorted(folder.glob("*.safetensors"))]
    if not shards:
        raise CheckpointError(
            f"{folder} holds no .safetensors. Save the reranker with save_pretrained of a "
            "current transformers."
        )
    names = {name for shard in shards for name in shard}
    if not any(part in _HEADS for name in names for part in name.split(".")):
        raise UnsupportedError(
            f"The weights in {folder} have no head that makes a score: it would be made up. Give "
            "a cross-encoder that was trained."
        )
    size = sum(info.size for shard in shards for info in shard.values()) * 4
    require_memory(size + _OVERHEAD_BYTES, f"The reranker {folder.name}", "Search without it.")
