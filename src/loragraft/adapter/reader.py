"""Open an adapter: headers only, values on request."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loragraft.adapter.config import AdapterConfig, parse_config
from loragraft.adapter.declared import compare_declarations
from loragraft.adapter.findings import Finding
from loragraft.adapter.grouping import Grouping, LoraModule, TokenRows, group_keys
from loragraft.adapter.locate import AdapterLocation, locate_adapter, read_config
from loragraft.artifact.closing import Closing
from loragraft.checkpoint.safetensors import SafetensorsFile, TensorInfo
from loragraft.errors import AdapterError, CheckpointError

_HASH_BLOCK = 1 << 20


class Adapter(Closing):
    """An opened adapter; a context manager. No values are read before they are asked for.

    Attributes:
        location: Where it was found, and what was decided on the way.
        config: What it says about itself.
        tensors: Every key of the file, shapes as :meth:`array` returns them.
        modules: LoRA pairs by base module path (``model.layers.0.self_attn.q_proj``).
        saved: Base tensor name (``lm_head.weight``) to the key of its replacement.
        token_rows: Trained rows of embeddings, by base module path.
        biases: Base tensor name (``….q_proj.bias``) to the key of the trained bias.
        originals: Base tensor name to the key of an unused copy of the base's own tensor.
        frozen: Base tensor name to the key of the matrix under an adapted embedding or head.
        unknown: Keys that mean nothing here; an export refuses them.
        findings: What was odd on opening.
    """

    def __init__(
        self,
        location: AdapterLocation,
        file: SafetensorsFile,
        config: AdapterConfig,
        grouping: Grouping,
        transposed: frozenset[str] = frozenset(),
    ) -> None:
        """Put an adapter together; :func:`open_adapter` is the way to get one.

        Args:
            location: Where it lies.
            file: The opened weights.
            config: The parsed configuration.
            grouping: Its keys by meaning.
            transposed: Keys stored the other way round than PEFT does.
        """
        self.location = location
        self.config = config
        self.modules: Mapping[str, LoraModule] = grouping.modules
        self.saved: Mapping[str, str] = grouping.saved
        self.token_rows: Mapping[str, TokenRows] = grouping.token_rows
        self.biases: Mapping[str, str] = grouping.biases
        self.originals: Mapping[str, str] = grouping.originals
        self.frozen: Mapping[str, str] = grouping.frozen
        self.unknown = tuple(grouping.unknown)
        self.findings: tuple[Finding, ...] = tuple(grouping.findings)
        self._file = file
        self._transposed = transposed

    @property
    def path(self) -> Path:
        """The safetensors file."""
        return self.location.weights

    @property
    def folder(self) -> Path:
        """The folder it lies in, where its tokenizer may lie too."""
        return self.location.folder

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided while it was looked for, in sentences for the user."""
        return self.location.notes

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor of the file by key, as stored."""
        return self._file.tensors

    @property
    def parameters(self) -> int:
        """Number of elements in the file."""
        return sum(info.size for info in self._file.tensors.values())

    @cached_property
    def sha256(self) -> str:
        """Hash of the whole weights file, in hexadecimal digits; reads it once."""
        digest = hashlib.sha256()
        try:
            with self.path.open("rb") as file:
                while block := file.read(_HASH_BLOCK):
                    digest.update(block)
        except OSError as error:
            raise AdapterError(f"Cannot read {self.path}: {error.strerror or error}.") from None
        return digest.hexdigest()

    def array(self, key: str) -> NDArray[np.float32]:
        """Decode a tensor to a fresh C-contiguous float32 array.

        Raises:
            AdapterError: If there is no such key.
        """
        if key not in self._file.tensors:
            raise AdapterError(f"{self.path} holds no tensor {key!r}.")
        values = self._file.array(key)
        return np.ascontiguousarray(values.T) if key in self._transposed else values

    def rows(self, key: str, start: int, stop: int) -> NDArray[np.float32]:
        """Decode rows of a tensor as stored; only for keys that are not LoRA factors of MLX."""
        return self._file.rows(key, start, stop)

    def forget(self, key: str) -> None:
        """Tell the system that a tensor's pages are no longer needed."""
        self._file.forget(key)

    def close(self) -> None:
        """Drop the mapping; safe to call twice."""
        self._file.close()


def open_adapter(path: Path) -> Adapter:
    """Find and open an adapter; reads its configuration and the file's header only.

    Raises:
        AdapterError: If there is none, or its configuration or file is broken.
        UnsupportedError: If it is a pickle, or an MLX adapter that cannot be converted.
    """
    location = locate_adapter(Path(path))
    raw = read_config(location.config)
    try:
        file = SafetensorsFile(location.weights)
    except CheckpointError as error:
        raise AdapterError(f"{error}") from None
    try:
        if location.format == "mlx":
            from loragraft.adapter.mlx import convert_mlx

            config, grouping, transposed = convert_mlx(raw, file.tensors)
            return Adapter(location, file, config, grouping, transposed)
        config = parse_config(raw)
        grouping = group_keys(file.tensors, config)
        grouping.findings.extend(compare_declarations(grouping, config))
        return Adapter(location, file, config, grouping)
    except BaseException:
        file.close()
        raise
