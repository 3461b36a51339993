"""The name inside a GGUF file, on which llama.cpp's tokenizer depends for Phi-3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loragraft.export.tokenizer.files import TOKENIZER_CONFIG, TOKENIZER_JSON, read_json_object

PHI3 = "phi3"
PHI3_MARKS = ("phi-3", "phi3")
"""llama.cpp lets special tokens swallow the white space after them only where ``general.name``
contains one of these (llama-vocab.cpp, "set attributes by model/tokenizer/architecture name")."""


def exported_name(name: str, architecture: str, tokenizer: Path) -> str:
    """Return ``general.name`` for a model, such that llama.cpp tokenizes as the training did.

    Args:
        name: What the user calls it.
        architecture: GGUF's, such as "llama".
        tokenizer: Folder of the tokenizer.

    Raises:
        TokenizerError: If a tokenizer file is broken.
    """
    marked = any(mark in name.lower() for mark in PHI3_MARKS)
    if architecture != PHI3 or marked or not _swallows_space(tokenizer):
        return name
    return f"{name} (Phi-3)"


def _swallows_space(folder: Path) -> bool:
    """Whether special tokens take the white space after them."""
    entries: list[Any] = []
    tokenizer = read_json_object(folder / TOKENIZER_JSON) or {}
    if isinstance(tokenizer.get("added_tokens"), list):
        entries += tokenizer["added_tokens"]
    decoder = (read_json_object(folder / TOKENIZER_CONFIG) or {}).get("added_tokens_decoder")
    if not entries and isinstance(decoder, Mapping):
        entries += decoder.values()
    return any(isinstance(entry, Mapping) and entry.get("rstrip") is True for entry in entries)
