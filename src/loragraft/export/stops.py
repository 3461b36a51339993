"""Which tokens end an answer of an exported model."""

from __future__ import annotations

from pathlib import Path

from loragraft.checkpoint.gguf_chat import read_chat_facts
from loragraft.checkpoint.turn_ends import StopTokens, stop_tokens
from loragraft.export.bundle import read_generation_config


def exported_stops(gguf: Path, checkpoint: Path) -> StopTokens:
    """Return the union of a finished file's end tokens and the checkpoint's own list.

    Args:
        gguf: The finished file, with the vocabulary and the chat template in it.
        checkpoint: Folder whose ``generation_config.json`` may list further end tokens.

    Raises:
        BundleError: If the file holds no vocabulary.
    """
    listed = read_generation_config(checkpoint).get("eos_token_id")
    wanted = listed if isinstance(listed, list) else [listed]
    return stop_tokens(read_chat_facts(gguf), [token for token in wanted if type(token) is int])
