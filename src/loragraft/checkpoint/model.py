"""A Hugging Face checkpoint folder: its shards as one mapping of tensors, and its configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loragraft.artifact.closing import Closing
from loragraft.checkpoint.files import read_small
from loragraft.checkpoint.safetensors import SafetensorsFile, TensorInfo
from loragraft.errors import CheckpointError

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        CheckpointError: If the file is missing, unreadable or no JSON object.
    """
    try:
        value = json.loads(read_small(path).decode("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist.") from None
    except (OSError, RecursionError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable as JSON: {error}.") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds {type(value).__name__}, expected a JSON object.")
    return value


def _index_shards(folder: Path) -> dict[str, str]:
    """Read the shard index: tensor name to file name."""
    weight_map = read_json(folder / INDEX_NAME).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{folder / INDEX_NAME} has no 'weight_map'. Download it again.")
    for name, file in weight_map.items():
        if not isinstance(file, str) or Path(file).name != file:
            raise CheckpointError(f"{folder / INDEX_NAME} puts {name!r} into {file!r}.")
    return weight_map


def _explain_missing(folder: Path) -> str:
    pickles = sorted(p.name for p in folder.glob("pytorch_model*.bin"))
    if pickles:
        return (
            f"{folder} holds only pickled weights ({', '.join(pickles[:3])}), which can run code "
            "when they are read. Convert them to safetensors first, for instance with "
            "transformers' save_pretrained."
        )
    if (folder / "adapter_config.json").exists():
        return f"{folder} is an adapter, not a base. Give the base first, then the adapter."
    if any(folder.glob("*.gguf")):
        return f"{folder} holds a GGUF file. Give the Hugging Face checkpoint it was made from."
    return f"{folder} holds no {SINGLE_NAME} and no {INDEX_NAME}: it is not a checkpoint folder."


def _shard_names(folder: Path) -> tuple[list[str], dict[str, str] | None]:
    if (folder / INDEX_NAME).exists():
        weight_map = _index_shards(folder)
        return sorted(set(weight_map.values())), weight_map
    if (folder / SINGLE_NAME).exists():
        return [SINGLE_NAME], None
    raise CheckpointError(_explain_missing(folder))


def _architectures(folder: Path, config: Mapping[str, Any]) -> list[str]:
    names = config.get("architectures") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(
            f"{folder / 'config.json'}: 'architectures' is {names!r}, expected a list of names. "
            "Repair the file or download it again."
        )
    return names


class Checkpoint(Closing):
    """One or many safetensors shards, read as one mapping; a context manager.

    Attributes:
        folder: Where it lies.
        config: ``config.json`` with a nested ``text_config`` laid over it.
        tensors: Every tensor by name.
        files: The shards' paths, sorted.
    """

    def __init__(self, folder: Path) -> None:
        """Open every shard and check it against the index.

        Raises:
            CheckpointError: If a file is missing or broken, or index and shards differ.
        """
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise CheckpointError(f"{folder} is no folder. Give a checkpoint folder or a hub id.")
        raw = read_json(self.folder / "config.json")
        text = raw.get("text_config")
        self.config: dict[str, Any] = {**raw, **text} if isinstance(text, dict) else raw
        self.config["architectures"] = _architectures(self.folder, raw)
        names, weight_map = _shard_names(self.folder)
        self.files = [self.folder / name for name in names]
        self._shards: dict[str, SafetensorsFile] = {}
        self.tensors: dict[str, TensorInfo] = {}
        try:
            for name in names:
                self._add_shard(name)
            if weight_map is not None:
                self._check_index(weight_map)
        except BaseException:
            self.close()
            raise

    def _add_shard(self, name: str) -> None:
        if not (self.folder / name).exists():
            raise CheckpointError(
                f"{self.folder / name} is missing, but the index names it. Download it again."
            )
        shard = SafetensorsFile(self.folder / name)
        for tensor in shard.tensors:
            if tensor in self.tensors:
                raise CheckpointError(f"{tensor!r} stands in two shards of {self.folder}.")
            self.tensors[tensor] = shard.tensors[tensor]
            self._shards[tensor] = shard

    def _check_index(self, weight_map: Mapping[str, str]) -> None:
        missing = [n for n, f in weight_map.items() if n not in self.tensors or
                   self._shards[n].path.name != f]  # fmt: skip
        extra = [name for name in self.tensors if name not in weight_map]
        if missing or extra:
            raise CheckpointError(
                f"Index and shards of {self.folder} differ: {len(missing)} tensors are missing "
                f"({', '.join(missing[:3])}), {len(extra)} are not in the index "
                f"({', '.join(extra[:3])}). Download the checkpoint again."
            )

    def close(self) -> None:
        """Drop all mappings."""
        for shard in set(self._shards.values()):
            shard.close()

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Decode rows of a tensor to float32; see :meth:`SafetensorsFile.rows`."""
        return self._shard(name).rows(name, start, stop)

    def array(self, name: str) -> NDArray[np.float32]:
        """Decode a whole tensor to float32."""
        return self._shard(name).array(name)

    def prefetch(self, name: str) -> None:
        """Ask the system to read a tensor's pages ahead of time."""
        self._shard(name).prefetch(name)

    def forget(self, name: str) -> None:
        """Tell the system that a tensor's pages are no longer needed."""
        self._shard(name).forget(name)

    def _shard(self, name: str) -> SafetensorsFile:
        try:
            return self._shards[name]
        except KeyError:
            raise CheckpointError(f"{self.folder} holds no tensor {name!r}.") from None
