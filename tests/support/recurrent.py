"""A pico Mamba as a GGUF file: no attention, and a state that cannot be cut shorter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

EMBED, INNER, STATE, RANK, KERNEL, LAYERS = 64, 128, 8, 4, 4, 2


def build_mamba(like: Path, path: Path) -> Path:
    """Write a Mamba of random weights with the tokenizer and chat template of another file."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(like)
    writer = gguf.GGUFWriter(path, "mamba")
    _add_sizes(writer)
    size = 0
    for field in reader.fields.values():
        if field.name.startswith("tokenizer."):
            kind = field.types[0]
            inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), kind, inner)
            size = len(field.contents()) if field.name.endswith("ggml.tokens") else size
    chance = np.random.default_rng(20251101)

    def add(name: str, *shape: int, scale: float = 0.3) -> None:
        writer.add_tensor(name, (scale * chance.standard_normal(shape)).astype(np.float32))

    add("token_embd.weight", size, EMBED, scale=1.0)
    writer.add_tensor("output_norm.weight", np.ones(EMBED, np.float32))
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        writer.add_tensor(f"{block}.attn_norm.weight", np.ones(EMBED, np.float32))
        add(f"{block}.ssm_in.weight", 2 * INNER, EMBED)
        add(f"{block}.ssm_conv1d.weight", INNER, KERNEL)
        add(f"{block}.ssm_conv1d.bias", INNER)
        add(f"{block}.ssm_x.weight", RANK + 2 * STATE, INNER)
        add(f"{block}.ssm_dt.weight", INNER, RANK)
        add(f"{block}.ssm_dt.bias", INNER)
        decay = -np.exp(chance.standard_normal((INNER, STATE))).astype(np.float32)
        writer.add_tensor(f"{block}.ssm_a", decay)
        add(f"{block}.ssm_d", INNER)
        add(f"{block}.ssm_out.weight", EMBED, INNER)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_sizes(writer: Any) -> None:  # noqa: ANN401
    writer.add_context_length(4096)
    writer.add_embedding_length(EMBED)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(LAYERS)
    writer.add_ssm_conv_kernel(KERNEL)
    writer.add_ssm_inner_size(INNER)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(RANK)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(0)
