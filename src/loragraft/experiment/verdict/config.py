"""What a series' configuration says of its verdict."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from loragraft.settings import Settings

GAIN = 0.05
"""Share of questions: five percentage points of factuality over the baseline, by the protocol."""
GROUNDING = 0.35
"""Mean grounding coverage, by the protocol."""

Share = Annotated[float, Field(ge=0, le=1)]


class ProtocolGate(Settings):
    """Conditions on two independent samples, as the reply protocol names them.

    Attributes:
        p: Mann-Whitney's p must be below it.
        relative: The relative improvement must be above it.
        d: Cohen's d of two samples must be above it.
    """

    p: Share = 0.05
    relative: Annotated[float, Field(ge=0)] = 0.15
    d: Annotated[float, Field(ge=0)] = 0.3


class PromotionConfig(Settings):
    """When an experiment is promoted.

    Attributes:
        metric: Of questions, on which the gain is seen.
        gain: Wanted over the baseline, in the metric's unit.
        grounding: Wanted mean grounding coverage; None where answers cite nothing.
        protocol: Further conditions; None for none.
        leaks: Whether test questions that leaked into training block a promotion.
    """

    metric: str = "factuality"
    gain: Annotated[float, Field(ge=0)] = GAIN
    grounding: Share | None = GROUNDING
    protocol: ProtocolGate | None = None
    leaks: bool = True


class FactorialConfig(Settings):
    """The four experiments of tuning by retrieval.

    Attributes:
        base: The plain model without passages.
        tuned: The fine-tuned one without passages.
        base_retrieval: The plain model with passages.
        tuned_retrieval: The fine-tuned one with passages.
    """

    base: str
    tuned: str
    base_retrieval: str
    tuned_retrieval: str


class FidelityConfig(Settings):
    """What an export has cost.

    Attributes:
        reference: The experiment whose model was exported: base and adapter.
        steps: Experiments on what came of it, in their order.
        bound: Means that differ by no more are equivalent, in the metric's unit.
        metric: Of questions; None takes the promotion's.
    """

    reference: str
    steps: Annotated[tuple[str, ...], Field(min_length=1)]
    bound: Annotated[float, Field(gt=0)] = 0.05
    metric: str | None = None
