"""How much an adapter changes the weights that it is on."""

from __future__ import annotations

import math
from typing import Any

from loragraft.adapter.peft_loading import adapter_layers
from loragraft.training.saving import ADAPTER


def relative_change(model: Any) -> dict[str, float]:  # noqa: ANN401
    """Return ‖ΔW‖/‖W‖ of a PEFT model: the smallest, mean and largest over its matrices.

    ΔW is B·A with its scale, as PEFT adds it; of DoRA, before the columns get their lengths.
    """
    import torch

    with torch.no_grad():
        found = [_ratio(layer) for _, layer in adapter_layers(model)]
    ratios = [ratio for ratio in found if ratio is not None]
    if not ratios:
        return {}
    mean = math.fsum(ratios) / len(ratios)
    return {"min": min(ratios), "mean": mean, "max": max(ratios), "matrices": len(ratios)}


def _ratio(layer: Any) -> float | None:  # noqa: ANN401
    weight = _weight(layer.get_base_layer())
    norm = float(weight.float().norm())
    if ADAPTER not in layer.scaling or not norm:
        return None
    return float(layer.get_delta_weight(ADAPTER).detach().float().norm()) / norm


def _weight(base: Any) -> Any:  # noqa: ANN401
    """Return a base's matrix, unpacked where it is held in four bits."""
    state = getattr(base.weight, "quant_state", None)
    if state is None:
        return base.weight.detach()
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(base.weight.data, state)
