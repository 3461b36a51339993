"""Loading a base with a fresh adapter: whole and in four bits, on this processor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loragraft.artifact import space
from loragraft.errors import (
    CheckpointError,
    InputError,
    MissingExtraError,
    OutOfMemoryError,
    UnsupportedError,
)
from loragraft.training import load
from loragraft.training.config import DataConfig, LoraSettings, OptimiserConfig, TrainConfig

Talking = Callable[[str], Path]
TARGETS = LoraSettings(r=4, alpha=8, dropout=0.0, targets="all")


def config(**changes: Any) -> TrainConfig:  # noqa: ANN401
    given = {"precision": "float32", "lora": TARGETS, "data": DataConfig(tag="any"), **changes}
    return TrainConfig(experiment_id="x", base="me/base", **given)


def ids() -> Any:  # noqa: ANN401 - a tensor
    import torch

    return torch.randint(4, 200, (2, 24), generator=torch.Generator().manual_seed(1))


def losses(model: Any, *, bfloat16: bool = False) -> list[float]:  # noqa: ANN401
    """Train for a moment; return each step's loss."""
    import torch

    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-2)
    found, given = [], ids()
    for _ in range(12):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            loss = model(input_ids=given, labels=given).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(float(loss.detach()))
    return found


def gradients(model: Any) -> dict[str, Any]:  # noqa: ANN401
    model.zero_grad()
    given = ids()
    model(input_ids=given, labels=given).loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


def same(left: dict[str, Any], right: dict[str, Any], tolerance: float = 0.0) -> bool:
    import torch

    return left.keys() == right.keys() and all(
        torch.allclose(left[name], right[name], rtol=0, atol=tolerance) for name in left
    )


def adapter(model: Any) -> dict[str, Any]:  # noqa: ANN401
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def test_only_the_adapter_is_trained_and_its_loss_falls(talking: Talking) -> None:
    model, tokenizer = load.load_causal(config(), talking("qwen2"))
    trained = adapter(model)
    assert len(trained) == 2 * 7 * 2
    assert all("lora_" in name and str(p.dtype) == "torch.float32" for name, p in trained.items())
    assert model.training
    assert tokenizer.chat_template
    found = losses(model)
    assert found[-1] < found[0] - 0.3


def test_the_seed_alone_decides_the_first_values(talking: Talking) -> None:
    import torch

    first, _ = load.load_causal(config(), talking("qwen2"))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    second, _ = load.load_causal(config(), talking("qwen2"))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert same(adapter(first), adapter(second))
    other, _ = load.load_causal(config(seed=1), talking("qwen2"))
    assert not same(adapter(first), adapter(other))


def test_nf4_packs_the_base_and_its_adapter_learns(talking: Talking) -> None:
    from bitsandbytes.nn.modules import Linear4bit

    whole, _ = load.load_causal(config(), talking("qwen2"))
    model, _ = load.load_causal(config(quantization="nf4"), talking("qwen2"))
    packed = [m for m in model.modules() if isinstance(m, Linear4bit)]
    assert len(packed) == 14
    assert all(m.weight.quant_state.quant_type == "nf4" for m in packed)
    assert all(m.weight.quant_state.nested for m in packed)
    found, reference = losses(model), losses(whole)
    assert found[-1] < found[0] - 0.3
    # Four bits move the loss a little; a product that was wrong would move it a lot.
    assert abs(found[0] - reference[0]) < 0.1
    assert found[0] != reference[0]


def test_what_is_packed_is_nf4(talking: Talking) -> None:
    """Against the 16 values of the paper's appendix E, in blocks of 64."""
    import torch
    from bitsandbytes.functional import dequantize_4bit

    values = [
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
        0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
        0.7229568362236023, 1.0,
    ]  # fmt: skip
    whole, _ = load.load_causal(config(), talking("qwen2"))
    model, _ = load.load_causal(config(quantization="nf4"), talking("qwen2"))
    name = "base_model.model.model.layers.1.mlp.down_proj.base_layer"
    weight = whole.get_submodule(name).weight
    packed = model.get_submodule(name).weight
    blocks = weight.detach().reshape(-1, 64)
    scale = blocks.abs().amax(dim=1, keepdim=True)
    grid = torch.tensor(values)
    nearest = grid[(blocks / scale).unsqueeze(-1).sub(grid).abs().argmin(-1)] * scale
    found = dequantize_4bit(packed.data, packed.quant_state).reshape(-1, 64)
    # The second quantization rounds each block's scale to eight bits.
    assert float((found - nearest).abs().max() / scale.max()) < 0.02
    assert float((found - blocks).norm() / blocks.norm()) < 0.12


