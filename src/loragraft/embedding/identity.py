"""What makes two embedders the same: a hash of every file that their vectors depend on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from loragraft.artifact.hash_cache import cached_sha256
from loragraft.errors import CheckpointError

_SUFFIXES = (".json", ".safetensors", ".txt", ".model", ".bin")
"""Weights, configurations and tokenizers; model cards and exports to other runtimes apart."""
_ASIDE = frozenset({"onnx", "openvino", "coreml", ".git", ".cache"})
_UNUSED = frozenset({"data_config.json", "train_script.json", "README.txt"})
_OTHER_WEIGHTS = frozenset({"pytorch_model.bin", "rust_model.bin", "tf_model.bin"})
"""Read by nobody where safetensors lie beside them."""


def folder_hash(folder: Path) -> str:
    """Return the hash of a model's files, by their names and contents.

    Large files are hashed once and remembered.

    Raises:
        CheckpointError: If a file cannot be read, or none is there.
    """
    digest, count = hashlib.sha256(), 0
    try:
        for path in sorted(_files(folder), key=lambda path: path.relative_to(folder).as_posix()):
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name}\0{cached_sha256(path)}\n".encode("utf-8", "surrogateescape"))
            count += 1
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {error}.") from None
    if not count:
        raise CheckpointError(f"{folder} holds no model. Give the folder of an embedder.")
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _ASIDE)
        has_safetensors = any(name.endswith(".safetensors") for name in names)
        for name in names:
            path = Path(here) / name
            if not name.endswith(_SUFFIXES) or name in _UNUSED or not path.is_file():
                continue
            if not (has_safetensors and name in _OTHER_WEIGHTS):
                yield path
