"""How a checkpoint's tensors become GGUF's: one rule per tensor, as data.

GGUF's names are those of gguf-py's `constants.py` and `tensor_mapping.py` in llama.cpp.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"


@dataclass(frozen=True)
class Rule:
    """One tensor, or one per layer.

    Attributes:
        gguf: GGUF's name, without `blk.N.` in a layer.
        source: The checkpoint's name, without `model.layers.N.` in a layer.
        shape: Names of `Settings.sizes`, rows first.
        heads: "heads" or "heads_kv" where rows are permuted by that many heads.
        norm: Whether it is the weight of a norm, to which some families add one.
        when: A flag of the configuration that must be true for the tensor to exist.
    """

    gguf: str
    source: str
    shape: tuple[str, ...]
    heads: str | None = None
    norm: bool = False
    when: str | None = None


def linear(gguf: str, source: str, rows: str, columns: str, heads: str | None = None) -> Rule:
    """Rule for the weight of a linear layer."""
    return Rule(f"{gguf}.weight", f"{source}.weight", (rows, columns), heads)


def norm(gguf: str, source: str, length: str = "embedding") -> Rule:
    """Rule for the weight of a norm."""
    return Rule(f"{gguf}.weight", f"{source}.weight", (length,), norm=True)


def biases(rules: tuple[Rule, ...], when: str | None = None) -> tuple[Rule, ...]:
    """Rules for the biases of linear layers, given the rules of their weights."""
    return tuple(
        replace(
            rule,
            gguf=rule.gguf.removesuffix("weight") + "bias",
            source=rule.source.removesuffix("weight") + "bias",
            shape=rule.shape[:1],
            when=when,
        )
        for rule in rules
    )


ENDS = (
    Rule("token_embd.weight", EMBEDDING, ("vocab", "embedding")),
    norm("output_norm", "model.norm"),
)
OUTPUT = Rule("output.weight", HEAD, ("vocab", "embedding"))

QUERY_KEY_VALUE = (
    linear("attn_q", "self_attn.q_proj", "query", "embedding"),
    linear("attn_k", "self_attn.k_proj", "key_value", "embedding"),
    linear("attn_v", "self_attn.v_proj", "key_value", "embedding"),
)
ATTENTION_OUTPUT = linear("attn_output", "self_attn.o_proj", "embedding", "query")
MLP = (
    linear("ffn_gate", "mlp.gate_proj", "feed_forward", "embedding"),
    linear("ffn_up", "mlp.up_proj", "feed_forward", "embedding"),
    linear("ffn_down", "mlp.down_proj", "embedding", "feed_forward"),
)
NORMS = (
    norm("attn_norm", "input_layernorm"),
    norm("ffn_norm", "post_attention_layernorm"),
)
HEAD_NORMS = (
    norm("attn_q_norm", "self_attn.q_norm", "head"),
    norm("attn_k_norm", "self_attn.k_norm", "head"),
)
GEMMA_NORMS = (
    norm("attn_norm", "input_layernorm"),
    norm("post_attention_norm", "post_attention_layernorm"),
    norm("ffn_norm", "pre_feedforward_layernorm"),
    norm("post_ffw_norm", "post_feedforward_layernorm"),
)

# Buffers that older versions of transformers saved and nothing reads.
BUFFERS = (r"\.rotary_emb\.inv_freq$", r"\.attention\.(masked_)?bias$")

WRAPPER = "language_model."
_LAYER = re.compile(r"blk\.(\d+)\.")


def canonical_name(name: str) -> str:
    """Name of a tensor or module without a vision-language model's wrapper.

    Both `language_model.model.layers.0…` (older) and `model.language_model.layers.0…` (newer
    versions of transformers) become `model.layers.0…`.
    """
    return name.replace(WRAPPER, "", 1)


def file_order(name: str) -> tuple[int, str]:
    """Sort key of llama.cpp's files: tensors outside of layers first, then by layer, then name.

    Source: llama.cpp, `src/llama-model-loader.h` (`weight_name_comparer`).
    """
    layer = _LAYER.match(name)
    return (int(layer[1]) if layer else -1, name)
