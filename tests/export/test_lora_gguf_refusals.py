"""What a GGUF LoRA cannot hold: refused before a file is begun."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from loragraft.adapter.reader import open_adapter
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import AdapterError, UnsupportedError
from loragraft.export.lora_gguf import export_lora_gguf, write_lora_gguf
from loragraft.export.prepare import OpenAdapter
from tests.export.pico_llama import HIDDEN, VOCABULARY, make_adapter, make_weights, save_base

BASE = make_weights(95)
PREFIX = "base_model.model."
UP = "model.layers.0.mlp.up_proj"
UNREAD = "model.layers.0.attention.bias"
"""A buffer of old checkpoints, which no GGUF holds."""
Arrays = dict[str, NDArray[np.float32]]


def pair(module: str, out: int, width: int) -> Arrays:
    return {
        f"{PREFIX}{module}.lora_A.weight": np.ones((4, width), np.float32),
        f"{PREFIX}{module}.lora_B.weight": np.ones((out, 4), np.float32),
    }


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """An untied base with a tensor of its own that no GGUF holds."""
    head = {"lm_head.weight": BASE["model.embed_tokens.weight"].copy()}
    unread = {UNREAD: np.zeros((HIDDEN, HIDDEN), np.float32)}
    return save_base(tmp_path / "base", {**BASE, **head, **unread}, tie_word_embeddings=False)


def adapter_of(folder: Path, arrays: Arrays | None = None, **config: Any) -> Path:  # noqa: ANN401
    adapter = make_adapter(folder / "adapter", 96, **config)
    if arrays is not None:
        save_file(arrays, adapter / "adapter_model.safetensors")
    return adapter


def test_plain_pairs_are_written(base: Path, tmp_path: Path) -> None:
    written = export_lora_gguf(base, adapter_of(tmp_path), tmp_path / "lora.gguf")
    assert written.modules == 14


def test_whole_biases_are_refused(base: Path, tmp_path: Path) -> None:
    adapter = adapter_of(tmp_path, bias="all")
    path = adapter / "adapter_model.safetensors"
    bias = {f"{PREFIX}{UP}.base_layer.bias": np.ones(HIDDEN, np.float32)}
    save_file({**load_file(path), **bias}, path)
    with pytest.raises(UnsupportedError, match=r"carries 1 whole biases \(bias = all\), which"):
        export_lora_gguf(base, adapter, tmp_path / "lora.gguf")


def test_an_adapter_without_pairs_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = adapter_of(tmp_path, {"nothing": np.ones(1, np.float32)})
    with pytest.raises(UnsupportedError, match="it holds no pair of LoRA matrices"):
        export_lora_gguf(base, adapter, tmp_path / "lora.gguf")


def test_a_module_that_the_gguf_does_not_hold_is_refused(base: Path, tmp_path: Path) -> None:
    module = UNREAD.removesuffix(".bias")
    adapter = adapter_of(tmp_path, pair(module, HIDDEN, HIDDEN))
    with (
        open_adapter(adapter) as opened,
        Checkpoint(base) as checkpoint,
        pytest.raises(AdapterError, match=rf"changes {UNREAD}, which the base's GGUF does not"),
    ):
        write_lora_gguf(OpenAdapter(opened, 1.0, {module: UNREAD}), checkpoint, tmp_path / "l.gguf")
    assert not (tmp_path / "l.gguf").exists()


def test_linear_matrices_on_an_embedding_are_refused(base: Path, tmp_path: Path) -> None:
    adapter = adapter_of(tmp_path, pair("model.embed_tokens", VOCABULARY, HIDDEN))
    with pytest.raises(UnsupportedError, match=r"laid out for linear layers, but it lands on tok"):
        export_lora_gguf(base, adapter, tmp_path / "lora.gguf")
    adapter = adapter_of(tmp_path, pair("lm_head", VOCABULARY, HIDDEN))
    assert export_lora_gguf(base, adapter, tmp_path / "lora.gguf").modules == 1


@pytest.mark.parametrize("tokens", ["abc", [1, -2], [1.5], [True], {"a": 1}, 7, [2**32]])
def test_activation_tokens_that_are_none_are_refused(
    base: Path, tmp_path: Path, tokens: object
) -> None:
    adapter = adapter_of(tmp_path, alora_invocation_tokens=[1, 2])
    export_lora_gguf(base, adapter, tmp_path / "lora.gguf")
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "alora_invocation_tokens": tokens}))
    with pytest.raises(AdapterError, match=r"holds alora_invocation_tokens = .* list of token ids"):
        export_lora_gguf(base, adapter, tmp_path / "other.gguf")
    assert not (tmp_path / "other.gguf").exists()
