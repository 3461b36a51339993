"""A pico llama, its adapter and GGUF files of it, written without the code under test.

The model has two layers and a byte-level vocabulary; GGUF files are written by gguf's own writer
and encoded by ggml, the merge is three lines of numpy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from loragraft.export.quantize.ggml import load_ggml

Weights = dict[str, NDArray[np.float32]]

HIDDEN, LAYERS, HEADS, HEADS_KV, WIDE, RANK, ALPHA = 256, 2, 4, 2, 256, 4, 8
HEAD_WIDTH = HIDDEN // HEADS
SHAPES = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (HEADS_KV * HEAD_WIDTH, HIDDEN),
    "self_attn.v_proj": (HEADS_KV * HEAD_WIDTH, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (WIDE, HIDDEN),
    "mlp.up_proj": (WIDE, HIDDEN),
    "mlp.down_proj": (HIDDEN, WIDE),
}
GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
PERMUTED = {"self_attn.q_proj": HEADS, "self_attn.k_proj": HEADS_KV}


def byte_tokens() -> list[str]:
    """The 256 byte symbols of GPT-2's alphabet, one merged pair and two special tokens."""
    from tokenizers.pre_tokenizers import ByteLevel

    return [*sorted(ByteLevel.alphabet()), "qz", "<s>", "</s>"]


VOCABULARY = 259


def make_weights(seed: int) -> Weights:
    """Random weights under Hugging Face names; q, k and the rest are large enough to matter."""
    generator = np.random.default_rng(seed)

    def matrix(*shape: int) -> NDArray[np.float32]:
        return generator.normal(0, 0.06, shape).astype(np.float32)

    weights = {"model.embed_tokens.weight": matrix(VOCABULARY, HIDDEN)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        for name, shape in SHAPES.items():
            weights[f"{prefix}.{name}.weight"] = matrix(*shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{prefix}.{name}.weight"] = np.ones(HIDDEN, np.float32)
    weights["model.norm.weight"] = np.ones(HIDDEN, np.float32)
    return weights


def save_base(folder: Path, weights: Weights, **config: object) -> Path:
    """Write a Hugging Face checkpoint with a byte-level tokenizer."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    settings = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN,
        "intermediate_size": WIDE, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS_KV, "head_dim": HEAD_WIDTH, "vocab_size": VOCABULARY,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": True, "hidden_act": "silu", "torch_dtype": "float32",
        "bos_token_id": 257, "eos_token_id": 258, "attention_bias": False, "mlp_bias": False,
        **config,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(settings))
    tokens = byte_tokens()
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens[:257])}, [("q", "z")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(tokens[257:])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": "<s>",
                "eos_token": "</s>",
                "pad_token": "</s>",
                "chat_template": "{{ messages[0].content }}",
            }
        )
    )
    (folder / "generation_config.json").write_text('{"eos_token_id": 258, "temperature": 0.5}')
    return folder


def make_adapter(folder: Path, seed: int, size: float = 0.05, **config: object) -> Path:
    """Write a LoRA on all seven projections; `size` is the delta's relative size."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    tensors: dict[str, NDArray[np.float32]] = {}
    for layer in range(LAYERS):
        for name, (rows, columns) in SHAPES.items():
            prefix = f"base_model.model.model.layers.{layer}.{name}"
            scale = 0.06 * size / (ALPHA / RANK) / np.sqrt(RANK)
            a = generator.normal(0, 1, (RANK, columns)).astype(np.float32)
            b = generator.normal(0, scale, (rows, RANK)).astype(np.float32)
            tensors[f"{prefix}.lora_A.weight"] = a
            tensors[f"{prefix}.lora_B.weight"] = b
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    settings = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA,
        "target_modules": [name.split(".")[-1] for name in SHAPES], "bias": "none",
        "lora_dropout": 0.0, "fan_in_fan_out": False, "inference_mode": True,
        "base_model_name_or_path": "pico", **config,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def deltas(folder: Path) -> Weights:
    """Each module's change, by the name of the weight it changes."""
    from safetensors.numpy import load_file

    tensors = load_file(folder / "adapter_model.safetensors")
    found: Weights = {}
    for key, a in tensors.items():
        if ".lora_A." in key:
            name = key.removeprefix("base_model.model.").replace(".lora_A.", ".")
            b = tensors[key.replace("lora_A", "lora_B")]
            found[name] = (ALPHA / RANK) * (b @ a).astype(np.float32)
    return found


def merged_weights(weights: Weights, change: Weights, times: float = 1.0) -> Weights:
    """The base with the change added so many times."""
    return {n: w + np.float32(times) * change[n] if n in change else w for n, w in weights.items()}


def permute(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Row order of q and k in llama.cpp's llama architecture."""
    width = rows.shape[0] // heads
    return rows.reshape(heads, 2, width // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def gguf_tensors(weights: Mapping[str, NDArray[np.float32]]) -> Weights:
    """The same weights under GGUF names, q and k permuted."""
    tensors: Weights = {}
    for name, values in weights.items():
        if name == "model.embed_tokens.weight":
            tensors["token_embd.weight"] = values
        elif name == "model.norm.weight":
            tensors["output_norm.weight"] = values
        elif "layernorm" in name:
            layer = name.split(".")[2]
            kind = "attn_norm" if "input" in name else "ffn_norm"
            tensors[f"blk.{layer}.{kind}.weight"] = values
        else:
            layer, module = name.split(".")[2], ".".join(name.split(".")[3:5])
            rows = permute(values, PERMUTED[module]) if module in PERMUTED else values
            tensors[f"blk.{layer}.{GGUF_NAMES[module]}.weight"] = np.ascontiguousarray(rows)
    return tensors


def write_model(path: Path, weights: Weights, qtype: str = "F32", **items: str) -> Path:
    """Write a GGUF that llama.cpp loads; matrices in `qtype`, the rest in F32."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_file_type(0)
    writer.add_context_length(512)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(WIDE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS_KV)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HEAD_WIDTH)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(byte_tokens())
    writer.add_token_types([1] * 257 + [3] * 2)
    writer.add_token_merges(["q z"])
    writer.add_bos_token_id(257)
    writer.add_eos_token_id(258)
    writer.add_add_bos_token(False)
    for key, value in items.items():
        writer.add_string(key, value)
    for name, values in gguf_tensors(weights).items():
        _add(writer, name, values, qtype if values.ndim == 2 else "F32")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, name: str, values: NDArray[np.float32], qtype: str) -> None:
    kind = gguf.GGMLQuantizationType[qtype]
    if qtype in ("F32", "F16"):
        writer.add_tensor(name, values.astype(np.float32 if qtype == "F32" else np.float16))
        return
    data = gguf.quants.quantize(values, kind) if qtype == "BF16" else load_ggml().quantize(
        int(kind), np.ascontiguousarray(values))  # fmt: skip
    writer.add_tensor(name, data, raw_dtype=kind)
