"""Broken checkpoints are refused with names and numbers; healthy ones pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import CheckpointError, UnsupportedError
from loragraft.export.architectures import Family, TensorSource, canonical_name, find_family

Arrays = dict[str, NDArray[np.float32]]
Write = Callable[..., Checkpoint]

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 48,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
GEMMA2 = {**LLAMA, "architectures": ["Gemma2ForCausalLM"], "head_dim": 4,
          "query_pre_attn_scalar": 4, "tie_word_embeddings": True}  # fmt: skip
GEMMA3 = {**GEMMA2, "architectures": ["Gemma3ForCausalLM"]}


def llama_arrays(*, head: bool = True, layers: int = 2) -> Arrays:
    """Tensors of the Llama model that `LLAMA` describes."""
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (48, 16),
        "model.norm.weight": (16,),
    }
    if head:
        shapes["lm_head.weight"] = (48, 16)
    for number in range(layers):
        layer = f"model.layers.{number}"
        shapes |= {
            f"{layer}.input_layernorm.weight": (16,),
            f"{layer}.post_attention_layernorm.weight": (16,),
            f"{layer}.self_attn.q_proj.weight": (16, 16),
            f"{layer}.self_attn.k_proj.weight": (8, 16),
            f"{layer}.self_attn.v_proj.weight": (8, 16),
            f"{layer}.self_attn.o_proj.weight": (16, 16),
            f"{layer}.mlp.gate_proj.weight": (24, 16),
            f"{layer}.mlp.up_proj.weight": (24, 16),
            f"{layer}.mlp.down_proj.weight": (16, 24),
        }
    generator = np.random.default_rng(3)
    return {
        name: generator.standard_normal(shape).astype(np.float32)
        for name, shape in shapes.items()
    }  # fmt: skip


def gemma_arrays(*, head_norms: bool) -> Arrays:
    """Tensors of the Gemma models that `GEMMA2` and `GEMMA3` describe."""
    arrays = llama_arrays(head=False)
    for number in range(2):
        layer = f"model.layers.{number}"
        for name in ("pre_feedforward_layernorm", "post_feedforward_layernorm"):
            arrays[f"{layer}.{name}.weight"] = np.zeros(16, np.float32)
        if head_norms:
            for name in ("q_norm", "k_norm"):
                arrays[f"{layer}.self_attn.{name}.weight"] = np.zeros(4, np.float32)
    return arrays


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a checkpoint folder and open it."""

    def write_one(config: dict[str, Any], arrays: Arrays) -> Checkpoint:
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
        save_file(arrays, tmp_path / "model.safetensors")
        return Checkpoint(tmp_path)

    return write_one


def tensors_of(checkpoint: Checkpoint, **options: Any) -> list[TensorSource]:  # noqa: ANN401
    """Tensors by the family that the checkpoint names."""
    family = find_family(checkpoint.config)
    return family.tensors(checkpoint.config, checkpoint.tensors, **options)


def by_name(tensors: list[TensorSource]) -> dict[str, TensorSource]:
    """Tensors by their GGUF name."""
    return {tensor.gguf_name: tensor for tensor in tensors}


def test_a_healthy_checkpoint_passes(write: Write) -> None:
    tensors = tensors_of(write(LLAMA, llama_arrays()))
    assert len(tensors) == 21
    found = by_name(tensors)
    query = found["blk.1.attn_q.weight"]
    assert query.heads == 4
    assert query.module == "model.layers.1.self_attn.q_proj"
    assert found["blk.0.attn_k.weight"].heads == 2
    assert found["blk.0.attn_v.weight"].heads is None
    assert found["output.weight"].module == "lm_head"


def test_a_missing_tensor_is_named(write: Write) -> None:
    arrays = llama_arrays()
    del arrays["model.layers.1.mlp.up_proj.weight"]
    with pytest.raises(CheckpointError, match=r"1 missing \(model\.layers\.1\.mlp\.up_proj"):
        tensors_of(write(LLAMA, arrays))


def test_an_extra_tensor_is_named(write: Write) -> None:
    arrays = llama_arrays()
    arrays["model.layers.0.self_attn.q_proj.bias"] = np.zeros(16, np.float32)
    with pytest.raises(CheckpointError, match=r"1 not expected \(model.*q_proj\.bias"):
        tensors_of(write(LLAMA, arrays))


