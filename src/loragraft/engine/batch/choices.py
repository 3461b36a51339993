"""The probabilities of short texts, from the likeliest first tokens that a server shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_LEAST = -1e9
"""Servers write -9999 or less for a token that cannot come; JSON knows no infinity."""

_ROUNDING = 1e-3
"""By which the logarithm of a certainty may be above 0."""


@dataclass(frozen=True)
class Candidate:
    """A first token.

    Attributes:
        raw: Its bytes.
        log_prob: Natural log-probability.
    """

    raw: bytes
    log_prob: float

    @classmethod
    def read(cls, entry: object) -> Candidate | None:
        """Read a server's entry: token, logprob and, where it has them, bytes."""
        if not isinstance(entry, dict):
            return None
        number, listed = entry.get("logprob"), entry.get("bytes")
        if not isinstance(number, int | float) or not _LEAST < number <= _ROUNDING:
            return None  # also what is not a number
        good = isinstance(listed, list) and all(type(b) is int and 0 <= b < 256 for b in listed)
        token = entry.get("token")
        if listed and good:
            return cls(bytes(listed), min(float(number), 0.0))
        return cls(token.encode(), min(float(number), 0.0)) if isinstance(token, str) else None


def sums_of(candidates: Sequence[Candidate], texts: Sequence[str]) -> tuple[float, ...]:
    """Return each text's log-probability; minus infinity for one that is not among them."""
    best: dict[bytes, float] = {}
    for candidate in candidates:
        best[candidate.raw] = max(candidate.log_prob, best.get(candidate.raw, -math.inf))
    return tuple(best.get(text.encode("utf-8", "replace"), -math.inf) for text in texts)
