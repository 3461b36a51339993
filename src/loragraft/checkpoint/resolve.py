"""From what a user names, a path or a Hub repository, to a folder on this disk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loragraft.checkpoint.bases import full_precision_name
from loragraft.checkpoint.hub import explain_hub, is_network_error
from loragraft.errors import CheckpointError, InputError

_REPOSITORY = re.compile(r"(?P<id>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+))?")

BASE_PATTERNS = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "*.txt")
"""What a checkpoint consists of; pickles, GGUF files and ONNX exports are left where they are."""
ADAPTER_PATTERNS = ("adapter*", "*.json", "*.jinja", "tokenizer.model", "checkpoint-*/adapter*")
_OTHER_WEIGHTS = (".bin", ".gguf", ".pt", ".pth", ".onnx", ".msgpack", ".h5")
_LISTED = 4
_NOT_HERE = "is no folder here, not in the Hub's cache, and could not be downloaded"
_SHOWN = 200
"""Characters of a name that a message repeats: an adapter's claim may be of any length."""


@dataclass(frozen=True)
class Resolved:
    """A folder, the Hub's name for it if it has one, and what was decided on the way."""

    folder: Path
    repository: str | None = None
    notes: tuple[str, ...] = ()


def existing_path(text: str) -> Path | None:
    """Return the path that a text names, where something is there."""
    try:
        path = Path(text).expanduser()
        return path if path.exists() else None
    except RuntimeError:  # ~name of a user who is not there, or whose home is unknown
        return None
    except (OSError, ValueError):  # too long a name, no right to look, a NUL
        return None


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def looks_like_repository(text: str) -> bool:
    """Whether a text that is no existing path could name a Hub repository."""
    return _REPOSITORY.fullmatch(text) is not None and not text.startswith((".", "/", "~"))


def resolve_folder(text: str, patterns: Sequence[str], what: str) -> Resolved:
    """Return the folder of a path or of a Hub repository, downloading what is missing.

    Args:
        text: An existing path, or ``owner/name`` with ``@revision`` if wanted.
        patterns: Files that are wanted of a repository.
        what: What is looked for, for messages.

    Raises:
        InputError: If it is neither.
        UnavailableError: If the Hub cannot be reached or refuses.
    """
    path = existing_path(text)
    if path is not None:
        return Resolved(path)
    match = _REPOSITORY.fullmatch(text)
    if match is None or not looks_like_repository(text):
        raise InputError(
            f"{_shown(text)} does not exist, and it is no repository name either (owner/name). "
            f"Give the path of {what}, or its name on the Hugging Face Hub."
        )
    folder = _snapshot(match["id"], match["revision"], patterns)
    return Resolved(folder, match["id"], (f"{text} is read from {folder}",))


def _snapshot(repository: str, revision: str | None, patterns: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download

    with explain_hub(repository, _NOT_HERE):
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))


def resolve_checkpoint(text: str) -> Resolved:
    """Return a base checkpoint's folder; a quantized repository leads to the full-precision one.

    Raises:
        InputError: If nothing of that name exists.
        UnavailableError: If it would have to be downloaded and cannot be.
    """
    name, _, revision = text.partition("@")
    full = None if existing_path(text) is not None else full_precision_name(name)
    if full is None:
        found = resolve_folder(text, BASE_PATTERNS, "a base checkpoint")
        _require_weights(found)
        return found
    original, reason = full
    found = resolve_folder(original, BASE_PATTERNS, "a base checkpoint")
    _require_weights(found)
    note = f"{reason} of {original}, which is taken as base"
    if revision:
        note += f" at its default revision: {revision} is one of {name} alone"
    return Resolved(found.folder, found.repository, (note, *found.notes))


def _require_weights(found: Resolved) -> None:
    """Refuse a repository without safetensors by what it holds instead.

    Raises:
        CheckpointError: If none of the files that were fetched holds weights.
    """
    if found.repository is None or any(found.folder.glob("*.safetensors")):
        return
    others = _weights_elsewhere(found.repository)
    holds = f"It holds {', '.join(others)}" if others else "It holds no weights that are read here"
    raise CheckpointError(
        f"{found.repository} has no safetensors files. {holds}. Look for a revision or another "
        "repository with safetensors, or convert it with transformers' save_pretrained, and give "
        "that folder."
    )


def _weights_elsewhere(repository: str) -> list[str]:
    """List a repository's weights in other formats; empty where the Hub does not answer."""
    from huggingface_hub import HfApi

    try:
        files = HfApi().list_repo_files(repository)
    except Exception as error:
        if not is_network_error(error):
            raise
        return []
    return sorted(name for name in files if name.endswith(_OTHER_WEIGHTS))[:_LISTED]


def resolve_adapter(text: str) -> Resolved:
    """Return an adapter's path or folder."""
    return resolve_folder(text, ADAPTER_PATTERNS, "an adapter")


def resolve_claim(claim: str | None, adapter: Path, revision: str | None = None) -> Resolved:
    """Return the base that an adapter names.

    Args:
        claim: Its name for the base.
        adapter: The adapter, for messages.
        revision: The base's version that it was trained on, where it names one.

    Raises:
        CheckpointError: If it names none, or one that is not to be had.
    """
    if not claim:
        raise CheckpointError(
            f"{adapter} does not say which base it was trained on. Give the base before it."
        )
    if revision and looks_like_repository(f"{claim}@{revision}") and existing_path(claim) is None:
        claim = f"{claim}@{revision}"
    try:
        found = resolve_checkpoint(claim)
    except InputError as error:
        raise CheckpointError(
            f"{adapter} says it was trained on {_shown(claim)}, which cannot be found: {error} "
            "Give the base before the adapter."
        ) from None
    note = f"the base {claim} is the adapter's own claim"
    return Resolved(found.folder, found.repository, (note, *found.notes))
