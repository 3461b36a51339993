"""A small Llama-shaped base and adapters for it, written straight to disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

Arrays = dict[str, np.ndarray]
PREFIX = "base_model.model."

HIDDEN, HEADS, HEADS_KV, HEAD, INTERMEDIATE, LAYERS, VOCABULARY = 64, 4, 2, 16, 96, 2, 128
WIDTHS = {
    "self_attn.q_proj": (HIDDEN, HEADS * HEAD),
    "self_attn.k_proj": (HIDDEN, HEADS_KV * HEAD),
    "self_attn.v_proj": (HIDDEN, HEADS_KV * HEAD),
    "self_attn.o_proj": (HEADS * HEAD, HIDDEN),
    "mlp.gate_proj": (HIDDEN, INTERMEDIATE),
    "mlp.up_proj": (HIDDEN, INTERMEDIATE),
    "mlp.down_proj": (INTERMEDIATE, HIDDEN),
}
"""Projections of one layer: (in, out)."""

CONFIG: dict[str, Any] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "someone/pico-llama",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["q_proj", "v_proj"],
    "bias": "none",
}


def lora_arrays(
    layers: int = LAYERS,
    targets: tuple[str, ...] = ("self_attn.q_proj", "self_attn.v_proj"),
    rank: int = 4,
    backbone: str = "model.",
    width: float = 1.0,
    dtype: str = "float32",
) -> Arrays:
    """Return A and B of every target, keyed as PEFT saves them; ``width`` scales every width."""
    rng = np.random.default_rng(20251101)
    arrays: Arrays = {}
    for layer in range(layers):
        for target in targets:
            inside, outside = (int(n * width) for n in WIDTHS[target])
            key = f"{PREFIX}{backbone}layers.{layer}.{target}"
            arrays[f"{key}.lora_A.weight"] = rng.normal(size=(rank, inside)).astype(dtype)
            arrays[f"{key}.lora_B.weight"] = rng.normal(size=(outside, rank)).astype(dtype)
    return arrays


def write_adapter(folder: Path, arrays: Arrays | None = None, **config: object) -> Path:
    """Write an adapter folder and return it; ``config`` goes over the usual one."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(lora_arrays() if arrays is None else arrays, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **config}))
    return folder


def write_base(
    folder: Path,
    layers: int = LAYERS,
    backbone: str = "model.",
    tied: bool = False,
    **config: object,
) -> Path:
    """Write a base checkpoint of zeros and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {f"{backbone}embed_tokens.weight": (VOCABULARY, HIDDEN)}
    if not tied:
        shapes["lm_head.weight"] = (VOCABULARY, HIDDEN)
    shapes[f"{backbone}norm.weight"] = (HIDDEN,)
    for layer in range(layers):
        for target, (inside, outside) in WIDTHS.items():
            shapes[f"{backbone}layers.{layer}.{target}.weight"] = (outside, inside)
        shapes[f"{backbone}layers.{layer}.self_attn.q_proj.bias"] = (HEADS * HEAD,)
    save_file(
        {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()},
        folder / "model.safetensors",
    )
    values = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS_KV,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": layers,
        "vocab_size": VOCABULARY,
        "tie_word_embeddings": tied,
    }
    (folder / "config.json").write_text(json.dumps({**values, **config}))
    return folder


def edit_adapter(
    source: Path, folder: Path, change: Callable[[str, np.ndarray], tuple[str, np.ndarray]]
) -> Path:
    """Copy an adapter, with every key and tensor of its file changed."""
    shutil.copytree(source, folder)
    arrays = load_file(source / "adapter_model.safetensors")
    changed = dict(change(key, value) for key, value in arrays.items())
    contiguous = {key: np.ascontiguousarray(value) for key, value in changed.items()}
    save_file(contiguous, folder / "adapter_model.safetensors")
    return folder


def write_encoder_adapter(base: Path, folder: Path, std: float = 0.05) -> Path:
    """Let PEFT make an adapter on the bare encoder of a SentenceTransformer.

    Args:
        base: The SentenceTransformer's folder.
        folder: Where the adapter goes.
        std: Standard deviation of B: 0.05 moves the embeddings to a cosine of about 0.98.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    from loragraft.adapter.peft_loading import quiet

    with quiet():
        torch.manual_seed(20251101)
        encoder = AutoModel.from_pretrained(base, dtype=torch.float32)
        options = LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"])
        wrapped = get_peft_model(encoder, options)
        with torch.no_grad():
            for name, parameter in wrapped.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(0, std)
        wrapped.save_pretrained(folder)
    return folder
