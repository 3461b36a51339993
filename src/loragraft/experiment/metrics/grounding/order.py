"""Whether the right words stand in each other's places: who does what, which number is whose."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from loragraft.experiment.metrics.grounding.amounts import Amount
from loragraft.experiment.metrics.grounding.lexicon import (
    ADVERBIAL,
    AGENTS,
    ARTICLES,
    BE,
    SUBORDINATE,
)
from loragraft.experiment.metrics.grounding.pairing import RELATED, Pair
from loragraft.experiment.metrics.grounding.reading import Reading, Word

NEAR_COPY = 0.6
"""Share of a claim's content that clauses must have for their order to be compared."""
MOST_WORDS = 80
"""Words whose order is compared: a long sentence has forty."""
PASSIVE = 8
"""Words between "was" and "by" of a passive."""


def check_order(pair: Pair) -> str | None:
    """Nothing stands in the place of another: "A pays B" is not "B pays A".

    Two words change places if the text between them stays, or if both are numbers. What stands
    behind "in" or in a clause of its own may stand anywhere, and a number moves with its neighbour.
    """
    if pair.near < NEAR_COPY or _passive(pair.claim) != _passive(pair.span):
        return None
    ours, theirs = _places(pair.claim), _places(pair.span)
    shared = [stem for stem in ours if stem in theirs][:MOST_WORDS]
    fixed = [stem for stem in shared if not _adverbial(pair.claim, ours[stem])
             and not _company(pair, ours, theirs, stem)]  # fmt: skip
    for first, last in itertools.combinations(fixed, 2):
        here, there = pair.claim.content[ours[first]], pair.span.content[theirs[first]]
        also, other = pair.claim.content[ours[last]], pair.span.content[theirs[last]]
        if there.start < other.start or there.sentence != other.sentence:
            continue
        between = any(
            ours[first] < ours[stem] < ours[last] and theirs[last] < theirs[stem] < theirs[first]
            for stem in shared
        )
        if between or (here.number and also.number):
            return f"{here.text} and {also.text} change places"
    return None


def _places(reading: Reading) -> dict[str, int]:
    """Return where stems stand that occur once, in order."""
    stems = [word.stem for word in reading.content]
    return {one: at for at, one in enumerate(stems) if stems.count(one) == 1}


def _adverbial(claim: Reading, at: int) -> bool:
    """Whether a word stands behind such as "in", or in such as a when-clause."""
    word = claim.content[at]
    if next(one.text for one in claim.words if one.clause == word.clause) in SUBORDINATE:
        return True
    place = claim.words.index(word)
    before = [one.text for one in claim.words[max(0, place - 2) : place]]
    if before and before[-1] in ARTICLES:
        before.pop()
    return bool(before) and before[-1] in ADVERBIAL and not word.number


def _company(pair: Pair, ours: dict[str, int], theirs: dict[str, int], stem: str) -> bool:
    """Whether a number has the same neighbour on the same side in both: they moved together."""
    if not pair.claim.content[ours[stem]].number:
        return False
    return any(other in theirs and ours[other] - ours[stem] == theirs[other] - theirs[stem] == step
               for other in ours for step in (-1, 1))  # fmt: skip


def _passive(reading: Reading) -> bool:
    texts = [word.text for word in reading.words]
    return any(text in AGENTS and BE & set(texts[max(0, at - PASSIVE) : at])
               for at, text in enumerate(texts))  # fmt: skip


def check_binding(pair: Pair) -> str | None:
    """A number belongs to what the claim says of it, and not to something else."""
    clauses = {part.words[0].clause: part for part in pair.passage.clauses}
    for wanted, found in zip(pair.claimed, pair.found, strict=True):
        of = _said_of(pair.claim, wanted)
        places = {(one.sentence, one.clause) for one in found}
        own = {_beginnings(pair.passage.until(*place)) & of for place in places}
        rivals = {one.clause for one in pair.unclaimed if wanted.rivals(one)} if own else set()
        for rival in sorted(rivals):
            stolen = _beginnings(clauses[rival].content) & of
            if all(_belongs_more(stolen, had) for had in own):
                return f"{wanted.shown} belongs to something else"
    return None


def _belongs_more(stolen: frozenset[str], had: frozenset[str]) -> bool:
    """Whether a clause with another number has more of what is said than the number's own."""
    only = stolen - had
    return bool(only) and (len(only) == 1 or len(stolen) >= len(had))


def _said_of(claim: Reading, amount: Amount) -> frozenset[str]:
    return _beginnings(word for word in claim.content if word.clause == amount.clause)


def _beginnings(words: Iterable[Word]) -> frozenset[str]:
    return frozenset(word.stem[:RELATED] for word in words if not word.number)
