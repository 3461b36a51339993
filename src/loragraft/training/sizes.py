"""Sizes of a base, from its files' headers or from what is known of published ones."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft.adapter.fingerprint import KnownBase, expected_widths, is_derived, known_base
from loragraft.checkpoint.bases import full_precision_name, quantization_of
from loragraft.checkpoint.model import Checkpoint
from loragraft.checkpoint.resolve import existing_path
from loragraft.errors import CheckpointError, InputError, UnsupportedError

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|layer|blocks|block)\.(\d{1,6})\.")
_OTHER_TOWERS = re.compile(r"vision|visual|audio|image|multi_modal|mm_projector")
_HEADS = ("lm_head.weight", "output.weight")
EAGER = frozenset({"gemma2"})
"""Model types whose attention keeps whole score matrices: Gemma 2 caps its scores."""


@dataclass(frozen=True)
class BaseSizes:
    """What of a base decides how much memory its training takes.

    Attributes:
        name: For people.
        parameters: Of all weights, one that is tied counted once.
        linear: Linear modules of the layers by full name: width of the input, of the output.
        layers: Their number.
        hidden: Width of what flows between them.
        intermediate: Width of the feed-forward part.
        query: Heads times head size.
        key_value: Key-value heads times head size.
        heads: Of the queries.
        vocabulary: Rows of the output.
        norms: Of width ``hidden``, in a layer.
        head_norms: Whether queries and keys are normalised.
        eager: Whether attention keeps whole score matrices.
        source: ``files`` or ``table``.
    """

    name: str
    parameters: int
    linear: Mapping[str, tuple[int, int]]
    layers: int
    hidden: int
    intermediate: int
    query: int
    key_value: int
    heads: int
    vocabulary: int
    norms: int = 2
    head_norms: bool = False
    eager: bool = False
    source: str = "files"

    @property
    def linear_parameters(self) -> int:
        """Return the weights of the layers' linear modules: those that four bits pack."""
        return sum(inside * outside for inside, outside in self.linear.values())

    @property
    def largest_linear(self) -> int:
        """Return the weights of the largest of them."""
        return max((i * o for i, o in self.linear.values()), default=0)


def find_sizes(base: Path | str) -> BaseSizes:
    """Return a base's sizes: of a folder, of one in the Hub's cache, or of a known name.

    Nothing is downloaded.

    Raises:
        InputError: If nothing of that name is here or known.
        CheckpointError: If the folder is no whole checkpoint.
        UnsupportedError: If it is quantized, or no transformer of a kind that is known.
    """
    folder = existing_path(str(base)) or _cached(str(base))
    if folder is not None:
        return read_sizes(folder, str(base))
    name = str(base)
    full = full_precision_name(name.partition("@")[0])
    known = known_base(full[0] if full else name)
    if known is None or is_derived(full[0] if full else name, known):
        raise InputError(
            f"{name} is no folder here, not in the Hub's cache, and none of the bases whose sizes "
            f"are known. Download it (hf download {name}), or give its folder with --base."
        )
    return table_sizes(known, name)