def test_nf4_in_bfloat16_learns(talking: Talking) -> None:
    import torch

    asked = config(quantization="nf4", precision="bfloat16")
    model, _ = load.load_causal(asked, talking("qwen2"))
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    found = losses(model, bfloat16=True)
    assert found[-1] < found[0] - 0.3


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_an_evaluation_between_steps_leaves_gradients_whole(
    talking: Talking, quantization: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On processors with AVX512_BF16 bitsandbytes repacks weights in evaluation."""
    import bitsandbytes.nn.modules
    import torch

    monkeypatch.setattr(bitsandbytes.nn.modules, "has_avx512bf16", lambda: True)
    model, _ = load.load_causal(config(quantization=quantization), talking("qwen2"))
    before = gradients(model)
    with torch.no_grad():
        model.eval()(input_ids=ids())
    assert same(gradients(model.train()), before)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_checkpointed_activations_give_the_same_gradients(
    talking: Talking, quantization: str
) -> None:
    plain, _ = load.load_causal(config(quantization=quantization), talking("llama"))
    asked = config(
        quantization=quantization, optimiser=OptimiserConfig(gradient_checkpointing=True)
    )
    saving, _ = load.load_causal(asked, talking("llama"))
    assert any(getattr(m, "gradient_checkpointing", False) for m in saving.modules())
    assert same(gradients(plain), gradients(saving), 1e-7)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("kind", ["rslora", "dora"])
def test_rslora_and_dora_learn(talking: Talking, kind: str, quantization: str) -> None:
    lora = TARGETS.model_copy(update={kind: True})
    model, _ = load.load_causal(config(lora=lora, quantization=quantization), talking("qwen2"))
    found = losses(model)
    assert found[-1] < found[0] - 0.3
    settings = model.peft_config["default"]
    assert (settings.use_rslora, settings.use_dora) == (kind == "rslora", kind == "dora")


@pytest.mark.parametrize("name", ["llama", "mistral", "qwen3", "gemma2", "gemma3", "phi3"])
def test_every_family_takes_the_named_sets(talking: Talking, name: str) -> None:
    for targets in ("attention", "science", "all"):
        lora = LoraSettings(r=2, alpha=2, targets=targets)
        model, _ = load.load_causal(config(lora=lora), talking(name))
        leaves = {n.split(".lora_")[0].rpartition(".")[2] for n in adapter(model)}
        if name == "phi3":
            more = {"science": {"down_proj"}, "all": {"gate_up_proj", "down_proj"}}
            assert leaves == {"qkv_proj", "o_proj"} | more.get(targets, set())
        else:
            assert leaves == set(lora.modules)


def test_modules_by_name_and_by_their_end(talking: Talking) -> None:
    lora = LoraSettings(r=2, targets=("layers.1.self_attn.q_proj", "lm_head"))
    model, _ = load.load_causal(config(lora=lora), talking("llama"))
    assert {n.split(".lora_")[0].rpartition(".")[2] for n in adapter(model)} == {
        "q_proj", "lm_head"
    }  # fmt: skip
    assert len(adapter(model)) == 4


@pytest.mark.parametrize("targets", [("query", "q_proj"), ("proj",), ()])
def test_targets_that_the_base_lacks_are_refused_with_what_it_has(
    talking: Talking, targets: tuple[str, ...]
) -> None:
    asked = config(lora=LoraSettings(targets=targets))
    with pytest.raises(InputError, match=r"Its linear modules: .*down_proj.*q_proj") as caught:
        load.load_causal(asked, talking("llama"))
    assert targets == () or targets[0] in str(caught.value)


def test_generation_uses_its_cache(talking: Talking) -> None:
    """Training has no use for a cache, but samples have."""
    model, tokenizer = load.load_causal(config(), talking("llama"))
    prompt = ids()[:1]
    out = model.eval().generate(
        input_ids=prompt, max_new_tokens=2, do_sample=False, return_dict_in_generate=True,
        pad_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    assert out.past_key_values is not None


def test_a_quantized_base_is_refused(talking: Talking, tmp_path: Path) -> None:
    base = shutil.copytree(talking("llama"), tmp_path / "base")
    told = json.loads((base / "config.json").read_text())
    told["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (base / "config.json").write_text(json.dumps(told))
    with pytest.raises(UnsupportedError, match="quantized by GPTQ 4-bit"):
        load.load_causal(config(), base)


def test_a_truncated_base_and_a_missing_tokenizer_are_told(
    talking: Talking, tmp_path: Path
) -> None:
    base = shutil.copytree(talking("llama"), tmp_path / "base")
    weights = base / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load.load_causal(config(), base)
    weights.write_bytes(whole)
    (base / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="tokenizer"):
        load.load_causal(config(), base)


def test_a_broken_tokenizer_and_a_strange_configuration_are_told(
    talking: Talking, tmp_path: Path
) -> None:
    base = shutil.copytree(talking("llama"), tmp_path / "base")
    told = (base / "config.json").read_text()
    for change in ({"hidden_size": "wide"}, {"num_attention_heads": 0}):
        (base / "config.json").write_text(json.dumps({**json.loads(told), **change}))
        with pytest.raises(CheckpointError, match="cannot load"):
            load.load_causal(config(), base)
    (base / "config.json").write_text(told)
    tokenizer = base / "tokenizer.json"
    for text in (tokenizer.read_text()[:1000], '{"version": "1.0", "model": {"type": "BPE"}}'):
        tokenizer.write_text(text)
        with pytest.raises(CheckpointError, match="cannot load the tokenizer"):
            load.load_tokenizer(base)


def test_a_base_larger_than_the_memory_is_refused(
    talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "available_memory", lambda: 1000)
    with pytest.raises(OutOfMemoryError, match=r"Loading me/base needs about .* train plan"):
        load.load_causal(config(), talking("llama"))


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = load.importlib.util.find_spec
    monkeypatch.setattr(
        load.importlib.util, "find_spec", lambda n: None if n == "bitsandbytes" else real(n)
    )
    load.require_training(config())
    with pytest.raises(MissingExtraError, match=r"bitsandbytes.*loragraft\[train\]"):
        load.require_training(config(quantization="nf4"))
