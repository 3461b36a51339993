"""How far a stage's chances may be from the training's without anything being wrong."""

from __future__ import annotations

from collections.abc import Mapping

NOTABLE_SHARE = 0.02
"""A type that holds less than this share of the weights does not set the limit: norms and biases
stay in F32 in every file."""

LIMITS: Mapping[str, float] = {
    "F64": 0.001, "F32": 0.001, "F16": 0.002, "BF16": 0.01, "Q8_0": 0.05, "Q6_K": 0.1,
    "Q5_K": 1.0, "Q5_0": 1.0, "Q5_1": 1.0, "Q4_K": 1.0, "Q4_0": 1.0, "Q4_1": 1.0,
    "IQ4_NL": 1.0, "IQ4_XS": 1.0, "Q3_K": 1.5, "Q2_K": 2.0,
}  # fmt: skip
"""Median divergence in nats a token, by the coarsest notable type.

Measured on SmolLM2-135M, which feels quantization more than any larger model, over the probes:
F16 and BF16 below 0.001, Q4_K_M 0.04, Q5_0 0.06, Q4_0 0.43, Q5_K_M 0.46 (the steps of its Q5_1
tensors amplify an adapter on a base that was once Q4_1), Q2_K 0.46; means of Q8_0 0.01 and Q6_K
0.025. The limits are at least twice that. Faults of the weights, the rope and the order of rows
are proven by evidence of their own; this bound is for what leaves none."""
DEFAULT_LIMIT = 2.0


def divergence_limit(types: Mapping[str, int]) -> float:
    """Return the median divergence, in nats a token, that a stage's types explain.

    Args:
        types: Number of values by tensor type; empty is judged as F32.
    """
    total = sum(types.values())
    notable = [name for name, count in types.items() if count > NOTABLE_SHARE * total]
    return max((LIMITS.get(name, DEFAULT_LIMIT) for name in notable), default=LIMITS["F32"])
