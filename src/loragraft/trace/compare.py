"""One stage against the one before it: text, tokens, the next token's chances, stopping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from loragraft.export.divergence import compare_logits
from loragraft.trace.observation import LogProbs, Observation
from loragraft.trace.shown import first_difference, shown_ids

Verdict = Literal["first", "same", "as meant", "parts", "as before", "not seen"]

MARGIN = 3.0
"""Nats between the likeliest token and the next from which quantization hardly ever changes it: of
SmolLM2's 53 such positions it kept all down to Q6_K and at least 94 % down to Q2_K."""
FEW = 8
"""Positions of that margin below which their agreement says nothing."""
LEAST_AGREEMENT = 0.8


@dataclass(frozen=True)
class Cell:
    """One aspect of a stage.

    Attributes:
        verdict: "first" where there is nothing before it; "as meant" for the adapter's own
            change; "as before" for a difference that an earlier stage brought.
        detail: What was seen, in a few words.
    """

    verdict: Verdict
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the cell as JSON values."""
        return {"verdict": self.verdict, "detail": self.detail}


@dataclass(frozen=True)
class Distance:
    """Two stages' chances of the next token, over all probes.

    Attributes:
        kl: Mean Kullback-Leibler divergence, in nats a token.
        median: Its median, which a few upset positions do not move.
        agreement: Share of positions with the same likeliest token.
        sure: Positions at which the stage before was sure of its token.
        sure_agreement: Share of these with the same likeliest token; 1 where there are none.
        positions: Positions compared.
    """

    kl: float
    median: float
    agreement: float
    sure: int
    sure_agreement: float
    positions: int

    def __str__(self) -> str:
        """Return the figures in a line."""
        return f"KL {self.kl:.2g} (median {self.median:.2g}), top-1 {self.agreement:.0%}"

    def beyond(self, limit: float) -> bool:
        """Whether the median is more than ``limit`` nats, or sure tokens changed."""
        unsure = self.sure >= FEW and self.sure_agreement < LEAST_AGREEMENT
        return self.median > limit or unsure


def distance(before: Sequence[LogProbs], after: Sequence[LogProbs]) -> Distance | None:
    """Compare chances after the same tokens; None where nothing can be compared."""
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if len(a) and len(a) == len(b)]
    if not pairs:
        return None
    parts = [compare_logits(a, b) for a, b in pairs]
    kl = np.concatenate([part[0] for part in parts])
    same = np.concatenate([part[1] for part in parts])
    margins = np.concatenate([_margin(a) for a, _ in pairs])
    sure = margins >= MARGIN
    agreed = float(same[sure].mean()) if sure.any() else 1.0
    mean, median = float(kl.mean()), float(np.median(kl))
    return Distance(mean, median, float(same.mean()), int(sure.sum()), agreed, len(kl))


def _margin(log_probs: LogProbs) -> Any:  # noqa: ANN401 - an array
    top = np.partition(log_probs, -2, axis=1)[:, -2:]
    return top[:, 1] - top[:, 0]


def compare_texts(names: Sequence[str], before: Observation, after: Observation) -> Cell:
    """Compare rendered conversations."""
    pairs = list(zip(names, before.texts, after.texts, strict=True))
    other = [(name, a, b) for name, a, b in pairs if a != b]
    if not other:
        return Cell("same", f"{len(pairs)} conversations")
    name, a, b = other[0]
    return Cell("parts", f"{len(other)} of {len(pairs)}; {name!r} {first_difference(a, b)}")


def compare_ids(
    names: Sequence[str],
    before: Observation,
    after: Observation,
    vocabulary: Sequence[str],
) -> Cell:
    """Compare token ids; where the texts differ as well, the difference is theirs."""
    rows = zip(names, before.ids, after.ids, before.texts, after.texts, strict=True)
    other = [(n, x or (), y or (), a == b) for n, x, y, a, b in rows if x != y]
    if not other:
        return Cell("same", f"{sum(len(ids or ()) for ids in after.ids)} tokens")
    name, was, now, same_text = next((row for row in other if row[3]), other[0])
    if not same_text:
        return Cell("parts", f"{len(other)} of {len(names)}, as the texts differ")
    at = next(
        (i for i, (x, y) in enumerate(zip(was, now, strict=False)) if x != y),
        min(len(was), len(now)),
    )
    return Cell(
        "parts",
        f"{len(other)} of {len(names)}; {name!r} at token {at}: "
        f"{shown_ids(was[at : at + 3], vocabulary)} became "
        f"{shown_ids(now[at : at + 3], vocabulary)}",
    )


def describe_stopping(seen: Observation) -> str:
    """Say how a stage's samples ended."""
    if not seen.answers:
        return "no sample"
    ended = sum(answer.finish == "stop" for answer in seen.answers)
    return f"{ended} of {len(seen.answers)} samples ended by themselves"
