"""What everything that embeds does, whether it runs here or behind an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TextReader(Protocol):
    """Whatever reads texts as tokens, and so says where documents are cut."""

    @property
    def name(self) -> str:
        """What a person calls the model; no path of this machine."""

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that the model reads, special tokens apart; it cuts what is beyond."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return each text's tokens, special tokens apart and nothing cut."""

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return where each token's characters stand in a text, special tokens apart."""


class Embedder(TextReader, Protocol):
    """Turns texts into unit vectors."""

    @property
    def dimensions(self) -> int:
        """Length of a vector."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What makes two embedders the same: kind, name, and content hashes.

        Weights, configuration, tokenizer, pooling modules, prompts and the adapter are in it, so
        that an index refuses queries from another embedder. Paths are not.
        """

    def embed(
        self,
        texts: Sequence[str],
        *,
        query: bool = False,
        on_done: Callable[[int], object] | None = None,
    ) -> NDArray[np.float32]:
        """Embed texts.

        Args:
            texts: In any order; batches are sorted by length inside.
            query: Whether they are questions: some models put another prompt before these.
            on_done: Hears how many texts each finished batch held.

        Returns:
            Unit vectors in the texts' order, shape [texts, dimensions].
        """

    def close(self) -> None:
        """Free what is held."""
