"""Sizes of bases: from headers, and of those that are published."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from loragraft.adapter.fingerprint import KNOWN_BASES
from loragraft.errors import CheckpointError, InputError, UnsupportedError
from loragraft.training.sizes import find_sizes, read_sizes, table_sizes

Talking = Callable[[str], Path]

PUBLISHED = {
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen2.5-1.5B": 1_543_714_304,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "google/gemma-2-2b-it": 2_614_341_888,
    "microsoft/Phi-3-mini-4k-instruct": 3_821_079_552,
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": 1_100_048_384,
}
"""Parameters, as the Hub counts them in the model's safetensors files."""


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_published_bases_have_their_published_number_of_parameters(
    name: str, parameters: int
) -> None:
    sizes = find_sizes(name)
    assert sizes.parameters == parameters
    assert sizes.source == "table"


def test_every_known_base_has_sizes_that_fit_together() -> None:
    for known in KNOWN_BASES:
        sizes = table_sizes(known, known.name)
        assert sizes.layers == known.layers
        assert sizes.linear_parameters < sizes.parameters
        assert sizes.query % sizes.heads == 0


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3"])
def test_headers_tell_what_the_model_tells(talking: Talking, family: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = talking(family)
    sizes = read_sizes(folder, family)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert sizes.parameters == model.num_parameters()
    layers = [
        m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "layers" in n
    ]
    assert sizes.linear_parameters == sum(m.weight.numel() for m in layers)
    assert len(sizes.linear) == len(layers)
    assert (sizes.layers, sizes.hidden, sizes.intermediate) == (2, 64, 128)
    assert sizes.norms == (4 if family.startswith("gemma") else 2)
    assert sizes.head_norms == (family in ("qwen3", "gemma3"))


def test_a_tied_head_that_the_file_holds_too_is_counted_once(
    talking: Talking, tmp_path: Path
) -> None:
    folder = shutil.copytree(talking("llama"), tmp_path / "base")
    whole = read_sizes(folder, "x").parameters
    config = json.loads((folder / "config.json").read_text())
    config["tie_word_embeddings"] = True
    (folder / "config.json").write_text(json.dumps(config))
    assert whole - read_sizes(folder, "x").parameters == config["vocab_size"] * 64


@pytest.mark.parametrize("name", ["nobody/unheard-of-9B", "me/Qwen2.5-7B-pruned-24L", "what ever"])
def test_a_base_that_is_neither_here_nor_known_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="--base"):
        find_sizes(name)


def test_a_quantized_repository_has_the_sizes_of_the_whole_one() -> None:
    sizes = find_sizes("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4")
    assert sizes.parameters == PUBLISHED["Qwen/Qwen2.5-7B-Instruct"]


def test_broken_and_quantized_folders_are_refused(talking: Talking, tmp_path: Path) -> None:
    folder = shutil.copytree(talking("llama"), tmp_path / "base")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": None}))
    with pytest.raises(CheckpointError, match="hidden_size"):
        find_sizes(folder)
    strange = json.dumps({**config, "num_attention_heads": "four"})
    (folder / "config.json").write_text(strange)
    assert find_sizes(folder).heads == 1
    told = {**config, "quantization_config": {"quant_method": "awq", "bits": 4}}
    (folder / "config.json").write_text(json.dumps(told))
    with pytest.raises(UnsupportedError, match="AWQ 4-bit"):
        find_sizes(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError):
        find_sizes(folder)
