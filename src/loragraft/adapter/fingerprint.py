"""Which base an adapter was trained on, from the shapes of its factors alone.

A is ``[rank, in]`` and B ``[out, rank]``, so each adapted projection shows two widths of its
base. "Not this one" is proof; "this one" is only a candidate, because models share shapes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loragraft.adapter.findings import Finding, failed, passed, warned
from loragraft.adapter.reader import Adapter

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|layer|blocks)\.(\d{1,6})\.")
_OTHER_TOWERS = re.compile(r"vision|visual|audio|image|multi_modal|mm_projector|experts")
"""Parts of a model whose widths are not the language model's."""

ROLES: Mapping[str, tuple[str | None, str | None]] = {
    "q_proj": ("hidden", "query"),
    "k_proj": ("hidden", "key_value"),
    "v_proj": ("hidden", "key_value"),
    "o_proj": ("query", "hidden"),
    "query": ("hidden", "query"),
    "key": ("hidden", "key_value"),
    "value": ("hidden", "key_value"),
    "query_proj": ("hidden", "query"),
    "key_proj": ("hidden", "key_value"),
    "value_proj": ("hidden", "key_value"),
    "q": ("hidden", "query"),
    "k": ("hidden", "key_value"),
    "v": ("hidden", "key_value"),
    "Wqkv": ("hidden", None),
    "gate_proj": ("hidden", "intermediate"),
    "up_proj": ("hidden", "intermediate"),
    "down_proj": ("intermediate", "hidden"),
    "qkv_proj": ("hidden", None),
    "gate_up_proj": ("hidden", None),
    "lm_head": ("hidden", "vocabulary"),
    "embed_tokens": ("vocabulary", "hidden"),
}
"""What the input and output width of a projection, by its last name, say about the base."""

WIDTHS = ("hidden", "query", "key_value", "intermediate", "vocabulary")

_CONFIG_NAMES: Mapping[str, str] = {
    "hidden": "hidden_size", "query": "num_attention_heads · head_dim",
    "key_value": "num_key_value_heads · head_dim", "intermediate": "intermediate_size",
    "vocabulary": "vocab_size",
}  # fmt: skip

_GATED_QUERY = frozenset({"qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe"})
"""Model types whose q_proj also produces a gate, so that its output is twice the query width."""


@dataclass(frozen=True)
class Fingerprint:
    """Widths of the base as an adapter's shapes show them; None where nothing shows one.

    Attributes:
        hidden: Width of the residual stream.
        query: Heads times head size.
        key_value: Key-value heads times head size.
        intermediate: Width of the feed-forward layer.
        vocabulary: Rows of the embedding or the output head.
        layers: Highest layer index plus one: a lower bound.
        conflicts: Widths of which the adapter shows more than one value, in words.
    """

    hidden: int | None = None
    query: int | None = None
    key_value: int | None = None
    intermediate: int | None = None
    vocabulary: int | None = None
    layers: int | None = None
    conflicts: tuple[str, ...] = ()

    def widths(self) -> dict[str, int]:
        """Return the widths that are known, by name."""
        values = ((name, getattr(self, name)) for name in WIDTHS)
        return {name: value for name, value in values if value is not None}


@dataclass(frozen=True)
class KnownBase:
    """The shape of a published base model, as its ``config.json`` gives it."""

    name: str
    hidden: int
    query: int
    key_value: int
    intermediate: int
    layers: int


