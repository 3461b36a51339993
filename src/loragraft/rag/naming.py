"""What names an embedder on a command line."""

from __future__ import annotations

import os
import re
from dataclasses import replace

from loragraft.embedding.spec import EmbedderSpec
from loragraft.errors import InputError
from loragraft.rag.corpus.find import shown

_URL = re.compile(r"https?://", re.IGNORECASE)
EXAMPLE = "http://127.0.0.1:8080/v1#nomic-embed-text"
"""How an endpoint as OpenAI's is named: the API's base, then the model behind a #."""


def name_embedder(
    text: str | None, adapter: str | None = None, base: EmbedderSpec | None = None
) -> EmbedderSpec:
    """Return the embedder that a text names.

    Args:
        text: A folder, a model's name, ``ollama:MODEL``, or ``URL#MODEL`` of an endpoint; None
            leaves it as it is.
        adapter: A LoRA adapter; None leaves it as it is.
        base: What else is known of the embedder, such as its prompts.

    Raises:
        InputError: If a URL comes without a model.
    """
    spec = base or EmbedderSpec()
    if adapter is not None:
        spec = replace(spec, adapter=adapter)
    if text is None:
        return spec
    if not _URL.match(text):
        if ":" in text:  # of another kind, so elsewhere too
            spec = replace(spec, kind="auto", url=None)
        return replace(spec, name=text)
    model = text.partition("#")[2]
    if not model:
        raise InputError(f"{text} names no model. Write it behind a #, as in {EXAMPLE}.")
    return replace(spec, name=model, kind="openai", url=text.partition("#")[0])


def name_stored(
    stored: EmbedderSpec, text: str | None = None, adapter: str | None = None
) -> EmbedderSpec:
    """Return the embedder of an index, or where it is now.

    Args:
        stored: What the index remembers of it.
        text: Its new place; None where it did not move.
        adapter: The new place of its adapter; None likewise.

    Raises:
        InputError: If it moved, and no new place is named.
    """
    spec = name_embedder(text, adapter, stored)
    if text is None and _moved(spec.name):
        raise InputError(
            f"{shown(spec.name)}, the embedder that made the index, is there no more. Say where "
            "it is now: --embedder FOLDER."
        )
    if adapter is None and spec.adapter is not None and _moved(spec.adapter):
        raise InputError(
            f"{shown(spec.adapter)}, the adapter of the embedder that made the index, is there no "
            "more. Say where it is now: --embedder-adapter FOLDER."
        )
    return spec


def _moved(name: str) -> bool:
    """Whether a name is the path of something that is not there any more."""
    return os.path.isabs(name) and not os.path.lexists(name)
