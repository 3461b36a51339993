"""From what a user names to the engine that answers: a bundle, a GGUF file or an Ollama tag."""

from __future__ import annotations

import os
from dataclasses import dataclass

from loragraft.checkpoint.bundle import GGUF_SUFFIX, open_model
from loragraft.checkpoint.resolve import existing_path
from loragraft.engine.protocol import ChatEngine
from loragraft.errors import BundleError, InputError, LoragraftError, UnavailableError

EMBEDDED = (
    "Without a server, give a bundle's folder or a .gguf file: it is answered in this process."
)


@dataclass(frozen=True)
class Opening:
    """How models are opened.

    Attributes:
        ollama: Whether names are always those of an Ollama server.
        quant: Which of a bundle's files.
        context: Tokens; None for the model's own.
        threads: Of the embedded engine; 0 for all cores.
        gpu_layers: Of the embedded engine; None for all, where there is a GPU.
    """

    ollama: bool = False
    quant: str | None = None
    context: int | None = None
    threads: int = 0
    gpu_layers: int | None = None


def open_target(target: str, opening: Opening) -> ChatEngine:
    """Return the engine of a target; a path that exists goes before an Ollama tag.

    Raises:
        LoragraftError: If it is neither, or cannot be loaded or reached.
    """
    path = existing_path(target)
    if opening.ollama or (path is None and not looks_like_path(target)):
        return _open_tag(target, opening)
    if path is None:
        raise BundleError(
            f"{target} is not there. Give a bundle's folder, a .gguf file, or the tag of a model "
            "in Ollama."
        )
    from loragraft.engine.llama import LlamaEngine

    return LlamaEngine(
        open_model(path, opening.quant),
        context=opening.context,
        threads=opening.threads,
        literal=True,
        gpu_layers=opening.gpu_layers,
    )


def looks_like_path(target: str) -> bool:
    """Whether a text that names nothing on this disk was meant as a path all the same."""
    return (
        not target.strip()
        or target.lower().endswith(GGUF_SUFFIX)
        or target.startswith((".", "/", "~", os.sep))
        or target.endswith(("/", os.sep))
    )


def _open_tag(tag: str, opening: Opening) -> ChatEngine:
    from loragraft.engine.ollama import OllamaEngine

    if opening.quant is not None:
        raise InputError(
            f"--quant chooses a file of a bundle; {tag} is the tag of a model in Ollama."
        )
    try:
        return OllamaEngine(tag, context=opening.context)
    except UnavailableError as error:
        why = "" if opening.ollama else f"{tag} is no path here, so it was looked for in Ollama. "
        raise UnavailableError(f"{why}{error}") from error


def open_all(targets: list[str], opening: Opening) -> list[ChatEngine]:
    """Open several; if one cannot be opened, the others are closed.

    Raises:
        LoragraftError: What kept one from being opened.
    """
    engines: list[ChatEngine] = []
    try:
        for target in targets:
            engines.append(open_target(target, opening))
    except (LoragraftError, KeyboardInterrupt):
        for engine in engines:
            engine.close()
        raise
    return engines
