"""From an embedder's name to the embedder."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from loragraft.adapter.embedder import is_embedder
from loragraft.embedding.finding import find_folder
from loragraft.embedding.protocol import Embedder
from loragraft.embedding.spec import EmbedderSpec, Kind
from loragraft.errors import InputError, UnsupportedError

_ENDPOINTS: tuple[Kind, ...] = ("ollama", "openai")
_SNAPSHOT = re.compile(r"models--(?P<owner>.+?)--(?P<name>.+)")


def open_embedder(spec: EmbedderSpec, on_note: Callable[[str], object] | None = None) -> Embedder:
    """Open an embedder; models are loaded with the first text that is embedded.

    Args:
        spec: Which.
        on_note: Told what is read, before anything is downloaded, and what an adapter changes.

    Raises:
        InputError: If it names nothing, or options that do not go together.
        UnsupportedError: If the folder holds no embedder.
        MissingExtraError: If a package that it needs is not installed.
        UnavailableError: If it is not here and the Hub or the endpoint cannot be reached.
    """
    spec = _normal(spec)
    if spec.adapter is not None and spec.kind in (*_ENDPOINTS, "model2vec"):
        raise InputError(
            f"An adapter goes onto a SentenceTransformer; {spec.name} is of the kind {spec.kind}. "
            "Leave the adapter out, or give its base model."
        )
    if spec.kind == "ollama":
        from loragraft.embedding.ollama import OllamaEmbedder

        return OllamaEmbedder(spec)
    if spec.kind == "openai":
        from loragraft.embedding.openai import OpenAIEmbedder

        return OpenAIEmbedder(spec)
    return _open_folder(spec, find_folder(spec.name, on_note), on_note)


def _normal(spec: EmbedderSpec) -> EmbedderSpec:
    """Take the kind out of a name such as ``ollama:nomic-embed-text``."""
    kind, separator, name = spec.name.partition(":")
    if spec.kind == "auto" and separator and name:
        for known in _ENDPOINTS:
            if kind == known:
                return replace(spec, kind=known, name=name)
    if not spec.name.strip():
        raise InputError("The embedder has no name. Give a folder or a model's name.")
    return spec


def _open_folder(
    spec: EmbedderSpec, folder: Path, on_note: Callable[[str], object] | None
) -> Embedder:
    from loragraft.embedding.static import StaticEmbedder, is_static

    if not folder.is_dir():
        raise InputError(f"{folder} is no folder. Give the folder of an embedder.")
    name = shown_name(spec.name, folder)
    if spec.kind == "model2vec" or (spec.kind == "auto" and is_static(folder)):
        if spec.adapter is not None:
            raise InputError(f"{name} is a static model: no adapter goes onto it. Leave it out.")
        return StaticEmbedder(folder, name)
    if not is_embedder(folder):
        raise UnsupportedError(
            f"{folder} holds no embedder: neither a SentenceTransformer (modules.json) nor a "
            "model2vec one. SentenceTransformer(folder).save_pretrained makes the first from a "
            "bare encoder."
        )
    from loragraft.embedding.sentence_transformer import SentenceTransformerEmbedder

    return SentenceTransformerEmbedder(folder, spec, name, on_note)


def shown_name(name: str, folder: Path) -> str:
    """Return what a person calls a model: no path of this machine."""
    path = Path(name)
    if not (path.is_absolute() or name.startswith((".", "~"))) and not path.exists():
        return name
    for part in folder.absolute().parts:
        match = _SNAPSHOT.fullmatch(part)
        if match:
            return f"{match['owner']}/{match['name']}"
    return folder.absolute().name
