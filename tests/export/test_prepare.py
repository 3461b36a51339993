"""Laying an export out: everything of an adapter has its place in the file, or it is refused."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from loragraft.errors import AdapterError, CheckpointError, UnsupportedError
from loragraft.export.prepare import Layout, lay_out, open_base
from tests.export.pico_llama import HIDDEN, VOCABULARY, make_adapter, make_weights, save_base

BASE = make_weights(71)
UNREAD = "model.layers.0.attention.bias"
"""A buffer of old checkpoints, which no GGUF holds."""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save_base(tmp_path / "base", {**BASE, UNREAD: np.zeros(HIDDEN, np.float32)})


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return make_adapter(tmp_path / "adapter", 72)


def add(adapter: Path, **tensors: tuple[int, ...]) -> None:
    path = adapter / "adapter_model.safetensors"
    more = {f"base_model.model.{name}": np.ones(shape, "f4") for name, shape in tensors.items()}
    save_file({**load_file(path), **more}, path)


def configure(adapter: Path, **values: object) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def laid_out(base: Path, adapter: Path, scale: float = 1.0) -> Layout:
    with ExitStack() as stack:
        return lay_out(open_base(base, stack), [(adapter, scale)], ("F32",), stack)


def test_every_change_of_a_healthy_adapter_has_its_place(base: Path, adapter: Path) -> None:
    layout = laid_out(base, adapter)
    assert len(layout.changes.by_tensor) == 14
    assert set(layout.changes.by_tensor) <= {source.source for source in layout.sources}


def test_a_change_that_no_file_holds_is_refused(base: Path, adapter: Path) -> None:
    add(adapter, **{UNREAD: (HIDDEN,)})
    configure(adapter, bias="all")
    with pytest.raises(AdapterError, match=rf"change 1 tensors .* does not hold \({UNREAD}\)"):
        laid_out(base, adapter)


def test_keys_that_do_not_land_are_listed(base: Path, adapter: Path) -> None:
    far = "model.layers.9.mlp.up_proj"
    add(adapter, **{f"{far}.lora_A.weight": (4, HIDDEN), f"{far}.lora_B.weight": (HIDDEN, 4)})
    with pytest.raises(AdapterError, match=rf"(?s)1 keys of .* do not land on the base.*{far}"):
        laid_out(base, adapter)


def test_a_base_without_embedding_is_refused(tmp_path: Path, adapter: Path) -> None:
    part = {name: values for name, values in BASE.items() if "embed_tokens" not in name}
    with pytest.raises(CheckpointError, match=r"1 missing \(model\.embed_tokens\.weight\)"):
        laid_out(save_base(tmp_path / "part", part), adapter)


def test_an_unknown_architecture_is_refused(tmp_path: Path, adapter: Path) -> None:
    base = save_base(tmp_path / "other", BASE, architectures=["OddForCausalLM"])
    with pytest.raises(UnsupportedError, match=r"OddForCausalLM is not one .* --converter"):
        laid_out(base, adapter)


def test_a_resized_embedding_needs_its_head(tmp_path: Path, adapter: Path) -> None:
    head = {"lm_head.weight": np.ones((VOCABULARY, HIDDEN), np.float32)}
    base = save_base(tmp_path / "untied", {**BASE, **head}, tie_word_embeddings=False)
    grown = (VOCABULARY + 8, HIDDEN)
    configure(adapter, modules_to_save=["embed_tokens", "lm_head"])
    add(adapter, **{"model.embed_tokens.weight": grown})
    with pytest.raises(AdapterError, match=r"embedding has 267 rows, the output .* has 259\. Save"):
        laid_out(base, adapter)
    add(adapter, **{"lm_head.weight": grown})
    assert laid_out(base, adapter).vocab_size == VOCABULARY + 8


def test_keys_are_quoted_before_a_terminal_sees_them(base: Path, adapter: Path) -> None:
    add(adapter, **{"\x1b[2J.weight": (HIDDEN,)})
    with pytest.raises(AdapterError, match="do not land") as caught:
        laid_out(base, adapter)
    assert "\x1b" not in str(caught.value)
    assert r"\x1b[2J.weight" in str(caught.value)
