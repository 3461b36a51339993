"""Open an adapter that may be broken: what is wrong becomes a finding, the rest stays usable."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loragraft.adapter.findings import Finding, Severity, failed, passed, warned
from loragraft.adapter.locate import (
    CONFIG_NAME,
    PICKLE_NAMES,
    WEIGHT_NAMES,
    AdapterLocation,
    locate_adapter,
    read_config,
)
from loragraft.adapter.pickled import SUFFIXES, convert_pickle
from loragraft.adapter.reader import Adapter, open_adapter
from loragraft.checkpoint.safetensors import read_header
from loragraft.errors import AdapterError, CheckpointError, InputError, UnsupportedError

MAX_HEADER_BYTES = 24 << 20
"""A mixture of 128 experts with a pair on each has some 12 MB; parsed, 24 take half a gigabyte."""

_EXPECTED = {
    "file.config": "an adapter_config.json that PEFT can read",
    "file.header": "a whole safetensors file",
    "file.format": "a LoRA adapter of PEFT or MLX",
    "file.missing": "one adapter",
    "file.pickle": "safetensors",
}


@dataclass(frozen=True)
class Opening:
    """What could be opened.

    Attributes:
        folder: The folder of the adapter's files.
        config: Its configuration as it stands; empty where it cannot be read.
        adapter: The adapter, where all of it can be read.
        findings: What was wrong on the way.
    """

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    adapter: Adapter | None = None
    findings: tuple[Finding, ...] = ()


def open_to_verify(path: Path, stack: ExitStack, *, allow_pickle: bool = False) -> Opening:
    """Open what can be opened.

    Args:
        path: What the user points at; it exists.
        stack: Closes the adapter, and removes what was made to read it.
        allow_pickle: Whether a pickle may be read, in the way of :mod:`.pickled`.

    Raises:
        MissingExtraError: If a pickle is to be read and torch is not installed.
    """
    try:
        location = locate_adapter(path)
    except UnsupportedError as error:
        pickle = _find_pickle(path)
        if pickle is None:
            return _broken(_folder(path), "file.format", error)
        return _open_pickle(pickle, error, stack, allow_pickle=allow_pickle)
    except AdapterError as error:
        return _not_located(path, error)
    return _open_located(path, location, stack)


def finding_of(code: str, error: Exception, expected: str) -> Finding:
    """Return an error of ours as a failed finding: its first sentence, then what to do."""
    first, _, rest = f"{error}".partition(". ")
    return failed(code, first.rstrip("."), expected, rest or "Fetch it again from its source.")


def _broken(folder: Path, code: str, error: Exception, *more: Finding) -> Opening:
    finding = finding_of(code, error, _EXPECTED[code])
    return Opening(folder, _config(folder), None, (finding, *more))


def _config(folder: Path) -> dict[str, Any]:
    try:
        return read_config(folder / CONFIG_NAME)
    except InputError:
        return {}


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _not_located(path: Path, error: AdapterError) -> Opening:
    """Tell a broken configuration from a missing adapter; judge the weights in either case."""
    weights = _find_weights(path)
    if weights is None:
        return _broken(_folder(path), "file.missing", error)
    header = _judge_header(weights)
    more = [header] if header.severity is Severity.FAIL else []
    return _broken(weights.parent, "file.config", error, *more)


def _judge_header(weights: Path) -> Finding:
    """Say whether a file's header can be read and the file is whole."""
    try:
        with weights.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if MAX_HEADER_BYTES < length <= weights.stat().st_size:
            return failed(
                "file.header", f"a header of {length:,} bytes",
                f"{MAX_HEADER_BYTES:,} bytes at most: names and shapes of an adapter's tensors",
                "No training writes such a file. Do not load it.",
            )  # fmt: skip
        tensors, _ = read_header(weights)
    except (CheckpointError, OSError) as error:
        return finding_of("file.header", error, _EXPECTED["file.header"])
    return passed("file.header", f"{len(tensors)} tensors, the file is whole", "a whole file")


def _find_weights(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix.lower() == ".safetensors" else None
    return _first(path, WEIGHT_NAMES)


def _find_pickle(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix.lower() in SUFFIXES else None
    return _first(path, PICKLE_NAMES)


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Return the first file of these names, in the folder or one level below."""
    try:
        folders = [folder, *sorted(child for child in folder.iterdir() if child.is_dir())]
        return next((f / n for f in folders for n in names if (f / n).is_file()), None)
    except OSError:
        return None


def _open_located(path: Path, location: AdapterLocation, stack: ExitStack) -> Opening:
    header = _judge_header(location.weights)
    if header.severity is Severity.FAIL:
        return Opening(location.folder, _config(location.folder), None, (header,))
    try:
        adapter = stack.enter_context(open_adapter(path))
    except UnsupportedError as error:
        return _broken(location.folder, "file.format", error)
    except AdapterError as error:
        return _broken(location.folder, "file.config", error)
    notes = [passed("file.location", note.rstrip("."), "an adapter") for note in location.notes]
    return Opening(location.folder, dict(adapter.config.raw), adapter, (header, *notes))


def _open_pickle(
    pickle: Path, error: UnsupportedError, stack: ExitStack, *, allow_pickle: bool
) -> Opening:
    """Refuse a pickle, or verify the safetensors made from it."""
    if not allow_pickle:
        refused = _broken(pickle.parent, "file.pickle", error)
        step = f"{refused.findings[0].next_step} Or verify it with --allow-pickle, which runs none."
        return replace(refused, findings=(replace(refused.findings[0], next_step=step),))
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loragraft-pickle-")))
    try:
        convert_pickle(pickle, folder / WEIGHT_NAMES[0])
        shutil.copyfile(pickle.parent / CONFIG_NAME, folder / CONFIG_NAME)
    except FileNotFoundError:
        missing = AdapterError(
            f"{pickle.parent / CONFIG_NAME} does not exist. Copy it from where it was trained."
        )
        return _broken(pickle.parent, "file.config", missing)
    except AdapterError as refusal:
        return _broken(pickle.parent, "file.pickle", refusal)
    opened = open_to_verify(folder, stack)
    note = warned(
        "file.pickle", f"{pickle.name} is a pickle, read without running code", "safetensors",
        "Convert it before anybody loads it.",
    )  # fmt: skip
    return replace(opened, folder=pickle.parent, findings=(note, *opened.findings))
