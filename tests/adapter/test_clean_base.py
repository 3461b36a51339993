"""k tells how often an adapter is in a base, and its spread is that of random factors."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from loragraft.adapter.checks_merged import check_merged
from loragraft.adapter.clean_base import Projection, project
from loragraft.adapter.findings import Finding, Severity
from loragraft.adapter.match import match_modules
from loragraft.adapter.reader import open_adapter
from loragraft.adapter.verify import VerifyRequest, verify_adapter
from loragraft.checkpoint.model import Checkpoint
from tests.adapter.builders import PREFIX, lora_arrays, write_adapter, write_base
from tests.adapter.merging import copy_base, merge_into, randomise

TARGETS = ("self_attn.q_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.down_proj")
NAMES = [target.rpartition(".")[2] for target in TARGETS]


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return randomise(write_base(tmp_path / "clean", layers=3))


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An adapter whose change is about a third of the weights."""
    arrays = lora_arrays(layers=3, targets=TARGETS)
    small = {key: value * np.float32(0.07) for key, value in arrays.items()}
    return write_adapter(tmp_path / "adapter", small, target_modules=NAMES)


def measure(adapter: Path, base: Path, clean: Path | None = None) -> Projection | None:
    with open_adapter(adapter) as opened, Checkpoint(base) as checkpoint:
        match = match_modules(opened, checkpoint.tensors)
        if clean is None:
            return project(opened, match, checkpoint)
        with Checkpoint(clean) as other:
            return project(opened, match, checkpoint, other)


def finding(adapter: Path, base: Path, clean: Path | None = None) -> Finding:
    report = verify_adapter(VerifyRequest(adapter, base, clean_base=clean))
    return next(f for f in report.findings if f.code.startswith("merged."))


@pytest.mark.parametrize("times", [0, 1, 2])
def test_k_counts_the_merges(times: int, adapter: Path, clean: Path, tmp_path: Path) -> None:
    base = merge_into(clean, adapter, tmp_path / "merged", factor=times)
    found = measure(adapter, base, clean)
    assert found is not None
    assert found.k == pytest.approx(times, abs=1e-4)
    assert found.residual < 1e-4
    result = finding(adapter, base, clean)
    assert result.severity is (Severity.FAIL if times else Severity.PASS)
    assert {0: "k = 0.000", 1: "merged once", 2: "merged twice"}[times] in result.measured


@pytest.mark.parametrize("times", [0, 1, 2])
def test_without_a_clean_base_k_shows_against_its_spread(
    times: int, adapter: Path, clean: Path, tmp_path: Path
) -> None:
    base = merge_into(clean, adapter, tmp_path / "merged", factor=times)
    found = measure(adapter, base)
    assert found is not None
    assert found.spread < 0.05
    assert abs(found.k - times) < 4 * found.spread
    result = finding(adapter, base)
    assert result.severity is (Severity.FAIL if times else Severity.PASS)
    assert f"± {found.spread:.2f}" in result.measured


def test_the_spread_is_that_of_random_signs(adapter: Path, clean: Path) -> None:
    """Draw the random matrices that the spread stands for, over all values."""
    found = measure(adapter, clean)
    generator, drawn = np.random.default_rng(1), []
    assert found is not None
    with open_adapter(adapter) as opened, Checkpoint(clean) as base:
        weights = [
            (base.array(f"{name}.weight"), np.float32(m.scaling) * opened.array(m.b_key),
             opened.array(m.a_key))
            for name, m in opened.modules.items()
        ]  # fmt: skip
        for _ in range(400):
            inner = norm = 0.0
            for weight, b, a in weights:
                delta = b @ (a * generator.choice([-1, 1], size=a.shape[1]))
                inner += float((weight * delta).sum())
                norm += float((delta * delta).sum())
            drawn.append(inner / norm)
    assert found.spread == pytest.approx(np.std(drawn), rel=0.15)


def test_a_lost_rslora_flag_is_named(adapter: Path, clean: Path, tmp_path: Path) -> None:
    base = merge_into(clean, adapter, tmp_path / "merged", factor=math.sqrt(4))
    assert "merged twice" in finding(adapter, base, clean).measured  # r = 4: the two coincide
    nine = lora_arrays(layers=3, targets=TARGETS, rank=9)
    other = write_adapter(tmp_path / "nine", {k: v * np.float32(0.07) for k, v in nine.items()},
                          r=9, use_rslora=True, target_modules=NAMES)  # fmt: skip
    lost = merge_into(clean, other, tmp_path / "lost", factor=1 / 3)
    result = finding(other, lost, clean)
    assert result.severity is Severity.FAIL
    assert "with alpha/r instead of alpha/√r" in result.measured
    half = merge_into(clean, other, tmp_path / "half", factor=0.6)
    assert "0.60 times" in finding(other, half, clean).measured


def test_another_model_is_no_clean_base(adapter: Path, clean: Path, tmp_path: Path) -> None:
    other = randomise(copy_base(clean, tmp_path / "other"), seed=7)
    result = finding(adapter, clean, other)
    assert (result.code, result.severity) == ("merged.clean_base", Severity.FAIL)
    assert "another model" in result.measured
    renamed = write_base(tmp_path / "renamed", layers=3, backbone="transformer.")
    assert finding(adapter, clean, renamed).code == "merged.clean_base"


