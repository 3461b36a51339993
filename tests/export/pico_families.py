"""Pico models of every family as checkpoints, and LoRA adapters for them, straight to disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Array = NDArray[np.float32]

VOCAB, WIDTH, FFN, HEADS, HEADS_KV, HEAD, LAYERS, RANK = 48, 64, 96, 4, 2, 16, 2, 4
FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3")
CLASSES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3": "Gemma3ForCausalLM",
    "phi3": "Phi3ForCausalLM",
}


def family_config(family: str, *, tied: bool) -> dict[str, Any]:
    """config.json of a pico model."""
    config: dict[str, Any] = {
        "architectures": [CLASSES[family]],
        "model_type": "gemma3_text" if family == "gemma3" else family,
        "hidden_size": WIDTH,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS_KV,
        "head_dim": HEAD,
        "vocab_size": VOCAB,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": tied,
        "hidden_act": "silu",
        "torch_dtype": "float32",
    }
    if family.startswith("gemma"):
        config |= {
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": HEAD,
            "sliding_window": 32,
            "sliding_window_pattern": 2 if family == "gemma2" else 6,
            "attn_logit_softcapping": 50.0 if family == "gemma2" else None,
            "final_logit_softcapping": 30.0 if family == "gemma2" else None,
            "rope_local_base_freq": 10000.0,
        }
    if family == "phi3":
        config |= {
            "original_max_position_embeddings": 64,
            "rope_scaling": None,
            "sliding_window": 64,
            "partial_rotary_factor": 1.0,
        }
    return config


def linear_shapes(family: str) -> dict[str, tuple[int, int]]:
    """Every linear module of a pico model, ``[out, in]``."""
    query, key = HEADS * HEAD, HEADS_KV * HEAD
    attention = {
        "self_attn.q_proj": (query, WIDTH),
        "self_attn.k_proj": (key, WIDTH),
        "self_attn.v_proj": (key, WIDTH),
    }
    gates = {"mlp.gate_proj": (FFN, WIDTH), "mlp.up_proj": (FFN, WIDTH)}
    if family == "phi3":
        attention = {"self_attn.qkv_proj": (query + 2 * key, WIDTH)}
        gates = {"mlp.gate_up_proj": (2 * FFN, WIDTH)}
    block = {
        **attention,
        **gates,
        "self_attn.o_proj": (WIDTH, query),
        "mlp.down_proj": (WIDTH, FFN),
    }
    return {
        f"model.layers.{layer}.{name}": shape for layer in range(LAYERS)
        for name, shape in block.items()
    }  # fmt: skip


def base_tensors(family: str, *, tied: bool) -> dict[str, Array]:
    """Random weights of a pico model under their Hugging Face names."""
    random = np.random.default_rng(11)
    shapes: dict[str, tuple[int, ...]] = {
        f"{name}.weight": shape for name, shape in linear_shapes(family).items()
    }
    if family == "qwen2":
        shapes |= {
            f"{name}.bias": shape[:1]
            for name, shape in linear_shapes(family).items()
            if name.endswith(("q_proj", "k_proj", "v_proj"))
        }
    tensors = {
        name: random.normal(0, 0.12, shape).astype(np.float32) for name, shape in shapes.items()
    }
    tensors["model.embed_tokens.weight"] = random.normal(0, 1, (VOCAB, WIDTH)).astype(np.float32)
    if not tied:
        head = random.normal(0, 0.12, (VOCAB, WIDTH))
        tensors["lm_head.weight"] = head.astype(np.float32)
    norms = ["input_layernorm", "post_attention_layernorm"]
    if family.startswith("gemma"):
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    widths = {f"layers.{layer}.{norm}": WIDTH for layer in range(LAYERS) for norm in norms}
    if family in ("qwen3", "gemma3"):
        widths |= {
            f"layers.{layer}.self_attn.{part}_norm": HEAD
            for layer in range(LAYERS)
            for part in "qk"
        }
    for name, width in {**widths, "norm": WIDTH}.items():
        tensors[f"model.{name}.weight"] = random.normal(1, 0.1, width).astype(np.float32)
    return tensors


def make_base(folder: Path, family: str, *, tied: bool = False) -> Path:
    """Write a pico checkpoint."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(family_config(family, tied=tied)))
    save_file(base_tensors(family, tied=tied), folder / "model.safetensors", {"format": "pt"})
    return folder


def lora_pair(
    key: str, out: int, width: int, rank: int, *, embedding: bool = False
) -> dict[str, Array]:
    """Random A and B of one module, by PEFT's keys."""
    random = np.random.default_rng(len(key) + out)
    suffixes = ("lora_embedding_A", "lora_embedding_B") if embedding else (
        "lora_A.weight", "lora_B.weight")  # fmt: skip
    return {
        f"base_model.model.{key}.{suffixes[0]}": random.normal(0, 0.3, (rank, width)).astype("f4"),
        f"base_model.model.{key}.{suffixes[1]}": random.normal(0, 0.3, (out, rank)).astype("f4"),
    }


def make_adapter(
    folder: Path,
    tensors: Mapping[str, Array],
    **config: Any,  # noqa: ANN401
) -> Path:
    """Write a PEFT adapter folder."""
    folder.mkdir()
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": 6, "target_modules": "all-linear"}
    settings |= {"base_model_name_or_path": "someone/pico"} | config
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    save_file(dict(tensors), folder / "adapter_model.safetensors", {"format": "pt"})
    return folder


def all_linear(family: str, *, rank: Mapping[str, int] | None = None) -> dict[str, Array]:
    """LoRA pairs for every linear module; ``rank`` by the module's last name."""
    tensors: dict[str, Array] = {}
    for name, (out, width) in linear_shapes(family).items():
        tensors |= lora_pair(name, out, width, (rank or {}).get(name.rsplit(".", 1)[-1], RANK))
    return tensors
