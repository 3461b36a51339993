"""Which token has which id in a folder's tokenizer: enough to compare two, not to use one."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

TOKENIZER_JSON = "tokenizer.json"
VOCAB_JSON = "vocab.json"
ADDED_TOKENS = "added_tokens.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
_MAX_BYTES = 64 << 20
"""Of one file; the largest vocabularies have some 35 MB."""
_MAX_PARTS = 3_000_000
"""Of one kind of part; Gemma has 0.6 million merges. Parsed, each takes some hundred bytes."""


@dataclass(frozen=True)
class TokenIds:
    """The tokens of a folder.

    Attributes:
        ids: Text to id, added tokens included.
        problem: Why they cannot be read, in words; then ``ids`` is empty.
    """

    ids: Mapping[str, int] = field(default_factory=dict)
    problem: str | None = None

    @property
    def size(self) -> int:
        """Highest id + 1."""
        return max(self.ids.values(), default=-1) + 1

    def beyond(self, rows: int) -> list[str]:
        """Return the tokens that a matrix of so many rows has none for."""
        return [token for token, number in self.ids.items() if number >= rows]


def read_token_ids(folder: Path) -> TokenIds | None:
    """Read the ids of a folder's tokenizer; None where it has none that lists them.

    A bare SentencePiece model is not read: what adapters ship it with has a tokenizer.json too.
    """
    stamps = []
    for name in (TOKENIZER_JSON, VOCAB_JSON, ADDED_TOKENS, TOKENIZER_CONFIG):
        try:
            found = (folder / name).stat()
            usual = stat.S_ISREG(found.st_mode)  # a named pipe would be waited for
            stamps.append((found.st_size, found.st_mtime_ns) if usual else (-1, -1))
        except (OSError, ValueError):
            stamps.append((-1, -1))
    return _read(folder, tuple(stamps))


@lru_cache(maxsize=4)  # several checks ask for the two folders; the stamps tell a changed file
def _read(folder: Path, stamps: tuple[tuple[int, int], ...]) -> TokenIds | None:
    if any(size > _MAX_BYTES for size, _ in stamps):
        return TokenIds(problem=f"a tokenizer file of more than {_MAX_BYTES >> 20} MB")
    has_json, has_vocab = stamps[0][0] >= 0, stamps[1][0] >= 0
    if not has_json and not has_vocab:
        return None
    try:
        found = dict(_of_json(folder) if has_json else _pairs(_load(folder / VOCAB_JSON)))
        found.update(_of_settings(folder))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        return TokenIds(problem=f"a tokenizer that cannot be read ({reason[:120]})")
    return TokenIds(found)


def _load(path: Path) -> Any:  # noqa: ANN401 - JSON
    raw = path.read_bytes()
    if any(raw.count(sign) > _MAX_PARTS for sign in (b"[", b"{", b":")):
        raise ValueError(f"{path.name} holds more parts than any vocabulary")
    return json.loads(raw)


def _pairs(values: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for token, number in values.items():
        if type(number) is not int or not 0 <= number < 2**31:
            raise ValueError(f"the token {token!r} has the id {number!r}")
        yield token, number


def _of_json(folder: Path) -> Iterator[tuple[str, int]]:
    """Read tokenizer.json: BPE and WordPiece have a dictionary, Unigram a list of pairs."""
    content = _load(folder / TOKENIZER_JSON)
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, list):
        vocabulary = {entry[0]: number for number, entry in enumerate(vocabulary)}
    yield from _pairs(vocabulary)
    added = {entry["content"]: entry["id"] for entry in content.get("added_tokens") or []}
    yield from _pairs(added)


def _of_settings(folder: Path) -> Iterator[tuple[str, int]]:
    """Read the tokens that the older files beside it add."""
    if (folder / ADDED_TOKENS).is_file():
        yield from _pairs(_load(folder / ADDED_TOKENS))
    if (folder / TOKENIZER_CONFIG).is_file():
        decoder = _load(folder / TOKENIZER_CONFIG).get("added_tokens_decoder") or {}
        yield from _pairs({entry["content"]: int(number) for number, entry in decoder.items()})
