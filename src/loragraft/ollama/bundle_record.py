"""What a bundle's metadata says of its registrations."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loragraft.artifact.metadata import METADATA_NAME, read_metadata, write_metadata
from loragraft.checkpoint.bundle import LocalModel
from loragraft.errors import LoragraftError
from loragraft.ollama.bundle_files import update_files
from loragraft.ollama.proof import Proof
from loragraft.ollama.record import Registered

KEY = "ollama"


def write_into_bundle(model: LocalModel, entry: Registered, proof: Proof) -> tuple[str, ...]:
    """Note in the bundle which layer the server made of its file, and what was proven.

    Returns:
        A note where the bundle cannot be written to; the registration holds all the same.
    """
    if model.folder is None:
        return ()
    kept = {key: value for key, value in vars(entry).items() if key != "bundle"}
    value = {
        **kept,
        "proof": {
            check.name: {"verdict": check.verdict, "measured": check.measured}
            for check in proof.checks
        },
    }
    return _change(model.folder, entry, value)


def remove_from_bundle(folder: Path, entry: Registered) -> tuple[str, ...]:
    """Forget a registration in a bundle's metadata; a bundle that is gone needs nothing."""
    return _change(folder, entry, None) if folder.is_dir() else ()


def _change(folder: Path, entry: Registered, value: Mapping[str, Any] | None) -> tuple[str, ...]:
    def content() -> Mapping[str, bytes]:
        metadata = read_metadata(folder)
        listed = metadata.get(KEY)
        others = [
            item
            for item in (listed if isinstance(listed, list) else [])
            if not (isinstance(item, dict) and _same(item, entry))
        ]
        metadata[KEY] = [*others, value] if value is not None else others
        return {METADATA_NAME: _bytes(metadata)}

    try:
        update_files(folder, content)
    except LoragraftError as error:
        return (f"The bundle's metadata does not tell of it: {error}",)
    return ()


def _same(item: Mapping[str, Any], entry: Registered) -> bool:
    return (item.get("url"), str(item.get("tag")).lower()) == (entry.url, entry.tag.lower())


def _bytes(metadata: Mapping[str, Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_metadata(Path(folder), metadata).read_bytes()
