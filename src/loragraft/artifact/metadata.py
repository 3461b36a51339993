"""``EXPERIMENT_METADATA.json``: what a folder holds, where it came from, how it was checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from pathlib import Path, PurePath
from typing import Any

from loragraft.artifact.files import write_atomically
from loragraft.errors import BundleError

METADATA_NAME = "EXPERIMENT_METADATA.json"

SCHEMA_VERSION = 1
"""Raised when a reader of the old form would misunderstand the new one."""


def plain(value: object) -> Any:  # noqa: ANN401 - JSON is what it is
    """Turn a value into what JSON can hold, exactly and portably.

    Paths become strings, dataclasses objects, numpy scalars numbers. NaN and the infinities
    become the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``: JSON has no such numbers,
    and a gate that measured one must not lose it.

    Raises:
        TypeError: If a value has no such form.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else json.dumps(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=str)
    return _plain_object(value)


def _plain_object(value: object) -> Any:  # noqa: ANN401
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    item = getattr(value, "item", None)
    if callable(item) and not hasattr(value, "__len__"):
        return plain(item())
    raise TypeError(f"{type(value).__name__} has no place in {METADATA_NAME}.")


def write_metadata(folder: Path, metadata: Mapping[str, Any]) -> Path:
    """Write a folder's metadata, whole or not at all, with the schema's version first.

    Returns:
        The path of the file.
    """
    path = folder / METADATA_NAME
    body = plain({"schema_version": SCHEMA_VERSION, **metadata})
    text = json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # Names of files may hold bytes that are no UTF-8; JSON then spells them as escapes.
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        data = (json.dumps(body, indent=2, allow_nan=False) + "\n").encode("ascii")
    write_atomically(path, data)
    return path


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read a folder's metadata.

    Raises:
        BundleError: If it is missing, broken or of a newer schema than this version reads.
    """
    path = folder / METADATA_NAME
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read ({error.strerror}): {folder} is not a bundle."
        ) from None
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, a number too long
        raise BundleError(f"{path} is not readable as JSON: {error}.") from None
    version = value.get("schema_version") if isinstance(value, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise BundleError(f"{path} has no 'schema_version': it was not written by loragraft.")
    if version > SCHEMA_VERSION:
        raise BundleError(
            f"{path} has schema version {str(version)[:40]}; this loragraft "
            f"reads up to {SCHEMA_VERSION}. Upgrade loragraft."
        )
    assert isinstance(value, dict)
    return value
