"""A promotion told in the metadata of the folders that it concerns."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from loragraft.artifact.checksums import CHECKSUMS_NAME
from loragraft.artifact.metadata import METADATA_NAME, read_metadata, write_metadata
from loragraft.errors import LoragraftError

KEY, HISTORY = "evaluation", "history"
SIGNATURES = (".asc", ".sig", ".minisig", ".sigstore", ".sigstore.json")
"""Ends of names of what vouches for a file: one that is changed is no longer vouched for."""


def tell_folders(
    folders: Iterable[Path], values: Mapping[str, Any]
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Write a promotion into ``EXPERIMENT_METADATA.json``, under ``evaluation``.

    The promotion that stood there becomes the first of its ``history``; ``checksums.txt`` is kept
    true. The same promotion again changes nothing.

    Returns:
        The folders that tell of it now, and why others do not, as sentences.
    """
    told: list[Path] = []
    notes: list[str] = []
    for folder in folders:
        reason = _unfit(folder)
        try:
            if not reason:
                _tell(folder, values)
        except LoragraftError as error:
            reason = str(error)
        except OSError as error:
            reason = f"it cannot be written: {error.strerror}"
        if reason:
            notes.append(f"{folder / METADATA_NAME} does not tell of the promotion: {reason}")
        else:
            told.append(folder)
    return tuple(told), tuple(notes)


def _unfit(folder: Path) -> str:
    """Return why a folder is left alone; empty where it need not be."""
    if not (folder / METADATA_NAME).exists():
        return "there is no such file."
    for name in (METADATA_NAME, CHECKSUMS_NAME):
        signed = [end for end in SIGNATURES if (folder / f"{name}{end}").exists()]
        if signed:
            return f"{name}{signed[0]} signs what would be changed."
    return ""


def _tell(folder: Path, values: Mapping[str, Any]) -> None:
    from loragraft.ollama.bundle_files import update_files

    def content() -> Mapping[str, bytes]:
        return {METADATA_NAME: _bytes(_with(read_metadata(folder), values))}

    if (folder / CHECKSUMS_NAME).exists():
        update_files(folder, content)
    elif (found := content()[METADATA_NAME]) != (folder / METADATA_NAME).read_bytes():
        from loragraft.artifact.files import write_atomically

        write_atomically(folder / METADATA_NAME, found)


def _with(metadata: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata that tells of a promotion."""
    old = metadata.get(KEY)
    if not isinstance(old, dict):
        return {**metadata, KEY: {**values, HISTORY: []}}
    before = {key: value for key, value in old.items() if key != HISTORY}
    if _undated(before) == _undated(values):
        return metadata
    listed = old.get(HISTORY)
    earlier = listed if isinstance(listed, list) else []
    return {**metadata, KEY: {**values, HISTORY: [before, *earlier]}}


def _undated(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != "date"}


def _bytes(metadata: Mapping[str, Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_metadata(Path(folder), metadata).read_bytes()
