"""What names an embedder on a command line."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urlsplit

from loragraft.embedding.spec import EmbedderSpec
from loragraft.errors import InputError

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
    model = urlsplit(text).fragment
    if not model:
        raise InputError(f"{text} names no model. Write it behind a #, as in {EXAMPLE}.")
    return replace(spec, name=model, kind="openai", url=text.partition("#")[0])
