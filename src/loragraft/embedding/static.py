"""A static model of model2vec: a vector for each token, averaged; some thousand texts a second."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.checkpoint.files import read_small
from loragraft.embedding.batches import OnDone, in_batches
from loragraft.embedding.identity import folder_hash
from loragraft.embedding.tokens import FileTokens, file_tokens
from loragraft.errors import CheckpointError, MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KIND = "model2vec"
MAX_TOKENS = 512
"""model2vec's own default. A static model reads any text, but its average says less and less."""
_BATCH = 1024


def is_static(folder: Path) -> bool:
    """Say whether a folder holds a model that model2vec saved."""
    try:
        config = json.loads(read_small(folder / "config.json"))
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(config, dict):
        return False
    named = config.get("architectures")
    architectures = named if isinstance(named, list) else []
    return config.get("model_type") == KIND or "StaticModel" in architectures


class StaticEmbedder:
    """Embeds by model2vec, without torch."""

    def __init__(self, folder: Path, name: str) -> None:
        """Look for the package; nothing is loaded yet.

        Raises:
            MissingExtraError: If model2vec is not installed.
        """
        import importlib.util

        if importlib.util.find_spec("model2vec") is None:
            raise MissingExtraError("model2vec", "rag", "Embedding by a static model")
        self._folder, self._shown = folder, name
        self._model: Any = None

    @property
    def name(self) -> str:
        """What a person calls the model."""
        return self._shown

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """Kind, and the hash of the model's files."""
        return {"kind": KIND, "model": folder_hash(self._folder)}

    @cached_property
    def dimensions(self) -> int:
        """Length of a vector."""
        return int(self._loaded().dim)

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that are read."""
        return MAX_TOKENS

    @cached_property
    def _tokens(self) -> FileTokens:
        return file_tokens(self._folder)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return each text's tokens, special tokens apart and nothing cut."""
        return self._tokens.count(texts)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return where each token's characters stand in a text, special tokens apart."""
        return self._tokens.spans(text)

    def embed(
        self, texts: Sequence[str], *, query: bool = False, on_done: OnDone | None = None
    ) -> NDArray[np.float32]:
        """Embed texts; see :meth:`Embedder.embed`. Questions are texts like others here.

        Raises:
            CheckpointError: If the model cannot be loaded.
        """
        model = self._loaded()

        def encode(batch: list[str]) -> NDArray[np.float32]:
            vectors: NDArray[np.float32] = model.encode(
                batch, batch_size=_BATCH, max_length=MAX_TOKENS, use_multiprocessing=False
            )
            return vectors

        return in_batches(texts, _BATCH, encode, on_done)

    def _loaded(self) -> Any:  # noqa: ANN401
        if self._model is None:
            import importlib

            model2vec: Any = importlib.import_module("model2vec")
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self._model = model2vec.StaticModel.from_pretrained(str(self._folder))
            except Exception as error:  # given a stranger's files it may fail in any way
                raise CheckpointError(
                    f"model2vec cannot load {self._folder}: {error}. Download it again."
                ) from error
        return self._model

    def close(self) -> None:
        """Forget the model."""
        self._model = None
