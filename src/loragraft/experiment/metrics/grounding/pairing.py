"""A claim beside the part of a passage that it rests on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from loragraft.experiment.metrics.grounding.amounts import Amount, amounts
from loragraft.experiment.metrics.grounding.reading import Reading, Word

SENTENCE_COST = 0.16
"""What a further sentence of the passage must add to the share of the claim that is found: more
than one word of six, so that two sentences are taken only where the claim is of both."""
CLAUSE_COST = 0.02
"""And a further clause: of two runs with as much of the claim the shorter one counts."""
MOST_CLAUSES = 12
"""Clauses that one claim rests on."""
MOST_AMOUNTS = 32
"""Numbers of a claim that are looked at: a sentence has a few."""
RELATED = 5
"""Letters that two words share at their beginning which are forms of one: protected, protection."""


@dataclass(frozen=True)
class Pair:
    """A claim with what it is compared with.

    Attributes:
        claim: The claim.
        passage: All of the passage.
        span: The clauses of it that have most of the claim.
    """

    claim: Reading
    passage: Reading
    span: Reading

    @cached_property
    def near(self) -> float:
        """Share of the claim's content that the span has."""
        return share(self.claim, self.span.stems)

    @cached_property
    def clause(self) -> Reading:
        """The clause of the span that has most of the claim, the first of several."""
        parts = self.span.clauses
        return max(parts, key=lambda part: share(self.claim, part.stems), default=self.span)

    @cached_property
    def sentence(self) -> Reading:
        """The whole sentences of the span."""
        numbers = {word.sentence for word in self.span.words}
        words = tuple(word for word in self.passage.words if word.sentence in numbers)
        return Reading(self.passage.text, words)

    @cached_property
    def claimed(self) -> list[Amount]:
        """Numbers of the claim, those of a clause once: of an endless one the first."""
        return _distinct(amounts(self.claim))[:MOST_AMOUNTS]

    @cached_property
    def given(self) -> list[Amount]:
        """Numbers of the passage, those of a clause once."""
        return _distinct(amounts(self.passage))

    @cached_property
    def found(self) -> list[list[Amount]]:
        """For each number of the claim, the passage's that say the same."""
        return [[one for one in self.given if own.same(one)] for own in self.claimed]

    @cached_property
    def unclaimed(self) -> list[Amount]:
        """Numbers of the passage that the claim has not."""
        taken = {id(one) for some in self.found for one in some}
        return [one for one in self.given if id(one) not in taken]


def _distinct(found: list[Amount]) -> list[Amount]:
    return list({(one.shown, one.clause): one for one in found}.values())


def share(claim: Reading, stems: frozenset[str]) -> float:
    """Return the share of a claim's content that is among stems; 0 of no content."""
    return sum(word.stem in stems for word in claim.content) / max(len(claim.content), 1)


def compare(claim: Reading, passage: Reading) -> Pair:
    """Find the clauses of a passage that a claim rests on."""
    parts = passage.clauses
    counts = Counter(word.stem for word in claim.content)
    shared = [part.stems & counts.keys() for part in parts]
    best, best_value = (0, 0), -1.0
    for first in range(len(parts)):
        stems: set[str] = set()
        found = 0
        for stop in range(first + 1, min(first + MOST_CLAUSES, len(parts)) + 1):
            new = shared[stop - 1] - stems
            stems |= new
            found += sum(counts[stem] for stem in new)
            sentences = parts[stop - 1].words[0].sentence - parts[first].words[0].sentence
            cost = SENTENCE_COST * sentences + CLAUSE_COST * (stop - first)
            value = found / max(len(claim.content), 1) - cost
            if value > best_value:
                best, best_value = (first, stop), value
    words = tuple(word for part in parts[slice(*best)] for word in part.words)
    return Pair(claim, passage, Reading(passage.text, words))


def related(word: Word, reading: Reading) -> bool:
    """Whether a text has a word or one that begins like it."""
    stem = word.stem
    return stem in reading.stems or (
        len(stem) >= RELATED and any(one.startswith(stem[:RELATED]) for one in reading.stems)
    )
