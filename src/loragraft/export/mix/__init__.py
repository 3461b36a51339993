"""Quantization mixes: which tensor gets which type.

The types are llama.cpp's own. Where its library can be asked, it is (`oracle`); elsewhere our own
table (`rules`), tested against it, gives the same answers.
"""

from __future__ import annotations

from loragraft.export.mix.assign import assign_types, bits_per_weight, fallbacks, type_counts
from loragraft.export.mix.catalogue import MIXES, Mix, find_mix
from loragraft.export.mix.oracle import oracle_problem
from loragraft.export.mix.specs import Assignment, ModelShape, TensorSpec, tensor_bytes
from loragraft.export.mix.tensor_types import TensorType

__all__ = [
    "MIXES",
    "Assignment",
    "Mix",
    "ModelShape",
    "TensorSpec",
    "TensorType",
    "assign_types",
    "bits_per_weight",
    "fallbacks",
    "find_mix",
    "oracle_problem",
    "tensor_bytes",
    "type_counts",
]
