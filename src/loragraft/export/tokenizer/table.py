"""The token table under construction: one text, type and score per id."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from loragraft.errors import TokenizerError


class TokenType(IntEnum):
    """Token types of GGUF (llama.h's llama_token_type)."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


# llama.cpp's converter gives padding -10000 and added tokens -1000: they never win a merge.
PAD_SCORE = -10000.0
ADDED_SCORE = -1000.0


def pad_text(token_id: int) -> str:
    """Return the text of an id that no token has."""
    return f"[PAD{token_id}]"


@dataclass
class TokenTable:
    """Three lists of one length, indexed by token id."""

    texts: list[str]
    types: list[TokenType]
    scores: list[float]

    @classmethod
    def padded(cls, size: int) -> TokenTable:
        """Return a table of `size` unused tokens."""
        return cls(
            [pad_text(token_id) for token_id in range(size)],
            [TokenType.UNUSED] * size,
            [PAD_SCORE] * size,
        )

    def set(self, token_id: int, text: str, kind: TokenType, score: float = 0.0) -> None:
        """Fill one id."""
        self.texts[token_id] = text
        self.types[token_id] = kind
        self.scores[token_id] = score

    def check_unique(self, source: str) -> None:
        """Raise TokenizerError where two ids have one text, on which llama.cpp aborts.

        Texts are compared as llama.cpp reads them, up to a NUL character.
        """
        seen: dict[str, int] = {}
        for token_id, text in enumerate(self.texts):
            key = text.split("\0", 1)[0] or f"[EMPTY_{token_id}]"
            if key in seen:
                raise TokenizerError(
                    f"{source}: the ids {seen[key]} and {token_id} both have the text {key!r}, on "
                    "which "
                    "llama.cpp aborts. Rename or remove one of the two tokens in tokenizer.json."
                )
            seen[key] = token_id