def test_a_layer_too_many_is_counted(write: Write) -> None:
    with pytest.raises(CheckpointError, match=r"9 not expected .* and 4 more"):
        tensors_of(write(LLAMA, llama_arrays(layers=3)))


def test_a_wrong_shape_says_what_was_expected(write: Write) -> None:
    arrays = llama_arrays()
    arrays["model.layers.0.self_attn.k_proj.weight"] = np.zeros((16, 16), np.float32)
    with pytest.raises(CheckpointError, match=r"k_proj.weight is \(16, 16\), expected \(8, 16\)"):
        tensors_of(write(LLAMA, arrays))


def test_a_missing_head_of_an_untied_model_is_named(write: Write) -> None:
    with pytest.raises(CheckpointError, match="lm_head"):
        tensors_of(write(LLAMA, llama_arrays(head=False)))


def test_unused_buffers_are_left_out(write: Write) -> None:
    arrays = llama_arrays()
    arrays["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.zeros(2, np.float32)
    assert len(tensors_of(write(LLAMA, arrays))) == 21


def test_a_tied_model_has_no_output_unless_untied(write: Write) -> None:
    checkpoint = write({**LLAMA, "tie_word_embeddings": True}, llama_arrays(head=False))
    family = find_family(checkpoint.config)
    assert family.is_tied(checkpoint.config, checkpoint.tensors)
    assert family.duplicate_head(checkpoint.config, checkpoint.tensors) is None
    assert "output.weight" not in by_name(tensors_of(checkpoint))
    output = by_name(tensors_of(checkpoint, untie=True))["output.weight"]
    assert output.source == "model.embed_tokens.weight"
    assert output.module == "lm_head"


def test_a_duplicate_head_of_a_tied_model_is_told(write: Write) -> None:
    checkpoint = write({**LLAMA, "tie_word_embeddings": True}, llama_arrays())
    family = find_family(checkpoint.config)
    pair = family.duplicate_head(checkpoint.config, checkpoint.tensors)
    assert pair == ("lm_head.weight", "model.embed_tokens.weight")
    assert "output.weight" not in by_name(tensors_of(checkpoint))
    output = by_name(tensors_of(checkpoint, untie=True))["output.weight"]
    assert output.source == "lm_head.weight"


def test_vocabulary_size_is_the_exported_one(write: Write) -> None:
    checkpoint = write(LLAMA, llama_arrays())
    for size in (40, 56):
        found = by_name(tensors_of(checkpoint, vocab_size=size))
        assert found["token_embd.weight"].shape == (size, 16)
        assert found["output.weight"].shape == (size, 16)
        family = find_family(checkpoint.config)
        metadata = family.metadata(checkpoint.config, vocab_size=size)
        assert ("llama.vocab_size", size, "u32") in metadata
        assert family.shape(checkpoint.config, size).vocab == size


@pytest.mark.parametrize(
    ("embed", "layers", "head"),
    [
        ("language_model.model.", "language_model.model.", "language_model."),
        ("model.language_model.", "model.language_model.", ""),
        ("model.", "model.", ""),
    ],
)
def test_wrapped_names_of_gemma3(write: Write, embed: str, layers: str, head: str) -> None:
    arrays = {
        embed + name.removeprefix("model."): array
        for name, array in gemma_arrays(head_norms=True).items()
    }
    arrays[f"{head}lm_head.weight"] = arrays[f"{embed}embed_tokens.weight"]
    arrays["vision_tower.vision_model.post_layernorm.weight"] = np.zeros(4, np.float32)
    config = {**GEMMA3, "architectures": ["Gemma3ForConditionalGeneration"]}
    checkpoint = write(config, arrays)
    found = by_name(tensors_of(checkpoint, vocab_size=45))
    assert found["token_embd.weight"].shape == (45, 16)
    query = found["blk.0.attn_q.weight"]
    assert query.source == f"{layers}layers.0.self_attn.q_proj.weight"
    assert query.module == "model.layers.0.self_attn.q_proj"
    assert canonical_name(str(query.source)) == "model.layers.0.self_attn.q_proj.weight"
    assert found["blk.0.attn_q_norm.weight"].offset == 1.0
    assert query.offset == 0.0
    pair = find_family(config).duplicate_head(config, checkpoint.tensors)
    assert pair == (f"{head}lm_head.weight", f"{embed}embed_tokens.weight")


def test_a_tensor_under_two_names_is_refused(write: Write) -> None:
    arrays = gemma_arrays(head_norms=True)
    arrays["language_model.model.norm.weight"] = arrays["model.norm.weight"]
    with pytest.raises(CheckpointError, match="twice"):
        tensors_of(write(GEMMA3, arrays))


def test_gemma2_cannot_be_untied(write: Write) -> None:
    checkpoint = write(GEMMA2, gemma_arrays(head_norms=False))
    assert "output.weight" not in by_name(tensors_of(checkpoint))
    with pytest.raises(UnsupportedError, match="takes the embedding as output"):
        tensors_of(checkpoint, untie=True)
    with pytest.raises(UnsupportedError, match="takes the embedding as output"):
        find_family(GEMMA2).settings({**GEMMA2, "tie_word_embeddings": False})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": "16"}, "'hidden_size' is '16'"),
        ({"num_hidden_layers": 0}, "'num_hidden_layers' is 0"),
        ({"vocab_size": None}, "'vocab_size' is None"),
        ({"vocab_size": True}, "'vocab_size' is True"),
        ({"rms_norm_eps": "small"}, "'rms_norm_eps' is 'small'"),
        ({"hidden_size": 18}, "no multiple of num_attention_heads"),
        ({"num_key_value_heads": 3}, "cannot share 3"),
        ({"rope_scaling": "linear"}, "'rope_scaling' is 'linear'"),
        ({"rope_theta": "big"}, "'rope_theta' is 'big'"),
    ],
)
def test_unusable_settings_are_named(change: dict[str, Any], message: str) -> None:
    family = find_family(LLAMA)
    family.metadata(LLAMA)
    with pytest.raises(CheckpointError, match=message):
        family.metadata({**LLAMA, **change})


