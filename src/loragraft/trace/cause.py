"""What a check is given, and what it returns: a cause with the evidence that proves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from loragraft.export.effect import Effect
from loragraft.trace.observation import Observation
from loragraft.trace.reference import Paper, Reference
from loragraft.trace.weights import WeightFacts

Aspect = Literal["text", "ids", "distribution", "stopping"]
ASPECTS: tuple[Aspect, ...] = ("text", "ids", "distribution", "stopping")


@dataclass(frozen=True)
class Cause:
    """Why a stage parts.

    Attributes:
        code: Name for programs, such as ``rope_theta``.
        aspect: What it changes first.
        cause: What is wrong, as a short phrase.
        evidence: What proves it.
        fix: What to do.
    """

    code: str
    aspect: Aspect
    cause: str
    evidence: str
    fix: str


@dataclass(frozen=True)
class Subject:
    """A stage and what the training's side would have it be.

    Attributes:
        title: The stage's name in sentences.
        paper: What it says of itself.
        seen: What it showed.
        trained: What base and adapter showed, or would render and tokenize.
        reference: The training's side.
        again: The command that makes this stage anew.
        weights: Its weights against base plus adapter, where they were compared.
        effect: How often the adapter is in a GGUF file, as the export's gate measures it.
        is_file: Whether it lies here as files, which can be corrected.
    """

    title: str
    paper: Paper
    seen: Observation
    trained: Observation
    reference: Reference
    again: str
    weights: WeightFacts | None = None
    effect: Effect | None = None
    is_file: bool = True
