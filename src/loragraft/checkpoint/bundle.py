"""A model on this disk that llama.cpp can serve: a bundle's folder, or a bare GGUF file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loragraft.artifact.checksums import CHECKSUMS_NAME, check_checksums, read_checksums
from loragraft.artifact.metadata import METADATA_NAME, read_metadata
from loragraft.artifact.names import check_name
from loragraft.errors import BundleError, InputError

GGUF_SUFFIX = ".gguf"


@dataclass(frozen=True)
class LocalModel:
    """One GGUF file, and the bundle around it if there is one.

    Attributes:
        gguf: The file.
        name: What a person calls it.
        folder: The bundle's folder; None for a bare file.
        metadata: The bundle's ``EXPERIMENT_METADATA.json``; empty for a bare file.
        digests: SHA256 by file name, from the bundle's ``checksums.txt``.
    """

    gguf: Path
    name: str
    folder: Path | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end an answer, as the export found them in the checkpoint."""
        listed = self.metadata.get("stops")
        return tuple(filter(_is_text, listed)) if isinstance(listed, list) else ()


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def open_model(path: Path, quant: str | None = None) -> LocalModel:
    """Return the model that a path names; nothing is hashed and no tensor is read.

    Args:
        path: A bundle's folder, or a GGUF file.
        quant: Which of a bundle's files, such as Q4_K_M; the first that was exported if None.

    Raises:
        BundleError: If it is neither, or the bundle has no such file.
    """
    try:
        folder, there = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        raise BundleError(f"{str(path)[:200]!r} is no path: {error}.") from None
    if folder:
        return _open_bundle(path, quant)
    if not there:
        raise BundleError(
            f"{path} is not there. Give a bundle's folder or a .gguf file; loragraft export "
            "merge-and-quantize makes one."
        )
    if path.suffix.lower() != GGUF_SUFFIX:
        raise BundleError(f"{path} is neither a bundle's folder nor a .gguf file.")
    return LocalModel(path, path.stem)


def check_model(model: LocalModel, on_bytes: Callable[[int], object] | None = None) -> None:
    """Compare a bundle with its checksums; a bare file has none.

    Args:
        model: As :func:`open_model` gives it.
        on_bytes: Called with the number of bytes of each block read.

    Raises:
        BundleError: If a file is missing, altered, unreadable or not listed, each by its name.
    """
    if model.folder is None:
        return
    problems = check_checksums(model.folder, on_bytes)
    if problems:
        raise BundleError(
            f"{model.folder} is not what {CHECKSUMS_NAME} says: "
            + " ".join(problem.message for problem in problems)
            + " Export it again, or fetch it from its source."
        )


def _open_bundle(folder: Path, quant: str | None) -> LocalModel:
    if not (folder / METADATA_NAME).exists() and not (folder / CHECKSUMS_NAME).exists():
        raise BundleError(
            f"{folder} is not a bundle: it holds no {METADATA_NAME} and no {CHECKSUMS_NAME}. "
            f"{_what_else(folder)}"
        )
    metadata, digests = read_metadata(folder), read_checksums(folder)
    names = _listed_files(metadata, digests)
    if not names:
        raise BundleError(f"{folder} lists no GGUF file. {_what_else(folder)}")
    chosen = _choose(folder, names, quant)
    return LocalModel(
        gguf=folder / chosen,
        name=_name(metadata.get("name"), folder),
        folder=folder,
        metadata=metadata,
        digests=digests,
    )


def _name(says: object, folder: Path) -> str:
    """Return a bundle's own name, or its folder's where that is no name: it may be from anyone."""
    try:
        return check_name(says) if isinstance(says, str) else folder.resolve().name
    except InputError:
        return folder.resolve().name


def _listed_files(metadata: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, str]:
    """Return GGUF names of a bundle with their quantizations, in the order of the export.

    Only files of the checksum list count: it was made with the bundle, and names that lead out
    of the folder are refused there.
    """
    listed = metadata.get("files")
    names: dict[str, str] = {}
    for entry in listed if isinstance(listed, list) else []:
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if isinstance(name, str) and name in digests:
            quant = entry.get("quant")
            names[name] = quant if isinstance(quant, str) else ""
    if not names:
        names = {name: "" for name in digests if name.lower().endswith(GGUF_SUFFIX)}
    return names


def _choose(folder: Path, names: Mapping[str, str], quant: str | None) -> str:
    if quant is None:
        chosen = next(iter(names))
    else:
        found = [name for name, has in names.items() if has.upper() == quant.upper()]
        if not found:
            known = ", ".join(filter(None, names.values())) or ", ".join(names)
            raise BundleError(
                f"{folder} holds no {quant}, but {known}. Choose one of these, or export it again "
                "with --quant."
            )
        chosen = found[0]
    if not (folder / chosen).is_file():
        raise BundleError(f"{folder / chosen} is listed but not there. Export it again.")
    return chosen


def _what_else(folder: Path) -> str:
    """Say what a folder seems to be instead of a bundle."""
    kinds: Sequence[tuple[str, str]] = (
        ("adapter_config.json", "It is an adapter: loragraft export merge-and-quantize takes it."),
        ("config.json", "It is a checkpoint: loragraft export merge-and-quantize takes it."),
    )
    for name, words in kinds:
        if (folder / name).exists():
            return words
    found = sorted(path.name for path in folder.glob(f"*{GGUF_SUFFIX}"))
    if found:
        return f"Give the file itself: {folder / found[0]}."
    return "loragraft export merge-and-quantize makes bundles."
