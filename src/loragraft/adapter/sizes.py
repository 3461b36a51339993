"""How large an adapter's file must be, computed; sizes that people quote are no thresholds."""

from __future__ import annotations

import math

from loragraft.adapter.reader import Adapter
from loragraft.checkpoint.safetensors import ITEM_SIZES


def expected_bytes(adapter: Adapter) -> int:
    """Return the size of the file by its header, its shapes and its dtypes."""
    infos = adapter.tensors.values()
    data = sum(math.prod(info.shape) * ITEM_SIZES[info.dtype] for info in infos)
    return min((info.start for info in infos), default=0) + data


def expected_bytes_for_rank(adapter: Adapter) -> int:
    """Return the size of the file if every pair had the rank that the configuration says."""
    surplus = 0
    for module in adapter.modules.values():
        rows = module.rank - adapter.config.rank_of(module.name)
        for key, width in ((module.a_key, module.in_features), (module.b_key, module.out_features)):
            surplus += rows * width * ITEM_SIZES[adapter.tensors[key].dtype]
    return expected_bytes(adapter) - surplus
