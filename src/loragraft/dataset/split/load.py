"""A split read back: files that are what their manifest says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft.artifact.hashing import sha256_file
from loragraft.dataset.records import TaskRecord, read_records
from loragraft.dataset.split.form import check_form
from loragraft.dataset.split.manifest import (
    SCHEMA_VERSION,
    SUFFIX,
    check_tag,
    file_name,
    manifest_path,
)
from loragraft.dataset.split.rounding import SPLITS
from loragraft.errors import InputError

DEFAULT_FOLDER = Path("evaluation/datasets/splits")
LARGEST_MANIFEST = 512 * 1024 * 1024
"""Bytes. A stratum or a record of the test set takes some 150."""


@dataclass(frozen=True)
class LoadedSplit:
    """A split whose files are those that its manifest names.

    Attributes:
        path: The manifest's.
        manifest: Its content.
        files: Of train, val and test, or of those that were asked for.
    """

    path: Path
    manifest: Mapping[str, Any]
    files: Mapping[str, Path]

    @property
    def tag(self) -> str:
        """Return its name."""
        return str(self.manifest["tag"])

    @property
    def seed(self) -> int:
        """Return the seed that decided it."""
        return int(self.manifest["seed"])

    def records(self, name: str) -> Iterator[TaskRecord]:
        """Yield the records of train, val or test."""
        return read_records(self.files[name])

    def seen_in_training(self) -> dict[str, bool | None]:
        """Tell of each test record whether train holds its paper; None for no paper."""
        return {r["id"]: r["paper_seen_in_training"] for r in self.manifest["test_records"]}


def find_split(
    name: str, folder: Path = DEFAULT_FOLDER, parts: Sequence[str] = SPLITS
) -> LoadedSplit:
    """Load a split by its tag, or by the path of its manifest.

    Args:
        name: Tag or path.
        folder: Where a tag's manifest is.
        parts: Of train, val and test those that are wanted; no other file is opened.

    Raises:
        InputError: As :func:`load_split`.
    """
    if name.endswith(SUFFIX) and Path(name).name != SUFFIX:
        path = Path(name)
        return load_split(path.parent, path.name.removesuffix(SUFFIX), parts)
    return load_split(folder, name, parts)


def load_split(folder: Path, tag: str, parts: Sequence[str] = SPLITS) -> LoadedSplit:
    """Load a split and compare its files with their hashes.

    Args:
        folder: Where the manifest and the files are.
        tag: The split's name.
        parts: As in :func:`find_split`: training opens no test file, which need not be there.

    Raises:
        InputError: If there is none, it is of a newer schema, or a file is not what it was.
    """
    path = manifest_path(folder, check_tag(tag))
    manifest = read_manifest(path)
    if manifest["tag"] != tag:
        raise InputError(f"{path} is the manifest of {repr(manifest['tag'])[:40]}; it was renamed.")
    files = {name: folder / file_name(tag, name) for name in parts}
    for name, file in files.items():
        problem = _compare(file, manifest["files"][name])
        if problem:
            raise InputError(
                f"{file} {problem}. A write was interrupted, or the file was changed: make the "
                "split again by dataset split with --replace."
            )
    return LoadedSplit(path, manifest, files)


def _compare(file: Path, told: Mapping[str, Any]) -> str:
    if told["name"] != file.name:
        return f"is called {told['name']!r} in its manifest"
    try:
        digest = sha256_file(file)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if digest == told["sha256"] else "is not the file that its manifest names"


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest and check its form.

    Raises:
        InputError: If it cannot be read or is none.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_MANIFEST + 1)
        value = json.loads(data) if len(data) <= LARGEST_MANIFEST else None
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist; expected a manifest that dataset split wrote. Make the split "
            f"(loragraft dataset split RECORDS --tag {path.name.removesuffix(SUFFIX)}), or name "
            "another tag, and the folder where that is not the usual one."
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path} is no JSON; expected a manifest of dataset split.") from None
    version = value.get("schema_version") if isinstance(value, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InputError(
            f"{path} has schema version {str(version)[:40]}; this loragraft "
            f"reads up to {SCHEMA_VERSION}. Upgrade loragraft."
        )
    check_form(path, value)
    assert isinstance(value, dict)
    return value
