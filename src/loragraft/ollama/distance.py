"""How far a server's distribution of the next token is from llama.cpp's here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from loragraft.engine.ollama_chances import Chance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIKELY = 0.02
"""Candidates below this probability are left out: their logarithm is mostly noise."""
LOOKED_AT = 400
"""Of our own candidates: a token that is likely there and not among these is a difference."""
LEAST = 1e-9
"""Probability of what is left, at least: sums of rounded numbers may reach 1."""


class Pieces(Protocol):
    """Knows what tokens are."""

    def piece(self, token: int) -> bytes:
        """Return a token's bytes, control tokens' texts included."""


@dataclass(frozen=True)
class Distance:
    """Of one prompt.

    Attributes:
        most: Largest difference of a likely token's log-probability, in nats; of those that are
            among both sides' candidates.
        divergence: Kullback-Leibler divergence of the server's distribution from ours, in nats,
            over its candidates and all the others together.
        missing: In words, each token that is likely on one side and not among the other's.
    """

    most: float
    divergence: float
    missing: tuple[str, ...]


def distance(chances: Sequence[Chance], log_probs: NDArray[np.float32], pieces: Pieces) -> Distance:
    """Compare one next token's distributions.

    Args:
        chances: The server's likeliest tokens.
        log_probs: Of every token, here; shape [vocabulary].
        pieces: Whose tokens these are.
    """
    ours: dict[bytes, float] = {}
    for token in log_probs.argsort()[::-1][:LOOKED_AT]:
        ours.setdefault(pieces.piece(int(token)), float(log_probs[token]))
    theirs = {chance.raw: chance.log_prob for chance in reversed(chances)}
    least = math.log(LIKELY)
    # Twice as likely as the bound: below it, it may just be missing from the server's list.
    likely = {raw for raw, found in theirs.items() if found >= least}
    likely |= {raw for raw, found in ours.items() if found >= least + math.log(2)}
    both = [abs(theirs[raw] - ours[raw]) for raw in likely if raw in theirs and raw in ours]
    missing = [
        f"{_spell(raw)} is {math.exp(found):.0%} likely {where}"
        for found, raw, where in _lacking(likely, theirs, ours)
    ]
    return Distance(max(both, default=0.0), _divergence(theirs, ours), tuple(missing))


def _lacking(
    likely: set[bytes], theirs: Mapping[bytes, float], ours: Mapping[bytes, float]
) -> list[tuple[float, bytes, str]]:
    """Return what one side lacks, the likeliest first."""
    to_them = f"in llama.cpp and not among the server's {len(theirs)} likeliest"
    to_us = f"on the server and not among llama.cpp's {len(ours)} likeliest"
    found = [(ours[raw], raw, to_them) for raw in likely if raw not in theirs]
    found += [(theirs[raw], raw, to_us) for raw in likely if raw not in ours]
    return sorted(found, reverse=True)


def _divergence(theirs: Mapping[bytes, float], ours: Mapping[bytes, float]) -> float:
    unseen = min(ours.values())  # at most as likely as the last that was looked at
    pairs = [(found, ours.get(raw, unseen)) for raw, found in theirs.items()]
    listed = sum(math.exp(found) * (found - here) for found, here in pairs)
    rest = max(LEAST, 1.0 - sum(math.exp(found) for found, _ in pairs))
    rest_here = max(LEAST, 1.0 - sum(math.exp(here) for _, here in pairs))
    return listed + rest * math.log(rest / rest_here)


def _spell(raw: bytes) -> str:
    return repr(raw.decode("utf-8", "replace"))
