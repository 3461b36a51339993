"""Whether sample answers still look like the answers that were learnt: length, repetition."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loragraft.training.log import Sample

LEAST_SAMPLES = 3
"""Fewer say nothing of a style."""
TOO_LONG, TOO_SHORT = 2.0, 0.5
"""The answers' words against the examples' own, as a ratio of medians."""
LEAST_WORDS = 4
"""Of the examples' median answer: a score or a name of one word has no length to keep to."""
POOR = 0.7
"""Share of the examples' variety (distinct pairs of words) below which answers are called
repetitive."""
ALIKE = 0.5
"""Share of the examples' distinct answers: with so few the model says the same to everything."""
OFTEN = 1 / 3
"""Share of the answers that must loop, be empty or find no end."""

DIVERSE = "train on more diverse examples"
COOLER = "generate at a temperature of 0.7 with a repetition penalty of 1.1"
STRICTER = "filter near-duplicates of the data more strictly (dataset curate)"


@dataclass(frozen=True)
class Drift:
    """How answers differ from what was to be learnt.

    Attributes:
        reasons: What was measured, a clause each.
        changes: What may help, each once.
    """

    reasons: tuple[str, ...]
    changes: tuple[str, ...]


Found = tuple[str, tuple[str, ...]] | None


def find_drift(samples: Sequence[Sample], limit: int) -> Drift | None:
    """Compare answers with the examples' own.

    Args:
        samples: Of one evaluation.
        limit: Most tokens that an answer was given.

    Returns:
        None where nothing stands out, or there are too few samples.
    """
    if len(samples) < LEAST_SAMPLES:
        return None
    found = [found for test in TESTS if (found := test(samples, limit)) is not None]
    if not found:
        return None
    changes = dict.fromkeys(change for _, wanted in found for change in wanted)
    return Drift(tuple(reason for reason, _ in found), tuple(changes))


def _loops(samples: Sequence[Sample], limit: int) -> Found:
    count = sum(sample.loop for sample in samples)
    if count < OFTEN * len(samples):
        return None
    return (f"{count} of {len(samples)} sample answers are caught in a repetition",
            (DIVERSE, STRICTER, COOLER))  # fmt: skip


def _empty(samples: Sequence[Sample], limit: int) -> Found:
    count = sum(not sample.answer.strip() for sample in samples)
    if count < OFTEN * len(samples):
        return None
    return (f"{count} of {len(samples)} sample answers are empty",
            ("look for empty answers in the data",
             "loosen the filters that cut replies"))  # fmt: skip


def _alike(samples: Sequence[Sample], limit: int) -> Found:
    said = len({_words(sample.answer) for sample in samples})
    wanted = len({_words(sample.expected) for sample in samples})
    if said > ALIKE * wanted:
        return None
    return (f"{len(samples)} questions got {said} distinct answers, where the examples have "
            f"{wanted}", (DIVERSE, STRICTER, COOLER))  # fmt: skip


def _monotonous(samples: Sequence[Sample], limit: int) -> Found:
    said = _variety([s.answer for s in samples])
    wanted = _variety([s.expected for s in samples])
    if said is None or wanted is None or said >= POOR * wanted:
        return None
    return (f"{said:.0%} of the pairs of words in an answer are distinct, {wanted:.0%} in the "
            "examples' answers", (DIVERSE, COOLER, STRICTER))  # fmt: skip


def _length(samples: Sequence[Sample], limit: int) -> Found:
    said = statistics.median(len(_words(s.answer)) for s in samples)
    wanted = statistics.median(len(_words(s.expected)) for s in samples)
    if wanted < LEAST_WORDS or not said or TOO_SHORT <= said / wanted <= TOO_LONG:
        return None
    words = f"the median answer has {said:g} words, that of the examples {wanted:g}"
    if said > wanted:
        return words, ("filter long replies more strictly (length.max)", DIVERSE)
    return words, ("loosen the filter of long replies (length.max)", DIVERSE)


def _endless(samples: Sequence[Sample], limit: int) -> Found:
    cut = [s for s in samples if not s.ended and not s.loop and s.tokens >= limit
           and len(_words(s.answer)) > TOO_LONG * len(_words(s.expected))]  # fmt: skip
    if len(cut) < max(1, OFTEN * len(samples)):
        return None
    return (f"{len(cut)} of {len(samples)} sample answers find no end within {limit} tokens",
            ("check that the answers end with the template's end token",
             "filter long replies more strictly (length.max)"))  # fmt: skip


Test = Callable[[Sequence[Sample], int], Found]
TESTS: tuple[Test, ...] = (_loops, _empty, _alike, _monotonous, _length, _endless)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.casefold().split())


def _variety(texts: Sequence[str]) -> float | None:
    """Return the mean share of distinct pairs of words within a text; None if none has pairs."""
    shares = []
    for text in texts:
        words = _words(text)
        pairs = list(itertools.pairwise(words))
        if pairs:
            shares.append(len(set(pairs)) / len(pairs))
    return statistics.fmean(shares) if shares else None
