"""What contradicts a claim, or is missing for it: one function a reason, in a list.

Each looks at the words that differ between a claim and the clauses it rests on. None knows the
subject, so each can be wrong; docs/grounding.md says how often, on labelled pairs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from loragraft.experiment.metrics.grounding.amounts import Amount
from loragraft.experiment.metrics.grounding.arithmetic import EACH, follows
from loragraft.experiment.metrics.grounding.lexicon import (
    CAREFUL,
    CAUSES,
    GERMAN,
    HEDGES,
    NEGATORS,
    OPPOSITES,
    ORDINALS,
    TOGETHER,
    UNIVERSAL,
)
from loragraft.experiment.metrics.grounding.order import check_binding, check_order
from loragraft.experiment.metrics.grounding.pairing import Pair, related
from loragraft.experiment.metrics.grounding.reading import Reading
from loragraft.experiment.metrics.grounding.replaced import check_replaced

NEAR_COPY = 0.6
"""Share of a claim's content that clauses must have for a negation to be compared."""
SAME_MATTER = 0.5
"""Share from which on claim and clauses are about the same."""
DENIED = 3
"""Words with content behind a negation (or before it, at a clause's end) that it may deny."""
HEDGED = 3
"""Words with content behind "may" that it may make uncertain."""

Check = Callable[[Pair], str | None]
"""Returns what is wrong, for people; None where nothing is."""


def check_numbers(pair: Pair) -> str | None:
    """Every number of the claim stands in the passage, with its unit."""
    for wanted, found in zip(pair.claimed, pair.found, strict=True):
        if found or _both_ends(wanted, pair.given):
            continue
        if follows(wanted, pair.given, severally=bool(pair.passage.plain & EACH)):
            continue
        other = next((one for one in pair.given if wanted.like(one)), None)
        if other is not None:
            return f"{wanted.shown}, where the passage says {other.shown}"
        return f"{wanted.shown} is not in the passage"
    return None


def _both_ends(wanted: Amount, given: Sequence[Amount]) -> bool:
    """Whether both ends of a range stand in the passage, apart from each other."""
    ends = wanted.ends()
    return len(ends) > 1 and all(any(end.same(one) for one in given) for end in ends)


def check_names(pair: Pair) -> str | None:
    """Every name of the claim stands in the passage."""
    if len(pair.claim.plain & GERMAN) >= 2:  # where every noun has a capital
        return None
    for word in pair.claim.words:
        if word.name and word.content and not related(word, pair.passage):
            return f"{word.shown(pair.claim)} is not in the passage"
    return None


def check_opposites(pair: Pair) -> str | None:
    """No word of the claim stands against its opposite in the passage."""
    for word in sorted(pair.claim.plain - pair.sentence.plain):
        against = OPPOSITES.get(word, frozenset()) & pair.span.plain - pair.claim.plain
        if against:
            return f"{word}, where the passage says {min(against)}"
    return None


def check_negation(pair: Pair) -> str | None:
    """Both deny, or neither does."""
    if pair.near < NEAR_COPY:
        return None
    ours = sum(word.text in NEGATORS for word in pair.claim.words) % 2
    theirs = sum(_denies(pair, at) for at in range(len(pair.span.words))) % 2
    if ours == theirs:
        return None
    return "denies what the passage says" if ours else "says what the passage denies"


def _denies(pair: Pair, at: int) -> bool:
    """Whether a word of the span denies something that the claim is about."""
    words = pair.span.words
    if words[at].text not in NEGATORS:
        return False
    if any(word.text == "always" for word in words[at + 1 : at + 2]):
        return False
    behind = [word for word in words[at + 1 :] if word.clause == words[at].clause and word.content]
    before = [word for word in words[:at] if word.clause == words[at].clause and word.content]
    return any(word.stem in pair.claim.stems for word in (behind[:DENIED] or before[-DENIED:]))


def check_certainty(pair: Pair) -> str | None:
    """What is uncertain in the passage is so in the claim."""
    if pair.near < SAME_MATTER or pair.claim.plain & CAREFUL:
        return None
    words = pair.span.words
    for at, word in enumerate(words):
        if word.text in HEDGES:
            behind = [one for one in words[at + 1 :] if one.content and one.text not in HEDGES]
            if any(one.stem in pair.claim.stems for one in behind[:HEDGED]):
                return f"certain, where the passage says {word.text}"
    return None


def check_cause(pair: Pair) -> str | None:
    """The claim names no cause where the passage says only that things go together."""
    causes = (pair.claim.plain & CAUSES) - pair.passage.plain
    together = any(word.text.startswith(TOGETHER) for word in pair.passage.words)
    return f"{min(causes)}: the passage names no cause" if causes and together else None


def check_scope(pair: Pair) -> str | None:
    """The claim holds for all only where the passage says so."""
    said = _universal(pair.passage)
    new = [word for word in _universal(pair.claim) if word not in said]
    return f"{new[0]}: the passage does not say so" if new else None


def _universal(reading: Reading) -> list[str]:
    """Return words such as "all", but not of "not all", "at all", "in all," and "all 12"."""
    texts = ["", *(word.text for word in reading.words), ""]
    return [text for before, text, after in zip(texts, texts[1:], texts[2:], strict=False)
            if text in UNIVERSAL and before not in NEGATORS
            and not (text == "all" and _sums_up(before, after))]  # fmt: skip


def _sums_up(before: str, after: str) -> bool:
    """Whether "all" between two words says how many there are, and not that all are so."""
    return before == "at" or (before == "in" and after != "of") or after[:1].isdecimal()


def check_ordinals(pair: Pair) -> str | None:
    """The second act of a claim is no first act in the passage."""
    theirs = _ordinals(pair.passage)
    for noun, own in _ordinals(pair.claim).items():
        others = theirs.get(noun)
        if others and not own & others:
            return f"{min(own)}, where the passage says {min(others)}"
    return None


def _ordinals(reading: Reading) -> dict[str, set[str]]:
    """Return what is counted, by its stem, and which of them is meant."""
    found: dict[str, set[str]] = {}
    for before, word in itertools.pairwise(reading.words):
        if before.text in ORDINALS and word.content and before.sentence == word.sentence:
            found.setdefault(word.stem, set()).add(before.text)
    return found


CHECKS: tuple[Check, ...] = (
    check_numbers, check_names, check_opposites, check_negation, check_certainty, check_cause,
    check_scope, check_ordinals, check_order, check_binding, check_replaced,
)  # fmt: skip


def objection(pair: Pair) -> str | None:
    """Return the first thing that speaks against a claim; None for nothing."""
    return next((said for check in CHECKS if (said := check(pair)) is not None), None)
