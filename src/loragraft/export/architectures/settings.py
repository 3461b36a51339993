"""The hyper-parameters of a model, read from config.json with its family's defaults filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loragraft.errors import CheckpointError
from loragraft.export.architectures.rope import WHOLE_LIMIT, Rope, is_float32

MAX_LAYERS = 1024
"""Published models have 130 at most; each layer costs rules before a tensor is looked at."""


@dataclass(frozen=True)
class Settings:
    """What tensors and metadata of a model are made from; lengths count elements.

    Attributes:
        head_length: Elements of one attention head.
        head_length_given: Whether the configuration states it (transformers' configuration
            classes of some families always do).
        values: The configuration over the family's defaults, for what only one family reads.
    """

    layers: int
    embedding: int
    feed_forward: int
    heads: int
    heads_kv: int
    head_length: int
    head_length_given: bool
    vocab: int
    context: int
    rms_epsilon: float
    tied: bool
    rope: Rope
    values: Mapping[str, Any]

    def sizes(self) -> dict[str, int]:
        """Lengths by the names that tensor rules use for them."""
        query, key_value = self.heads * self.head_length, self.heads_kv * self.head_length
        return {
            "vocab": self.vocab,
            "embedding": self.embedding,
            "head": self.head_length,
            "query": query,
            "key_value": key_value,
            "query_key_value": query + 2 * key_value,
            "feed_forward": self.feed_forward,
            "gate_up": 2 * self.feed_forward,
        }


def whole(values: Mapping[str, Any], key: str) -> int:
    """Read a whole number that GGUF's u32 holds.

    Raises:
        CheckpointError: If it is none above 0.
    """
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < WHOLE_LIMIT:
        raise CheckpointError(
            f"config.json: {key!r} is {value!r}, expected a whole number above 0. "
            "Repair the file or download it again."
        )
    return value


def real(values: Mapping[str, Any], key: str) -> float:
    """Read a number that GGUF's f32 holds.

    Raises:
        CheckpointError: If it is none of at least 0.
    """
    value = values.get(key)
    if not is_float32(value) or value < 0:
        raise CheckpointError(
            f"config.json: {key!r} is {value!r}, expected a number of at least 0. "
            "Repair the file or download it again."
        )
    return float(value)


def _head_length(values: Mapping[str, Any], embedding: int, heads: int) -> int:
    length = whole(values, "head_dim") if values.get("head_dim") is not None else None
    if length is None and embedding % heads:
        raise CheckpointError(
            f"config.json: hidden_size {embedding} is no multiple of num_attention_heads {heads}, "
            "and there is no head_dim. Repair the file or download it again."
        )
    length = length or embedding // heads
    if length % 2:
        raise CheckpointError(
            f"config.json: heads of {length} elements cannot be rotated in pairs. Repair the file "
            "or download it again."
        )
    return length


def _layers(values: Mapping[str, Any]) -> int:
    layers = whole(values, "num_hidden_layers")
    if layers > MAX_LAYERS:
        raise CheckpointError(
            f"config.json: 'num_hidden_layers' is {layers}, expected {MAX_LAYERS} at most. "
            "Repair the file or download it again."
        )
    return layers


def read_settings(
    config: Mapping[str, Any],
    defaults: Mapping[str, Any],
    read_rope: Callable[[Mapping[str, Any]], Rope],
) -> Settings:
    """Read a configuration of either generation.

    Args:
        config: config.json, a nested `text_config` laid over it.
        defaults: What the family's configuration class fills in.
        read_rope: The family's way to read rotary settings.

    Raises:
        CheckpointError: If a value is missing or has the wrong kind.
    """
    values = {**defaults, **config}
    embedding, heads = whole(values, "hidden_size"), whole(values, "num_attention_heads")
    if values.get("num_key_value_heads") is None:
        values["num_key_value_heads"] = heads
    heads_kv = whole(values, "num_key_value_heads")
    if heads % heads_kv:
        raise CheckpointError(
            f"config.json: {heads} attention heads cannot share {heads_kv} key-value heads. "
            "Repair the file or download it again."
        )
    context = whole(values, "max_position_embeddings")
    return Settings(
        layers=_layers(values),
        embedding=embedding,
        feed_forward=whole(values, "intermediate_size"),
        heads=heads,
        heads_kv=heads_kv,
        head_length=_head_length(values, embedding, heads),
        head_length_given=values.get("head_dim") is not None,
        vocab=whole(values, "vocab_size"),
        context=context,
        rms_epsilon=real(values, "rms_norm_eps"),
        tied=bool(values.get("tie_word_embeddings")),
        rope=read_rope(values),
        values=values,
    )
