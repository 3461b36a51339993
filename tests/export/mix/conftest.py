"""Models by their shapes alone, as the tests of mixes need them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from loragraft.export.mix import ModelShape, TensorSpec

Model = tuple[ModelShape, list[TensorSpec]]


def build_model(shape: ModelShape, *, tied: bool, rows: Mapping[str, int] | None = None) -> Model:
    """All tensors of a model; `rows` may overrule the row length of tensors by their last part."""
    query, key = shape.heads * shape.key_length, shape.heads_kv * shape.key_length
    value, wide = shape.heads_kv * shape.value_length, shape.embedding
    block: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (wide,),
        "attn_output.weight": (wide, shape.heads * shape.value_length),
        "ffn_down.weight": (wide, shape.feed_forward),
        "ffn_norm.weight": (wide,),
    }
    if shape.architecture == "phi3":
        block["attn_qkv.weight"] = (query + key + value, wide)
        block["ffn_up.weight"] = (2 * shape.feed_forward, wide)
    else:
        block["attn_q.weight"] = (query, wide)
        block["attn_k.weight"] = (key, wide)
        block["attn_v.weight"] = (value, wide)
        block["ffn_gate.weight"] = (shape.feed_forward, wide)
        block["ffn_up.weight"] = (shape.feed_forward, wide)
    if shape.architecture == "qwen2":
        block |= {"attn_q.bias": (query,), "attn_k.bias": (key,), "attn_v.bias": (value,)}
    if shape.architecture in ("qwen3", "gemma3"):
        block |= {
            "attn_q_norm.weight": (shape.key_length,),
            "attn_k_norm.weight": (shape.key_length,),
        }
    if shape.architecture.startswith("gemma"):
        block |= {"post_attention_norm.weight": (wide,), "post_ffw_norm.weight": (wide,)}
    for name, length in (rows or {}).items():
        if name in block:
            block[name] = (*block[name][:-1], length)
    ends: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (shape.vocab, wide),
        "output_norm.weight": (wide,),
    }
    if shape.architecture == "llama":
        ends["rope_freqs.weight"] = (shape.key_length // 2,)
    if not tied:
        ends["output.weight"] = (shape.vocab, wide)
    tensors = [TensorSpec(name, size) for name, size in ends.items()]
    for layer in range(shape.layers):
        tensors += [TensorSpec(f"blk.{layer}.{name}", size) for name, size in block.items()]
    return shape, tensors


# Hyper-parameters as in the config.json of each: architecture, layers, embedding, feed-forward,
# heads, key-value heads, head length, vocabulary, tied.
_PUBLISHED: dict[str, tuple[str, int, int, int, int, int, int, int, bool]] = {
    "SmolLM2-135M": ("llama", 30, 576, 1536, 9, 3, 64, 49152, True),
    "Llama-3.2-1B": ("llama", 16, 2048, 8192, 32, 8, 64, 128256, True),
    "Llama-3.2-3B": ("llama", 28, 3072, 8192, 24, 8, 128, 128256, True),
    "Llama-3.1-8B": ("llama", 32, 4096, 14336, 32, 8, 128, 128256, False),
    "Llama-3.1-70B": ("llama", 80, 8192, 28672, 64, 8, 128, 128256, False),
    "Llama-1-65B": ("llama", 80, 8192, 22016, 64, 64, 128, 32000, False),
    "Mistral-7B": ("llama", 32, 4096, 14336, 32, 8, 128, 32768, False),
    "Qwen2.5-0.5B": ("qwen2", 24, 896, 4864, 14, 2, 64, 151936, True),
    "Qwen2.5-1.5B": ("qwen2", 28, 1536, 8960, 12, 2, 128, 151936, True),
    "Qwen2.5-3B": ("qwen2", 36, 2048, 11008, 16, 2, 128, 151936, True),
    "Qwen2.5-7B": ("qwen2", 28, 3584, 18944, 28, 4, 128, 152064, False),
    "Qwen2.5-72B": ("qwen2", 80, 8192, 29568, 64, 8, 128, 152064, False),
    "Qwen1.5-72B": ("qwen2", 80, 8192, 24576, 64, 64, 128, 152064, False),
    "Qwen3-0.6B": ("qwen3", 28, 1024, 3072, 16, 8, 128, 151936, True),
    "Qwen3-4B": ("qwen3", 36, 2560, 9728, 32, 8, 128, 151936, True),
    "Qwen3-8B": ("qwen3", 36, 4096, 12288, 32, 8, 128, 151936, False),
    "Gemma-2-2B": ("gemma2", 26, 2304, 9216, 8, 4, 256, 256000, True),
    "Gemma-2-27B": ("gemma2", 46, 4608, 36864, 32, 16, 128, 256000, True),
    "Gemma-3-1B": ("gemma3", 26, 1152, 6912, 4, 1, 256, 262144, True),
    "Gemma-3-4B": ("gemma3", 34, 2560, 10240, 8, 4, 256, 262208, True),
    "Phi-3-mini": ("phi3", 32, 3072, 8192, 32, 32, 96, 32064, False),
    "Phi-3-medium": ("phi3", 40, 5120, 17920, 40, 10, 128, 32064, False),
}


@pytest.fixture(scope="session")
def model() -> Callable[..., Model]:
    """A function that lists the tensors of a shape."""
    return build_model


@pytest.fixture(scope="session")
def published() -> dict[str, Model]:
    """Models of every supported family by their published sizes."""
    models = {}
    for name, (arch, layers, wide, ffn, heads, kv, head, vocab, tied) in _PUBLISHED.items():
        shape = ModelShape(arch, layers, wide, ffn, heads, kv, head, head, vocab=vocab)
        models[name] = build_model(shape, tied=tied)
    return models