def test_another_adapter_in_the_base_is_not_this_one(
    adapter: Path, clean: Path, tmp_path: Path
) -> None:
    generator = np.random.default_rng(3)
    arrays = {key: generator.normal(size=value.shape, scale=0.07).astype(np.float32)
              for key, value in lora_arrays(layers=3, targets=TARGETS).items()}  # fmt: skip
    other = write_adapter(tmp_path / "other", arrays, target_modules=NAMES)
    result = finding(adapter, merge_into(clean, other, tmp_path / "merged"), clean)
    assert result.severity is Severity.PASS
    assert "otherwise" in result.measured


def test_a_change_too_small_to_tell_passes_with_its_figures(clean: Path, tmp_path: Path) -> None:
    tiny = {key: value * np.float32(0.01) for key, value in lora_arrays(layers=3).items()}
    adapter = write_adapter(tmp_path / "tiny", tiny)
    result = finding(adapter, merge_into(clean, adapter, tmp_path / "merged"))
    assert result.severity is Severity.PASS
    assert "random Δ" in result.measured
    assert finding(adapter, tmp_path / "merged", clean).severity is Severity.FAIL


def test_what_follows_the_weights_is_only_a_warning(clean: Path, tmp_path: Path) -> None:
    """A change that copies one weight's own directions is no merge of the whole adapter."""
    arrays = lora_arrays(layers=3, targets=TARGETS)
    key = f"{PREFIX}model.layers.0.mlp.gate_proj"
    weight = load_file(clean / "model.safetensors")["model.layers.0.mlp.gate_proj.weight"]
    u, s, v = np.linalg.svd(weight, full_matrices=False)
    for name in arrays:
        arrays[name] *= np.float32(0.03)
    arrays[f"{key}.lora_A.weight"] = v[:4] * np.float32(0.5)
    arrays[f"{key}.lora_B.weight"] = (u[:, :4] * s[:4]).astype(np.float32)
    adapter = write_adapter(tmp_path / "adapter", arrays, target_modules=NAMES)
    result = finding(adapter, clean)
    assert result.severity is Severity.WARN
    assert "--clean-base" in result.next_step


def test_conv1d_and_embeddings_are_read_in_their_own_layout(clean: Path, tmp_path: Path) -> None:
    arrays = {key: value * np.float32(0.05) for key, value in lora_arrays(layers=3).items()}
    adapter = write_adapter(tmp_path / "adapter", arrays, fan_in_fan_out=True)
    tensors = load_file(clean / "model.safetensors")
    for name in list(tensors):
        if name.endswith(("q_proj.weight", "v_proj.weight")):
            path = f"{PREFIX}{name.removesuffix('.weight')}"
            delta = 2 * arrays[f"{path}.lora_B.weight"] @ arrays[f"{path}.lora_A.weight"]
            tensors[name] = np.ascontiguousarray(tensors[name].T + delta.T)
    base = copy_base(clean, tmp_path / "merged")
    save_file(tensors, base / "model.safetensors")
    assert finding(adapter, base).severity is Severity.FAIL

    embedding = {
        f"{PREFIX}model.embed_tokens.lora_embedding_A": np.full((4, 128), 0.05, np.float32),
        f"{PREFIX}model.embed_tokens.lora_embedding_B":
            arrays[f"{PREFIX}model.layers.0.self_attn.q_proj.lora_B.weight"],
    }  # fmt: skip
    other = write_adapter(tmp_path / "embedding", embedding, target_modules=["embed_tokens"])
    found = measure(other, clean)
    assert found is not None
    assert len(found.each_k) == 1


def test_dora_is_left_alone(adapter: Path, clean: Path, tmp_path: Path) -> None:
    arrays = lora_arrays(layers=1, targets=("self_attn.q_proj",))
    arrays[f"{PREFIX}model.layers.0.self_attn.q_proj.lora_magnitude_vector"] = np.ones(
        64, np.float32
    )
    dora = write_adapter(tmp_path / "dora", arrays, use_dora=True, target_modules=["q_proj"],
                         layers_to_transform=[0])  # fmt: skip
    assert measure(dora, clean) is None
    assert measure(dora, clean, clean) is None
    report = verify_adapter(VerifyRequest(dora, clean, clean_base=clean))
    assert not any(f.code.startswith("merged.") for f in report.findings)


def test_the_check_needs_a_base(adapter: Path) -> None:
    codes = [f.code for f in verify_adapter(VerifyRequest(adapter)).findings]
    assert not any(code.startswith("merged.") for code in codes)
    assert check_merged.__doc__


@pytest.mark.slow
def test_the_real_example_merged_once_and_twice(
    example_adapter: Path, smollm2_checkpoint: Path, tmp_path: Path
) -> None:
    """Of the real weights, a change of 1 %, in BF16: k is found without and with a clean base."""
    once = merge_into(smollm2_checkpoint, example_adapter, tmp_path / "once")
    alone = finding(example_adapter, once)
    assert alone.severity is Severity.FAIL
    assert "merged once already" in alone.measured
    assert finding(example_adapter, once, smollm2_checkpoint).measured.endswith(
        "merged once already"
    )
    twice = merge_into(once, example_adapter, tmp_path / "twice")
    assert "merged twice" in finding(example_adapter, twice, smollm2_checkpoint).measured
