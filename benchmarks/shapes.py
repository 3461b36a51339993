"""Random checkpoints of real shapes, with a real tokenizer, and adapters for them.

Weights are Gaussian with the spread of trained ones, so that the encoders do the same work;
the tokenizer is Qwen2's, as llama.cpp's source distribution carries it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from loragraft.export.delta import round_to_bf16

SEED = 20251101
SHARD_BYTES = 2 << 30
WEIGHT_STD = 0.03
"""Spread of the projections of Qwen2.5, to one digit."""

QWEN_SHAPES: dict[str, dict[str, Any]] = {
    "qwen2.5-1.5b": {
        "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
        "num_attention_heads": 12, "num_key_value_heads": 2, "tie_word_embeddings": True,
    },
    "qwen2.5-3b": {
        "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36,
        "num_attention_heads": 16, "num_key_value_heads": 2, "tie_word_embeddings": True,
    },
}  # fmt: skip
COMMON: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 151936,
    "hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0, "bos_token_id": 151643, "eos_token_id": 151645,
    "torch_dtype": "bfloat16", "use_sliding_window": False,
}  # fmt: skip


def tensor_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return every tensor of a Qwen2 checkpoint with its shape."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    kv = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for name, rows in (("q", hidden), ("k", kv), ("v", kv)):
            shapes[f"{prefix}self_attn.{name}_proj.weight"] = (rows, hidden)
            shapes[f"{prefix}self_attn.{name}_proj.bias"] = (rows,)
        shapes[f"{prefix}self_attn.o_proj.weight"] = (hidden, hidden)
        shapes[f"{prefix}mlp.gate_proj.weight"] = (inner, hidden)
        shapes[f"{prefix}mlp.up_proj.weight"] = (inner, hidden)
        shapes[f"{prefix}mlp.down_proj.weight"] = (hidden, inner)
        shapes[f"{prefix}input_layernorm.weight"] = (hidden,)
        shapes[f"{prefix}post_attention_layernorm.weight"] = (hidden,)
    return shapes


def _random_bf16(shape: tuple[int, ...], seed: int) -> np.ndarray[Any, Any]:
    generator = np.random.default_rng([SEED, seed])
    values = generator.standard_normal(math.prod(shape), dtype=np.float32)
    values = values * np.float32(WEIGHT_STD) if len(shape) > 1 else 1 + values * np.float32(0.05)
    return (round_to_bf16(values).view(np.uint32) >> 16).astype("<u2")


def write_shard(path: Path, shapes: dict[str, tuple[int, ...]], first: int) -> None:
    """Write random tensors as one safetensors file, one tensor in memory at a time."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        stop = offset + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, stop]}
        offset = stop
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for number, shape in enumerate(shapes.values()):
            _random_bf16(shape, first + number).tofile(file)


def _shards(shapes: dict[str, tuple[int, ...]]) -> list[dict[str, tuple[int, ...]]]:
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    size = 0
    for name, shape in shapes.items():
        nbytes = 2 * math.prod(shape)
        if shards[-1] and size + nbytes > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = shape
        size += nbytes
    return shards


def build_checkpoint(name: str, folder: Path, tokenizer: Path) -> Path:
    """Build the checkpoint of a shape once; the tokenizer's files are copied into it."""
    target = folder / name
    if (target / "complete").exists():
        return target
    target.mkdir(parents=True, exist_ok=True)
    config = {**COMMON, **QWEN_SHAPES[name]}
    (target / "config.json").write_text(json.dumps(config, indent=2))
    shards, weight_map, first = _shards(tensor_shapes(config)), {}, 0
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_shard(target / file, shard, first)
        weight_map.update(dict.fromkeys(shard, file))
        first += len(shard)
    index = {"metadata": {}, "weight_map": weight_map}
    (target / "model.safetensors.index.json").write_text(json.dumps(index))
    for file in tokenizer.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    (target / "complete").touch()
    return target


def build_adapter(base: Path, folder: Path, rank: int = 16) -> Path:
    """Build a random LoRA on all seven projections, in PEFT's format."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((base / "config.json").read_text())
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    generator = np.random.default_rng(SEED)
    tensors = {}
    for name, shape in tensor_shapes(config).items():
        module = name.removesuffix(".weight")
        if len(shape) != 2 or module.rpartition(".")[2] not in modules:
            continue
        a = generator.standard_normal((rank, shape[1]), dtype=np.float32) / math.sqrt(shape[1])
        b = generator.standard_normal((shape[0], rank), dtype=np.float32) * np.float32(0.01)
        tensors[f"base_model.model.{module}.lora_A.weight"] = a
        tensors[f"base_model.model.{module}.lora_B.weight"] = b
    save_file(tensors, folder / "adapter_model.safetensors")
    adapter_config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank,
        "lora_dropout": 0.0, "target_modules": modules, "bias": "none",
        "base_model_name_or_path": base.name, "inference_mode": True,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(adapter_config, indent=2))
    return folder
