"""Tokens of a text by an embedder's own tokenizer, without loading the model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from loragraft.errors import TokenizerError

TOKENIZER_FILE = "tokenizer.json"
_ESTIMATED = re.compile(r"\w{1,4}|[^\w\s]")
"""Where no tokenizer is known: four letters a token is fewer than any common vocabulary has on
average in English text, so that real counts are mostly below."""


class Tokens(Protocol):
    """Counts and places tokens."""

    @property
    def special(self) -> int:
        """Tokens that the model adds to every text."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's tokens, special ones apart."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return each token's first character and the one past its last."""


class FileTokens:
    """A tokenizer in a file of the tokenizers library."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            TokenizerError: If it cannot be read.
        """
        from tokenizers import Tokenizer

        try:
            tokenizer: Any = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise TokenizerError(
                f"{path} cannot be read as a tokenizer: {error}. Download the embedder again."
            ) from None
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer

    @property
    def special(self) -> int:
        """Tokens that the model adds to every text."""
        return int(self._tokenizer.num_special_tokens_to_add(False))

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's tokens, special ones apart."""
        if len(texts) == 1:  # a batch of one starts threads for nothing
            return [len(self._tokenizer.encode(_clean(texts[0]), add_special_tokens=False))]
        batch = self._tokenizer.encode_batch(
            [_clean(text) for text in texts], add_special_tokens=False
        )
        return [len(encoding) for encoding in batch]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return each token's first character and the one past its last."""
        encoding = self._tokenizer.encode(_clean(text), add_special_tokens=False)
        return [(int(start), int(stop)) for start, stop in encoding.offsets]


class EstimatedTokens:
    """Guessed tokens, for endpoints that keep their tokenizer to themselves."""

    special = 2

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's estimated tokens."""
        return [sum(1 for _ in _ESTIMATED.finditer(text)) for text in texts]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where each estimated token stands."""
        return [match.span() for match in _ESTIMATED.finditer(text)]


def _clean(text: str) -> str:
    # A lone surrogate cannot be handed to the library; one character for one keeps spans right.
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def file_tokens(path: Path) -> FileTokens:
    """Return the tokenizer of a folder or a file.

    Raises:
        TokenizerError: If there is none.
    """
    file = path / TOKENIZER_FILE if path.is_dir() else path
    if not file.is_file():
        raise TokenizerError(
            f"{path} holds no {TOKENIZER_FILE}. Save the tokenizer anew with transformers' "
            "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)."
        )
    return FileTokens(file)
