"""The stream engine's merge against PEFT's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from loragraft.adapter.reader import open_adapter
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import AdapterError, OutOfMemoryError
from loragraft.export.prove import prove_modules, sample_modules
from tests.export.pico_llama import (
    SHAPES,
    Weights,
    deltas,
    make_adapter,
    make_weights,
    merged_weights,
    save_base,
)

BASE = make_weights(31)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base"), BASE)


def verdict(base: Path, adapter: Path, merged: Weights, scale: float = 1.0) -> tuple[str, str]:
    with open_adapter(adapter) as opened:
        modules = sample_modules(opened)
    with Checkpoint(base) as checkpoint:
        gate = prove_modules(
            checkpoint, adapter, modules, lambda name: merged[f"{name}.weight"], scale=scale
        )
    return gate.verdict, gate.measured


def test_the_sample_has_every_kind(tmp_path: Path) -> None:
    with open_adapter(make_adapter(tmp_path, 1)) as adapter:
        chosen = sample_modules(adapter, 8)
        assert {name.split(".")[-1] for name in chosen} == {n.split(".")[-1] for n in SHAPES}
        assert chosen == sample_modules(adapter, 8)
        assert len(sample_modules(adapter, 99)) == 14


def test_a_right_merge_is_proven(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path, 32)
    assert verdict(base, adapter, merged_weights(BASE, deltas(adapter)))[0] == "pass"
    scaled = merged_weights(BASE, deltas(adapter), 0.5)
    assert verdict(base, adapter, scaled, 0.5)[0] == "pass"


@pytest.mark.parametrize("times", [0.0, 0.99, 2.0])
def test_a_wrong_merge_is_not(base: Path, tmp_path: Path, times: float) -> None:
    adapter = make_adapter(tmp_path, 32)
    found, measured = verdict(base, adapter, merged_weights(BASE, deltas(adapter), times))
    assert found == "fail"
    assert "too far" in measured


def test_rslora_and_patterns_are_pefts_own(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path, 32, use_rslora=True, alpha_pattern={"up_proj": 4})
    change = {
        name: delta * np.float32(0.5 if "up_proj" in name else 1.0) * np.float32(2.0)
        for name, delta in deltas(adapter).items()
    }
    assert verdict(base, adapter, merged_weights(BASE, change))[0] == "pass"
    assert verdict(base, adapter, merged_weights(BASE, deltas(adapter)))[0] == "fail"


def test_dora_is_pefts_own(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path, 32, use_dora=True)
    path = adapter / "adapter_model.safetensors"
    tensors, expected = load_file(path), dict(BASE)
    for name, delta in deltas(adapter).items():
        module = name.removesuffix(".weight")
        magnitude = np.linspace(0.5, 1.5, len(delta)).astype(np.float32)
        tensors[f"base_model.model.{module}.lora_magnitude_vector"] = magnitude
        rows = BASE[name] + delta
        expected[name] = rows * (magnitude / np.linalg.norm(rows, axis=1))[:, None]
    save_file(tensors, path, {"format": "pt"})
    assert verdict(base, adapter, expected)[0] == "pass"


def test_a_bias_of_b_does_not_stop_the_proof_of_its_weight(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path, 32, lora_bias=True)
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    biases = {
        key.replace(".weight", ".bias"): np.ones(len(values), np.float32)
        for key, values in tensors.items()
        if ".lora_B." in key
    }
    save_file({**tensors, **biases}, path, {"format": "pt"})
    assert verdict(base, adapter, merged_weights(BASE, deltas(adapter)))[0] == "pass"
    assert verdict(base, adapter, BASE)[0] == "fail"


def test_a_name_inside_the_keys_is_left_out_for_peft(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path, 32)
    expected = merged_weights(BASE, deltas(adapter))
    path = adapter / "adapter_model.safetensors"
    renamed = {k.replace(".weight", ".mine.weight"): v for k, v in load_file(path).items()}
    save_file(renamed, path, {"format": "pt"})
    assert verdict(base, adapter, expected)[0] == "pass"


def test_nothing_to_prove_is_skipped(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path, 32)
    with Checkpoint(base) as checkpoint:
        gate = prove_modules(checkpoint, adapter, [], lambda name: BASE[name])
    assert gate.verdict == "skipped"
    assert "no LoRA module" in gate.measured


def test_keys_that_peft_does_not_take_are_refused(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path, 32)
    path = adapter / "adapter_model.safetensors"
    stem = "base_model.model.model.layers.0.mlp.up_proj"
    magnitude = {f"{stem}.lora_magnitude_vector": np.ones(256, np.float32)}  # without use_dora
    save_file({**load_file(path), **magnitude}, path, {"format": "pt"})
    name = stem.removeprefix("base_model.model.")
    with (
        Checkpoint(base) as checkpoint,
        pytest.raises(AdapterError, match=r"PEFT does not take 1 keys .*lora_magnitude_vector"),
    ):
        prove_modules(checkpoint, adapter, [name], lambda name: BASE[f"{name}.weight"])


def test_too_little_memory_is_said(base: Path, tmp_path: Path, full_memory: None) -> None:
    with pytest.raises(OutOfMemoryError, match=r"--prove needs about .* are available"):
        verdict(base, make_adapter(tmp_path, 32), BASE)


def test_an_embedding_is_proven(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path, 32)
    path = adapter / "adapter_model.safetensors"
    generator = np.random.default_rng(1)
    a = generator.normal(0, 0.02, (4, 259)).astype(np.float32)
    b = generator.normal(0, 1, (256, 4)).astype(np.float32)
    prefix = "base_model.model.model.embed_tokens"
    tensors = {f"{prefix}.lora_embedding_A": a, f"{prefix}.lora_embedding_B": b}
    save_file({**load_file(path), **tensors}, path, {"format": "pt"})
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["target_modules"].append("embed_tokens")
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    merged = BASE["model.embed_tokens.weight"] + 2 * (b @ a).T
    with Checkpoint(base) as checkpoint:
        gate = prove_modules(checkpoint, adapter, ["model.embed_tokens"], lambda name: merged)
    assert gate.verdict == "pass", gate