KNOWN_BASES = (
    # https://huggingface.co/Qwen/Qwen2.5-0.5B/blob/main/config.json, and so for each size
    KnownBase("Qwen2.5-0.5B", 896, 896, 128, 4864, 24),
    KnownBase("Qwen2.5-1.5B", 1536, 1536, 256, 8960, 28),
    KnownBase("Qwen2.5-3B", 2048, 2048, 256, 11008, 36),
    KnownBase("Qwen2.5-7B", 3584, 3584, 512, 18944, 28),
    KnownBase("Qwen2.5-14B", 5120, 5120, 1024, 13824, 48),
    KnownBase("Qwen2.5-32B", 5120, 5120, 1024, 27648, 64),
    KnownBase("Qwen2.5-72B", 8192, 8192, 1024, 29568, 80),
    # https://huggingface.co/Qwen/Qwen3-0.6B/blob/main/config.json, and so for each size
    KnownBase("Qwen3-0.6B", 1024, 2048, 1024, 3072, 28),
    KnownBase("Qwen3-1.7B", 2048, 2048, 1024, 6144, 28),
    KnownBase("Qwen3-4B", 2560, 4096, 1024, 9728, 36),
    KnownBase("Qwen3-8B", 4096, 4096, 1024, 12288, 36),
    KnownBase("Qwen3-14B", 5120, 5120, 1024, 17408, 40),
    # https://huggingface.co/meta-llama/Llama-3.2-1B/blob/main/config.json, and so for each size
    KnownBase("Llama-3.2-1B", 2048, 2048, 512, 8192, 16),
    KnownBase("Llama-3.2-3B", 3072, 3072, 1024, 8192, 28),
    KnownBase("Llama-3.1-8B", 4096, 4096, 1024, 14336, 32),
    KnownBase("Llama-3.1-70B", 8192, 8192, 1024, 28672, 80),
    # https://huggingface.co/mistralai/Mistral-7B-v0.1/blob/main/config.json
    KnownBase("Mistral-7B", 4096, 4096, 1024, 14336, 32),
    # https://huggingface.co/google/gemma-2-2b/blob/main/config.json, and so for 9B
    KnownBase("Gemma-2-2B", 2304, 2048, 1024, 9216, 26),
    KnownBase("Gemma-2-9B", 3584, 4096, 2048, 14336, 42),
    # https://huggingface.co/google/gemma-3-1b-pt/blob/main/config.json; 4B: its text_config
    KnownBase("Gemma-3-1B", 1152, 1024, 256, 6912, 26),
    KnownBase("Gemma-3-4B", 2560, 2048, 1024, 10240, 34),
    # https://huggingface.co/microsoft/Phi-3-mini-4k-instruct/blob/main/config.json
    KnownBase("Phi-3-mini", 3072, 3072, 3072, 8192, 32),
    # https://huggingface.co/HuggingFaceTB/SmolLM2-135M/blob/main/config.json, and so for each size
    KnownBase("SmolLM2-135M", 576, 576, 192, 1536, 30),
    KnownBase("SmolLM2-360M", 960, 960, 320, 2560, 32),
    KnownBase("SmolLM2-1.7B", 2048, 2048, 2048, 8192, 24),
    # https://huggingface.co/TinyLlama/TinyLlama-1.1B-Chat-v1.0/blob/main/config.json
    KnownBase("TinyLlama-1.1B", 2048, 2048, 256, 5632, 22),
)
"""Bases that adapters are often trained on. Variants (instruct, coder) share the shape."""


_VARIANT_WORDS = re.compile(
    r"meta|llama|instruct|chat|it|pt|base|thinking|intermediate|step|\d+t|coder|math|hf|unsloth|mlx|dynamic|preview|bnb|gptq|awq|"
    r"gguf|v\d+(\.\d+)*|\d+k|\d+bits?|b?f(p|loat)?\d+|int\d+|w\d+a\d+|q\d+|nf4|\d{4}"
)
"""Parts of a name under which the shapes stay the same."""


def fingerprint(adapter: Adapter) -> Fingerprint:
    """Read an adapter's fingerprint; headers only."""
    seen: dict[str, set[int]] = defaultdict(set)
    highest = -1
    for module in adapter.modules.values():
        if match := _LAYER.search(module.name):
            highest = max(highest, int(match[1]))
        _note(seen, module.name, module.in_features, module.out_features)
    for name, key in adapter.saved.items():
        shape = adapter.tensors[key].shape
        path, _, leaf = name.rpartition(".")
        if leaf == "weight" and len(shape) == 2:  # [vocabulary, hidden] of a head or an embedding
            inside, outside = (shape[0], shape[1]) if path.endswith("embed_tokens") else shape[::-1]
            _note(seen, path, inside, outside)
    single = {name: values.copy().pop() for name, values in seen.items() if len(values) == 1}
    conflicts = tuple(
        f"{name}: {' and '.join(map(str, sorted(values)))}"
        for name, values in sorted(seen.items()) if len(values) > 1
    )  # fmt: skip
    return Fingerprint(**single, layers=highest + 1 or None, conflicts=conflicts)


