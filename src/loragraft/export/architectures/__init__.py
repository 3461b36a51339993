"""Model families: which tensors a checkpoint holds and what GGUF calls them.

One small file per family, each data for the one interface in `family`. Start at `find_family`.
"""

from __future__ import annotations

from loragraft.export.architectures.family import Family, TensorSource
from loragraft.export.architectures.permute import permute_rows, unpermute_rows
from loragraft.export.architectures.registry import FAMILIES, find_family
from loragraft.export.architectures.rules import canonical_name

__all__ = [
    "FAMILIES",
    "Family",
    "TensorSource",
    "canonical_name",
    "find_family",
    "permute_rows",
    "unpermute_rows",
]
