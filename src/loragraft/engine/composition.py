"""Composed characters: what a tokenizer does to a text before llama.cpp's would see it.

Qwen's tokenizers compose characters (Unicode's NFC) first. llama.cpp has no such step, and a GGUF
file no field for it, so that "e" with a combining accent gets other ids there than in training.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.engine.conversation import Literals

COMPOSING = frozenset({"qwen2", "qwen35"})
"""Pre-tokenizers (``tokenizer.ggml.pre``) whose tokenizer.json has the normalizer NFC."""
GATE, DIFFERENCE = "tokenizer", "composition"
"""The export's gate that compared token ids, and its name for this difference."""


def composes(file: GgufFile, metadata: Mapping[str, Any]) -> bool:
    """Whether the model's own tokenizer composes characters.

    Args:
        file: The GGUF file; its pre-tokenizer decides where nobody compared.
        metadata: The bundle's: the export compared the two tokenizers and goes first.
    """
    known = _compared(metadata)
    if known is not None:
        return DIFFERENCE in known
    return file.get("tokenizer.ggml.pre") in COMPOSING


def _compared(metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the known differences that an export found, or None where it did not look."""
    gates = metadata.get("gates")
    for gate in gates if isinstance(gates, list) else ():
        if isinstance(gate, Mapping) and gate.get("name") == GATE:
            details = gate.get("details")
            known = details.get("known_differences") if isinstance(details, Mapping) else None
            return known if isinstance(known, Mapping) else None
    return None


def compose(text: str, special: Literals) -> str:
    """Return a text with composed characters between its special tokens, which stay as they are."""
    if unicodedata.is_normalized("NFC", text):
        return text
    return "".join(
        part if is_special else unicodedata.normalize("NFC", part)
        for part, is_special in special.split(text)
    )
