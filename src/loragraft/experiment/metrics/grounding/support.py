"""The one question that grounding and factuality ask: does a passage support a claim?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

Claim: TypeAlias = tuple[str, str]
"""A sentence without its citations, and the text of a passage or of several, a blank line between
two (:data:`JOINT`)."""

JOINT = "\n\n"
"""Stands between passages that are asked about together."""


@dataclass(frozen=True)
class Judgement:
    """Whether a passage supports a claim.

    Attributes:
        supported: Whether it does; None where nobody can say: a judge without a verdict. That is
            missing, never a no.
        reason: Why, for people: what is missing or contradicted. Short, one line.
        scores: What it rests on: overlaps, probabilities. Finite.
    """

    supported: bool | None
    reason: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)


class Support(Protocol):
    """Decides whether passages support claims."""

    @property
    def name(self) -> str:
        """What a person calls it: overlap, nli, judge; no path of this machine."""

    def identity(self) -> dict[str, Any]:
        """Return what decides a judgement beside claim and passage, as JSON values."""

    def supported(self, claims: Sequence[Claim]) -> list[Judgement]:
        """Judge claims; the judgements stand in their order.

        A judgement depends on its claim and passage alone, not on the others. A blank claim or a
        blank passage is never supported.

        Raises:
            LoragraftError: If nothing can be judged at all.
        """

    def close(self) -> None:
        """Free what is held; twice does no harm."""
