"""The files of a tokenizer folder, read once and checked for shape."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loragraft.errors import TokenizerError

TOKENIZER_JSON = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER_MODEL = "tokenizer.model"
ADDED_TOKENS = "added_tokens.json"

# The largest tokenizer.json in use (Gemma 3, 262,144 tokens) has 33 MB.
MAX_JSON_BYTES = 512 * 1024 * 1024

# The halves of a pair, escaped or in bytes (or the file is no UTF-8): whole pairs are fine.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")

_GET_AGAIN = "Download the folder's tokenizer files again, or save them anew with save_pretrained."


@dataclass(frozen=True)
class TokenizerFiles:
    """What a folder says about its tokenizer; absent files are empty or None."""

    folder: Path
    json: Mapping[str, Any] | None
    config: Mapping[str, Any]
    added_tokens: Mapping[str, int] = field(default_factory=dict)
    sentencepiece: Path | None = None

    @property
    def has_vocabulary(self) -> bool:
        """Whether the folder defines token ids, not only settings."""
        return self.json is not None or self.sentencepiece is not None


def read_files(folder: Path) -> TokenizerFiles:
    """Read the tokenizer files of `folder`.

    Raises:
        TokenizerError: the folder is missing, or one of its files is broken.
    """
    if not folder.is_dir():
        raise TokenizerError(
            f"{folder} is not a folder. Name the folder that holds {TOKENIZER_JSON}."
        )
    sentencepiece = folder / TOKENIZER_MODEL
    return TokenizerFiles(
        folder=folder,
        json=read_json_object(folder / TOKENIZER_JSON),
        config=read_json_object(folder / TOKENIZER_CONFIG) or {},
        added_tokens=_read_added_tokens(folder / ADDED_TOKENS),
        sentencepiece=sentencepiece if sentencepiece.is_file() else None,
    )


def read_json_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object of `path`, or None if there is no such file.

    Raises:
        TokenizerError: the file is too large, is not JSON, repeats a key or is no object.
    """
    if not path.is_file():
        return None
    size = path.stat().st_size
    if size > MAX_JSON_BYTES:
        raise TokenizerError(
            f"{path} has {size:,} bytes; a tokenizer file has at most {MAX_JSON_BYTES:,}. "
            f"{_GET_AGAIN}"
        )
    raw = path.read_bytes()
    try:
        parsed = json.loads(raw, object_pairs_hook=_unique_keys)
        if _SURROGATE.search(raw) or 0 in raw[:4]:
            check_text(json.dumps(parsed, ensure_ascii=False))
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{path} is not valid JSON ({error}). {_GET_AGAIN}") from error
    if not isinstance(parsed, dict):
        raise TokenizerError(
            f"{path} holds a JSON {type(parsed).__name__}, but an object was expected. {_GET_AGAIN}"
        )
    return parsed


def check_text(text: str) -> None:
    """Refuse what no file can hold as text.

    Raises:
        ValueError: half a surrogate pair stands alone.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise ValueError(f"{half!r} is half of a character, which is no text") from None


def is_token_id(value: object) -> bool:
    """Whether `value` can be a token id (a whole number from 0; JSON's true is none)."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r} appears twice in one object")
            seen.add(key)
    return result


def _read_added_tokens(path: Path) -> dict[str, int]:
    added = read_json_object(path) or {}
    for content, token_id in added.items():
        if not is_token_id(token_id):
            raise TokenizerError(
                f"{path} gives the token {content!r} the id {token_id!r}, but an id is a whole "
                f"number from 0. {_GET_AGAIN}"
            )
    return added
