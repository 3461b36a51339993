"""Whether a near copy of a passage has another word in the place of one that matters."""

from __future__ import annotations

from difflib import SequenceMatcher

from loragraft.experiment.metrics.grounding.amounts import unit_of
from loragraft.experiment.metrics.grounding.pairing import Pair, related, share
from loragraft.experiment.metrics.grounding.reading import Reading, Word

NEAR_COPY = 0.6
"""Share of a claim's content that a sentence must have to be read beside it word by word."""
SAME_CLAUSE = 0.5
"""The same for a clause, from which one word only may be missing."""
VERBAL = ("ed", "ing", "ly")
"""Ends of verbs and adverbs: what replaces one is most often the same said otherwise."""
ADVERB = "ly"
MOST_OWN, MOST_OTHER = 80, 240
"""Words with content that are laid beside each other: a long sentence has forty."""


def check_replaced(pair: Pair) -> str | None:
    """No word is replaced in a sentence that is else repeated, nor in one of its clauses."""
    if share(pair.claim, pair.sentence.stems) >= NEAR_COPY:
        found = _replaced(pair.claim, pair.sentence)
        if found is not None:
            return found
    missing = [word for word in pair.claim.content if word.stem not in pair.clause.stems]
    if len(missing) == 1 and share(pair.claim, pair.clause.stems) >= SAME_CLAUSE:
        return _replaced(pair.claim, pair.clause)
    return None


def _replaced(claim: Reading, copied: Reading) -> str | None:
    ours, theirs = claim.content[:MOST_OWN], copied.content[:MOST_OTHER]
    stems = [word.stem for word in ours], [word.stem for word in theirs]
    for kind, a, b, c, d in SequenceMatcher(None, *stems, autojunk=False).get_opcodes():
        other = [word for word in theirs[c:d] if word.stem not in claim.stems]
        if kind != "replace" or not other:
            continue
        for word in ours[a:b]:
            instead = next((one for one in other if _differs(word, one, copied)), None)
            if instead is not None:
                return f"{word.text}, where the passage says {instead.text}"
    return None


def _differs(word: Word, other: Word, copied: Reading) -> bool:
    """Whether two words in the same place say different things."""
    unit, their_unit = unit_of(word), unit_of(other)
    if unit is not None and their_unit is not None:
        return unit != their_unit and unit.dimension == their_unit.dimension
    return (word.hard and other.hard and not related(word, copied)
            and not word.text.endswith(VERBAL) and not other.text.endswith(ADVERB))  # fmt: skip