def _cached(name: str) -> Path | None:
    """Return the folder of a repository that the Hub's cache holds whole."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    try:
        found = snapshot_download(repository, revision=revision or None, local_files_only=True)
    except (HFValidationError, LocalEntryNotFoundError, ValueError, OSError):
        return None
    folder = Path(found)
    return folder if any(folder.glob("*.safetensors")) else None


def read_sizes(folder: Path, name: str) -> BaseSizes:
    """Read the sizes of a checkpoint; headers only.

    Raises:
        CheckpointError: If a file is missing or broken, or no layer is found.
        UnsupportedError: If it is quantized.
    """
    with Checkpoint(folder) as checkpoint:
        config = checkpoint.config
        kind = quantization_of(config)
        if kind is not None:
            raise UnsupportedError(
                f"{name} is quantized by {kind}; training starts from full-precision weights. Give "
                "the model it was quantized from."
            )
        shapes = {n: i.shape for n, i in checkpoint.tensors.items()}
    return _from_shapes(name, shapes, config)


def _from_shapes(
    name: str, shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]
) -> BaseSizes:
    widths = expected_widths(config)
    linear = {
        n.removesuffix(".weight"): (shape[1], shape[0]) for n, shape in shapes.items()
        if len(shape) == 2 and n.endswith(".weight") and _LAYER.search(n)
        and not _OTHER_TOWERS.search(n) and "embed" not in n
    }  # fmt: skip
    hidden, heads = widths.get("hidden"), config.get("num_attention_heads")
    if not linear or hidden is None:
        raise CheckpointError(
            f"{name} shows no linear modules in numbered layers, or its config.json no "
            "hidden_size: its memory cannot be estimated. Is it a transformer?"
        )
    first = [n for n in shapes if (found := _LAYER.search(n)) and found[1] == "0"]
    return BaseSizes(
        name=name, parameters=_count(shapes, config), linear=linear,
        layers=1 + max(int(found[1]) for n in linear if (found := _LAYER.search(n))),
        hidden=hidden, intermediate=widths.get("intermediate", 4 * hidden),
        query=widths.get("query", hidden), key_value=widths.get("key_value", hidden),
        heads=heads if type(heads) is int and heads > 0 else 1,
        vocabulary=widths.get("vocabulary", 0),
        norms=sum(shapes[n] == (hidden,) and "norm" in n.lower() and n.endswith(".weight")
                  for n in first) or 2,
        head_norms=any(".q_norm." in n for n in first),
        eager=config.get("model_type") in EAGER,
    )  # fmt: skip


def _count(shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]) -> int:
    """Count the parameters; a tied head that the file holds all the same is not one."""
    tied = bool(config.get("tie_word_embeddings"))
    counted = [shape for name, shape in shapes.items() if not (tied and name in _HEADS)]
    return sum(math.prod(shape) for shape in counted)


_TABLE: Mapping[str, tuple[int, bool, int]] = {
    "Qwen2.5-0.5B": (151936, True, 64), "Qwen2.5-1.5B": (151936, True, 128),
    "Qwen2.5-3B": (151936, True, 128), "Qwen2.5-7B": (152064, False, 128),
    "Qwen2.5-14B": (152064, False, 128), "Qwen2.5-32B": (152064, False, 128),
    "Qwen2.5-72B": (152064, False, 128), "Qwen3-0.6B": (151936, True, 128),
    "Qwen3-1.7B": (151936, True, 128), "Qwen3-4B": (151936, True, 128),
    "Qwen3-8B": (151936, False, 128), "Qwen3-14B": (151936, False, 128),
    "Llama-3.2-1B": (128256, True, 64), "Llama-3.2-3B": (128256, True, 128),
    "Llama-3.1-8B": (128256, False, 128), "Llama-3.1-70B": (128256, False, 128),
    "Mistral-7B": (32768, False, 128), "Gemma-2-2B": (256000, True, 256),
    "Gemma-2-9B": (256000, True, 256), "Gemma-3-1B": (262144, True, 256),
    "Gemma-3-4B": (262208, True, 256), "Phi-3-mini": (32064, False, 96),
    "SmolLM2-135M": (49152, True, 64), "SmolLM2-360M": (49152, True, 64),
    "SmolLM2-1.7B": (49152, True, 64), "TinyLlama-1.1B": (32000, False, 64),
}  # fmt: skip
"""Rows of the vocabulary, whether the head is tied to it, and the size of a head: each from the
``config.json`` that ``adapter/fingerprint.py`` names for the base."""


def table_sizes(known: KnownBase, name: str) -> BaseSizes:
    """Return the sizes of a published base, from its widths; without vision towers."""
    vocabulary, tied, head = _TABLE[known.name]
    gemma, fused = known.name.startswith("Gemma"), known.name.startswith("Phi")
    modules = _fused(known) if fused else _separate(known)
    linear = {
        f"model.layers.{layer}.{leaf}": sides
        for layer in range(known.layers)
        for leaf, sides in modules.items()
    }
    norms = 4 if gemma else 2
    others = known.hidden * (vocabulary * (1 if tied else 2) + known.layers * norms + 1)
    if known.name.startswith("Qwen2.5"):  # biases of queries, keys and values
        others += known.layers * (known.query + 2 * known.key_value)
    return BaseSizes(
        name=name, parameters=others + sum(i * o for i, o in linear.values()), linear=linear,
        layers=known.layers, hidden=known.hidden, intermediate=known.intermediate,
        query=known.query, key_value=known.key_value, heads=known.query // head,
        vocabulary=vocabulary, norms=norms,
        head_norms=known.name.startswith(("Qwen3", "Gemma-3")),
        eager=known.name.startswith("Gemma-2"), source="table",
    )  # fmt: skip


def _separate(known: KnownBase) -> dict[str, tuple[int, int]]:
    hidden, wide = known.hidden, known.intermediate
    return {
        "self_attn.q_proj": (hidden, known.query),
        "self_attn.k_proj": (hidden, known.key_value),
        "self_attn.v_proj": (hidden, known.key_value),
        "self_attn.o_proj": (known.query, hidden),
        "mlp.gate_proj": (hidden, wide),
        "mlp.up_proj": (hidden, wide),
        "mlp.down_proj": (wide, hidden),
    }


def _fused(known: KnownBase) -> dict[str, tuple[int, int]]:
    hidden, wide = known.hidden, known.intermediate
    return {
        "self_attn.qkv_proj": (hidden, known.query + 2 * known.key_value),
        "self_attn.o_proj": (known.query, hidden),
        "mlp.gate_up_proj": (hidden, 2 * wide),
        "mlp.down_proj": (wide, hidden),
    }
