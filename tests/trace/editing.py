"""Faults made for real: GGUF files and checkpoints rewritten with one thing changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.constants import GGMLQuantizationType, GGUFValueType
from numpy.typing import NDArray

from loragraft.artifact.checksums import CHECKSUMS_NAME, write_checksums
from loragraft.artifact.hashing import sha256_file
from loragraft.checkpoint.gguf_file import GgufFile

Items = Mapping[str, Any]
Tensors = Mapping[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]]


def edit_gguf(source: Path, out: Path, items: Items | None = None, tensors: Tensors = {}) -> Path:  # noqa: B006
    """Write a GGUF again with metadata replaced (None leaves a key out) and rows edited."""
    items = items or {}
    reader = gguf.GGUFReader(source)
    with GgufFile(source) as file:
        writer = gguf.GGUFWriter(str(out), str(file.get("general.architecture")))
        for key in file.keys:
            if key == "general.architecture":
                continue
            value = items.get(key, file.get(key))
            if value is not None:
                kinds = reader.fields[key].types
                sub = kinds[1] if kinds[0] == GGUFValueType.ARRAY else None
                writer.add_key_value(key, value, kinds[0], sub)
        for key, value in items.items():
            if key not in file.keys:
                writer.add_key_value(key, value, GGUFValueType.get_type(value))
        for name, tensor in file.tensors.items():
            raw = file.raw_rows(name).reshape(tensor.rows, tensor.row_bytes)
            if name in tensors:
                raw = np.ascontiguousarray(tensors[name](raw))
            shape = (*tensor.shape[:-1], tensor.row_bytes)
            kind = GGMLQuantizationType(tensor.qtype)
            writer.add_tensor(name, raw.reshape(shape), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return out


def edit_checkpoint(source: Path, out: Path, **config: Any) -> Path:  # noqa: ANN401
    """Copy a checkpoint with entries of config.json replaced."""
    shutil.copytree(source, out)
    path = out / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return out


def seal(folder: Path) -> None:
    """Give a bundle the checksums of its files as they are."""
    files = [path for path in folder.iterdir() if path.name != CHECKSUMS_NAME]
    write_checksums(folder, {path.name: sha256_file(path) for path in files})
