"""Adapters of Apple's MLX (``mlx_lm.lora``), seen as PEFT adapters.

MLX stores ``lora_a`` as ``[in, rank]`` and ``lora_b`` as ``[rank, out]``, uses ``scale`` as it
stands, and keeps DoRA's magnitudes as ``m``. Source: ``mlx_lm/tuner/lora.py`` and ``dora.py``.
The last ``num_layers`` layers are adapted; which they are, the keys say.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Literal

from loragraft.adapter.config import AdapterConfig, is_number
from loragraft.adapter.findings import Finding, failed, quote, warned
from loragraft.adapter.grouping import Grouping, LoraModule
from loragraft.checkpoint.safetensors import FLOAT_DTYPES, TensorInfo
from loragraft.errors import AdapterError, UnsupportedError

_KEY = re.compile(r"(?P<module>.+)\.(?P<part>lora_a|lora_b|m)")
_EMBEDDINGS = ("embed_tokens", "wte", "word_embeddings", "tok_embeddings")


def convert_mlx(
    raw: Mapping[str, Any], tensors: Mapping[str, TensorInfo]
) -> tuple[AdapterConfig, Grouping, frozenset[str]]:
    """Turn an MLX adapter's configuration and keys into PEFT's terms.

    Returns:
        The configuration, the keys by meaning, and the keys to transpose on reading.

    Raises:
        AdapterError: If ``lora_parameters`` is missing or wrong.
        UnsupportedError: If every weight was fine-tuned, or the type is unknown.
    """
    kind = raw.get("fine_tune_type", "lora")
    if kind == "full":
        raise UnsupportedError(
            "This MLX folder holds a full fine-tune, not an adapter. Fuse it with "
            "mlx_lm.fuse --dequantize and export the fused model as a base without adapter."
        )
    if kind not in ("lora", "dora"):
        raise UnsupportedError(f"MLX fine_tune_type {kind!r} is unknown; lora and dora are taken.")
    rank, scale = _parameters(raw)
    base = raw.get("model")
    config = AdapterConfig(
        peft_type="LORA", r=rank, lora_alpha=scale * rank, use_dora=kind == "dora",
        base_model_name_or_path=base if isinstance(base, str) else None, raw=dict(raw),
    )  # fmt: skip
    grouping, transposed = _group(tensors, config, scale)
    grouping.findings.extend(_alpha_findings(raw["lora_parameters"], rank, scale))
    return config, grouping, transposed


def _parameters(raw: Mapping[str, Any]) -> tuple[int, float]:
    """Return rank and scale."""
    parameters = raw.get("lora_parameters")
    if not isinstance(parameters, dict):
        raise AdapterError("The MLX adapter_config.json has no 'lora_parameters' with its scale.")
    rank = parameters.get("rank")
    if type(rank) is not int or not 0 < rank < 2**31:
        raise AdapterError(f"lora_parameters holds rank = {rank!r}, expected a positive integer.")
    scale: object = parameters.get("scale")
    if not is_number(scale):
        raise AdapterError(
            f"lora_parameters holds scale = {scale!r}, expected a finite number, as every version "
            "of MLX writes it. Copy the file again from where the adapter was trained."
        )
    return rank, float(scale)


def _alpha_findings(parameters: Mapping[str, Any], rank: int, scale: float) -> list[Finding]:
    """Say where ``alpha`` leaves the factor open.

    Until 2024 MLX multiplied by scale · alpha / rank (mlx-examples, pull request 623); later
    versions take scale alone but went on writing alpha (mlx-lm, pull request 65).
    """
    alpha = parameters.get("alpha")
    if alpha is None or alpha == rank:
        return []
    older = f" or {scale * alpha / rank:g}" if is_number(alpha) else ""
    return [warned(
        "mlx.alpha", f"scale = {scale:g}, and alpha = {alpha!r} beside rank = {rank}",
        "scale alone, or alpha equal to rank",
        f"The factor in training was {scale:g}{older}, by the version of MLX; {scale:g} is taken. "
        "Compare the answers with MLX's.",
    )]  # fmt: skip


def _group(
    tensors: Mapping[str, TensorInfo], config: AdapterConfig, scale: float
) -> tuple[Grouping, frozenset[str]]:
    grouping, parts = Grouping(), defaultdict[str, dict[str, str]](dict)
    for key, info in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None or info.dtype not in FLOAT_DTYPES or info.size == 0:
            grouping.unknown.append(key)
        else:
            parts[match["module"]][match["part"]] = key
    for module, keys in parts.items():
        built = _module(module, keys, tensors, config, scale)
        if built is None:
            grouping.unknown.extend(keys.values())
        else:
            grouping.modules[module] = built
    if grouping.unknown:
        grouping.findings.append(failed(
            "keys.unknown", f"{len(grouping.unknown)} keys: {quote(grouping.unknown)}",
            "pairs of lora_a [in, rank] and lora_b [rank, out], with m only for DoRA on linears",
            "Fuse the adapter with mlx_lm.fuse --dequantize and export the fused model.",
        ))  # fmt: skip
    modules = grouping.modules.values()
    factors = {key for module in modules for key in (module.a_key, module.b_key)}
    return grouping, frozenset(factors)


def _module(
    name: str,
    keys: Mapping[str, str],
    tensors: Mapping[str, TensorInfo],
    config: AdapterConfig,
    scale: float,
) -> LoraModule | None:
    if "lora_a" not in keys or "lora_b" not in keys or ("m" in keys) != config.use_dora:
        return None
    a, b = tensors[keys["lora_a"]].shape, tensors[keys["lora_b"]].shape
    if len(a) != 2 or len(b) != 2 or a[1] != b[0]:
        return None
    kind: Literal["linear", "embedding"] = "linear"
    if name.rpartition(".")[2] in _EMBEDDINGS:
        kind = "embedding"
    if config.use_dora and (kind == "embedding" or tensors[keys["m"]].shape != (b[1],)):
        return None
    return LoraModule(
        name=name, kind=kind, rank=a[1], alpha=scale * a[1], scaling=scale,
        a_key=keys["lora_a"], b_key=keys["lora_b"], magnitude_key=keys.get("m"), bias_key=None,
        fan_in_fan_out=False, in_features=a[0], out_features=b[1],
    )  # fmt: skip
