"""From the name of a quantized model to the full-precision model it was made from.

Names only: nothing is looked up. The rules are conservative, and where one would have to guess
there is none: a wrong base is worse than a question.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NAME = re.compile(r"(?P<owner>[\w.-]+)/(?P<model>[\w.-]+)")

_SUFFIXES: tuple[tuple[str, str], ...] = (
    (r"-unsloth-bnb-4bit", "a bitsandbytes 4-bit copy"),
    (r"-(?:bnb-4bit|4bit-bnb|bnb-nf4)", "a bitsandbytes 4-bit copy"),
    (r"-(?:bnb-8bit|8bit-bnb)", "a bitsandbytes 8-bit copy"),
    (r"(?i:-GPTQ)(?:-(?i:Int|w)?[348](?:-?bit|a16)?(?:-\d+g)?(?:-actorder.*)?)?", "a GPTQ copy"),
    (r"(?i:-AWQ)(?:-(?i:Int4|4bit))?", "an AWQ copy"),
    (r"(?i:-i\d?)?-GGUF", "a GGUF copy"),
    (r"-FP8(?:-(?i:dynamic|block))?", "an FP8 copy"),
    (r"-EXL2|-exl2(?:-[\w.]+)?", "an EXL2 copy"),
    (r"-HQQ(?:-[\w.]+)?|-AQLM(?:-[\w.-]+)?", "a quantized copy"),
)  # fmt: skip
"""What a quantized repository's name ends in, and what that makes of it."""

_MLX_SUFFIX = re.compile(r"-(?:[2-8]bit(?:-DWQ.*)?|MLX-?[2-8]bit|mxfp4|bf16|fp16)")

_REPACKAGERS = frozenset({
    "thebloke", "bartowski", "quantfactory", "maziyarpanahi", "lmstudio-community",
    "mlx-community", "casperhansen", "hugging-quants", "mradermacher", "second-state",
    "solidrust", "techxgenus", "redhatai", "neuralmagic", "ista-daslab", "turboderp", "lonestriker",
    "modelcloud", "kaitchup",
})  # fmt: skip
"""Owners who publish other people's models only: the original's owner must be inferred."""


_FAMILIES: tuple[tuple[str, str], ...] = (
    (r"(?:Qwen2(?:\.5)?|Qwen3|QwQ)-.+", "Qwen"),
    (r"(?:Meta-Llama-3|(?:Meta-)?Llama-3\.[123])-.+", "meta-llama"),
    (r"(?:Mistral|Mixtral|Ministral)-.+", "mistralai"),
    (r"gemma-(?:1\.1-|2-|3-|3n-)?\w+(?:-it|-pt)?", "google"),
    (r"Phi-(?:3|3\.5|4)-?.*", "microsoft"),
    (r"SmolLM\d?-.+", "HuggingFaceTB"),
    (r"TinyLlama-.+", "TinyLlama"),
)
"""Names that only one owner gives: model name to owner."""

_LOADERS: Mapping[str, str] = {
    "gptq": "GPTQ", "awq": "AWQ", "bitsandbytes": "bitsandbytes", "gguf": "GGUF", "hqq": "HQQ",
    "aqlm": "AQLM", "fp8": "FP8", "compressed-tensors": "compressed-tensors", "mxfp4": "MXFP4",
    "torchao": "torchao", "quanto": "Quanto", "eetq": "EETQ", "fbgemm_fp8": "FP8",
}  # fmt: skip


def full_precision_name(name: str) -> tuple[str, str] | None:
    """Return the full-precision repository of a quantized one, and why; None if none is known.

    >>> full_precision_name("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4")
    ('Qwen/Qwen2.5-7B-Instruct', 'Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4 is a GPTQ copy')
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    owner, model = match["owner"], match["model"]
    stripped = _strip(owner, model)
    if stripped is None:
        return None
    bare, kind = stripped
    original = f"{owner}/{bare}" if owner.lower() not in _REPACKAGERS else _original(bare)
    return (original, f"{name} is {kind}") if original is not None else None


def _strip(owner: str, model: str) -> tuple[str, str] | None:
    """Split a model name into its bare part and what its ending says; None without an ending."""
    if owner.lower() == "mlx-community":
        match = re.fullmatch(rf"(?P<bare>.+?){_MLX_SUFFIX.pattern}", model)
        return (match["bare"], "an MLX copy") if match else None
    for suffix, kind in _SUFFIXES:
        match = re.fullmatch(rf"(?P<bare>.+?)(?:{suffix})", model)
        if match:
            return match["bare"], kind
    return None


def _original(bare: str) -> str | None:
    """Return owner and name of a repackaged model; ``Owner_Model`` is read as it says."""
    head, underscore, rest = bare.partition("_")
    for pattern, owner in _FAMILIES:
        if underscore and head == owner and re.fullmatch(pattern, rest):
            return f"{owner}/{rest}"
        if re.fullmatch(pattern, bare):
            return f"{owner}/{bare}"
    return None


def quantization_of(config: Mapping[str, Any]) -> str | None:
    """Say how a checkpoint's ``config.json`` declares its weights quantized; None if it does not.

    Reads ``quantization_config`` (transformers) and ``quantization`` (MLX).
    """
    declared = config.get("quantization_config")
    if isinstance(declared, dict):
        return _describe(declared)
    mlx = config.get("quantization")
    if isinstance(mlx, dict) and "bits" in mlx:
        return f"MLX {mlx['bits']}-bit"
    return None


def _describe(declared: Mapping[str, Any]) -> str:
    method = str(declared.get("quant_method") or "").lower()
    label = _LOADERS.get(method, method or "an unnamed method")
    if declared.get("load_in_4bit") or declared.get("_load_in_4bit"):
        return f"{_LOADERS['bitsandbytes']} 4-bit"
    if declared.get("load_in_8bit") or declared.get("_load_in_8bit"):
        return f"{_LOADERS['bitsandbytes']} 8-bit"
    bits = declared.get("bits") or declared.get("w_bit")
    return f"{label} {bits}-bit" if isinstance(bits, int) else label
