"""Bases with random weights, and bases with an adapter merged in, written by numpy alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from loragraft.adapter.match import match_modules
from loragraft.adapter.reader import open_adapter
from loragraft.checkpoint.model import Checkpoint

SEED = 20251101
NAME = "model.safetensors"


def randomise(base: Path, std: float = 0.05, seed: int = SEED) -> Path:
    """Give every tensor of a base random values."""
    generator = np.random.default_rng(seed)
    tensors = load_file(base / NAME)
    for name, values in tensors.items():
        tensors[name] = generator.normal(size=values.shape, scale=std).astype(np.float32)
    save_file(tensors, base / NAME)
    return base


def copy_base(base: Path, out: Path) -> Path:
    """Copy a checkpoint's folder."""
    shutil.copytree(base, out)
    return out


def merge_into(base: Path, adapter: Path, out: Path, factor: float = 1.0) -> Path:
    """Write a copy of a base of one BF16 or F32 file with ``factor`` times the adapter added."""
    copy_base(base, out)
    with open_adapter(adapter) as opened, Checkpoint(base) as checkpoint:
        places = match_modules(opened, checkpoint.tensors).tensors
        with (out / NAME).open("r+b") as file:
            for name, tensor in places.items():
                module, info = opened.modules[name], checkpoint.tensors[tensor]
                delta = opened.array(module.b_key) @ opened.array(module.a_key)
                merged = checkpoint.array(tensor) + np.float32(module.scaling * factor) * delta
                file.seek(info.start)
                file.write(encode(merged, info.dtype))
    return out


def encode(values: np.ndarray, dtype: str) -> bytes:
    """Encode float32 values as F32, or as BF16 rounded to nearest even."""
    if dtype == "F32":
        return values.astype("<f4").tobytes()
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return rounded.astype("<u2").tobytes()