def _note(seen: dict[str, set[int]], name: str, inside: int, outside: int) -> None:
    leaf = name.rpartition(".")[2]
    if leaf not in ROLES or _OTHER_TOWERS.search(name):
        return
    for role, value in zip(ROLES[leaf], (inside, outside), strict=True):
        if role is not None:
            seen[role].add(value)
    if leaf == "gate_up_proj" and outside % 2 == 0:
        seen["intermediate"].add(outside // 2)


def expected_widths(config: Mapping[str, Any]) -> dict[str, int]:
    """Return the widths that a base's ``config.json`` (text part) implies, by name.

    Only what it states as positive integers; ``head_dim`` defaults to hidden / heads.
    """
    numbers = {name: value for name, value in config.items() if type(value) is int and value > 0}
    hidden = numbers.get("hidden_size")
    heads = numbers.get("num_attention_heads")
    found = {
        "hidden": hidden,
        "intermediate": numbers.get("intermediate_size"),
        "vocabulary": numbers.get("vocab_size"),
    }
    head = numbers.get("head_dim") or (hidden // heads if hidden and heads else None)
    if head and heads and config.get("model_type") not in _GATED_QUERY:
        found["query"] = heads * head
    if head and heads:
        found["key_value"] = (numbers.get("num_key_value_heads") or heads) * head
    return {name: value for name, value in found.items() if value is not None}


def compare_fingerprint(found: Fingerprint, base_config: Mapping[str, Any]) -> list[Finding]:
    """Compare an adapter's fingerprint with a base's configuration.

    Returns:
        One finding for each width that differs, one for a layer count that cannot be, or one that
        says all is well.
    """
    expected = expected_widths(base_config)
    findings = [
        _width_finding(name, value, expected[name])
        for name, value in found.widths().items()
        if name in expected and value != expected[name]
    ]
    depth = base_config.get("num_hidden_layers")
    if found.layers is not None and type(depth) is int and found.layers > depth:
        findings.append(failed(
            "fingerprint.deeper", f"layer {found.layers - 1} in the adapter",
            f"at most layer {depth - 1}, as the base has {depth} layers",
            f"PEFT would ignore it without a word. {_suggest(found)}",
        ))  # fmt: skip
    findings.extend(
        failed("fingerprint.conflict", conflict, "one value", "Check which files were mixed.")
        for conflict in found.conflicts
    )
    shared = ", ".join(f"{name} {value}" for name, value in found.widths().items())
    if findings:
        return findings
    if not set(found.widths()) & set(expected):
        return [warned(
            "fingerprint.width", "no projection whose widths are known",
            "at least one projection of attention or of the feed-forward layer",
            "Compare the module names by hand.",
        )]  # fmt: skip
    return [passed("fingerprint.width", shared, "the base's widths")]


def _width_finding(name: str, found: int, expected: int) -> Finding:
    if name == "vocabulary" and found > expected:
        return warned(
            "fingerprint.vocabulary", f"{found} rows of vocabulary in the adapter",
            f"{expected}, as in the base",
            "It was trained with added tokens: its own tokenizer must go along.",
        )  # fmt: skip
    return failed(
        f"fingerprint.{name}", f"{name} width {found} in the adapter",
        f"{expected}, the base's {_CONFIG_NAMES[name]}",
        "It was trained on another base. Give the one it names, or another adapter.",
    )  # fmt: skip


def candidates(found: Fingerprint) -> tuple[KnownBase, ...]:
    """Return the known bases that the fingerprint does not rule out, those of its depth first."""
    widths = {k: v for k, v in found.widths().items() if k != "vocabulary"}
    layers = found.layers or 0
    fitting = [
        base for base in KNOWN_BASES
        if widths and base.layers >= layers
        and all(getattr(base, name) == value for name, value in widths.items())
    ]  # fmt: skip
    return tuple(sorted(fitting, key=lambda base: base.layers != layers))


def known_base(name: str) -> KnownBase | None:
    """Return the known base that a model's name stands for, by family, generation and size.

    >>> known_base("Qwen/Qwen2.5-1.5B-Instruct").hidden
    1536
    """
    flat = re.sub(r"[^a-z0-9.]+", "-", name.lower().replace("meta-llama-", "llama-"))
    for base in KNOWN_BASES:
        if re.search(rf"(?:^|-){re.escape(base.name.lower())}(?:-|$)", flat):
            return base
    return None


def is_derived(name: str, known: KnownBase) -> bool:
    """Say whether a model's name holds more than a known base's and words for its variants.

    >>> is_derived("me/Qwen2.5-7B-pruned-24L", known_base("Qwen2.5-7B"))
    True
    """
    words = re.split(r"[^a-z0-9.]+", name.lower().replace("\\", "/").rstrip("/").rpartition("/")[2])
    own = known.name.lower().split("-")
    return any(word not in own and not _VARIANT_WORDS.fullmatch(word) for word in words if word)


def _suggest(found: Fingerprint) -> str:
    names = [base.name for base in candidates(found)]
    return f"Its shapes fit {' or '.join(names[:3])}." if names else "Give the base it names."
