"""How far a stage's chances may be from the training's without anything being wrong."""

from __future__ import annotations

from collections.abc import Mapping

NOTABLE_SHARE = 0.02
"""A type that holds less than this share of the weights does not set the limit: norms and biases
stay in F32 in every file."""

LIMITS: Mapping[str, float] = {
    "F64": 0.002, "F32": 0.002, "F16": 0.01, "BF16": 0.02, "Q8_0": 0.02, "Q6_K": 0.05,
    "Q5_K": 0.1, "Q5_0": 0.1, "Q5_1": 0.1, "Q4_K": 0.35, "Q4_0": 0.6, "Q4_1": 0.45,
    "IQ4_NL": 0.45, "IQ4_XS": 0.45, "Q3_K": 1.0, "Q2_K": 4.0,
}  # fmt: skip
DEFAULT_LIMIT = 4.0


def divergence_limit(types: Mapping[str, int]) -> float:
    """Return the mean divergence, in nats a token, that a stage's types explain.

    Args:
        types: Number of values by tensor type; empty is judged as F32.
    """
    total = sum(types.values())
    notable = [name for name, count in types.items() if count > NOTABLE_SHARE * total]
    return max((LIMITS.get(name, DEFAULT_LIMIT) for name in notable), default=LIMITS["F32"])