def family_of(name: str) -> Family:
    """The family of an architecture."""
    return find_family({**LLAMA, "architectures": [name]})


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("LlamaForCausalLM", {"rope_scaling": {"type": "longrope"}}, "'longrope' cannot"),
        ("Qwen2ForCausalLM", {"head_dim": 8}, "no GGUF file of this model would load"),
        ("Qwen3ForCausalLM", {"attention_bias": True}, "'attention_bias'"),
        ("Gemma2ForCausalLM", {"tie_word_embeddings": True, "rope_theta": 5e4}, "base 50000"),
        (
            "Gemma2ForCausalLM",
            {"tie_word_embeddings": True, "attn_logit_softcapping": None},
            "'attn_logit_softcapping'",
        ),
        ("Gemma3ForCausalLM", {"attn_logit_softcapping": 50.0}, "'attn_logit_softcapping'"),
        ("Phi3ForCausalLM", {"rope_scaling": {"type": "linear", "factor": 2}}, "'linear'"),
    ],
)
def test_what_llama_cpp_cannot_load_is_refused(
    name: str, change: dict[str, Any], message: str
) -> None:
    family = family_of(name)
    healthy = {**LLAMA, "tie_word_embeddings": name.startswith("Gemma")}
    family.metadata(healthy)
    with pytest.raises(UnsupportedError, match=message):
        family.metadata({**healthy, **change})


def test_phi3_factors_of_the_wrong_length_are_refused(write: Write) -> None:
    scaling = {"type": "longrope", "short_factor": [1.0, 1.0], "long_factor": [1.0]}
    config = {**LLAMA, "rope_scaling": scaling}
    family = family_of("Phi3ForCausalLM")
    with pytest.raises(CheckpointError, match="'long_factor' has 1 entries, expected 2"):
        family.generate(family.settings(config))
    scaling["long_factor"] = [1.5, 2.0]
    assert set(family.generate(family.settings(config))) == {
        "rope_factors_long.weight",
        "rope_factors_short.weight",
    }
