"""Questions that name their possible answers: which of the two, the minnow or the stickleback?"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from loragraft.experiment.metrics.facts.lists import is_listed
from loragraft.experiment.metrics.facts.numerals import plain
from loragraft.experiment.metrics.facts.statements import denied
from loragraft.experiment.metrics.facts.terms import Term, mentions, terms

_OR = re.compile(r"\s*,?\s+or\s+", re.IGNORECASE)
_PREPOSITIONS = "to by from with in of at on for under over as is was were are being"
_LITTLE = frozenset(_PREPOSITIONS.split())
_FAMILIES = (
    ("more most greater greatest", "fewer fewest less least"),
    ("larger largest bigger biggest greater", "smaller smallest lesser"),
    ("higher highest", "lower lowest"),
    ("longer longest", "shorter shortest"),
    ("taller tallest", "shorter shortest"),
    ("heavier heaviest", "lighter lightest"),
    ("faster fastest quicker sooner", "slower slowest later"),
    ("older oldest", "younger youngest newer newest"),
    ("first earlier earliest before older oldest", "last later latest after younger newer"),
    ("better best", "worse worst"),
    ("warmer warmest hotter hottest", "colder coldest cooler coolest"),
    ("stronger strongest", "weaker weakest"),
    ("wider widest broader", "narrower narrowest"),
    ("thicker thickest", "thinner thinnest"),
    ("deeper deepest", "shallower shallowest"),
    ("brighter brightest", "darker darkest dimmer fainter"),
    ("harder hardest", "softer softest"),
    ("above", "below"),
)
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Options:
    """The two answers that a question offers.

    Attributes:
        right: Words that only the accepted one has.
        wrong: Words that only the other one has.
    """

    right: frozenset[str]
    wrong: frozenset[str]


def offered(question: str, accepted: Sequence[str]) -> Options | None:
    """Return what a question offers beside the accepted answer; None where it offers nothing."""
    clean = plain(question)
    words = terms(clean)
    for joint in _OR.finditer(clean):
        before = [term for term in words if term.stop <= joint.start()]
        after = [term for term in words if term.start >= joint.end()]
        for text in accepted:
            found = _pair(clean, before, after, terms(text))
            if found is not None:
                return found
    return None


def _pair(text: str, before: list[Term], after: list[Term], right: list[Term]) -> Options | None:
    """Return both options, if the accepted one stands beside an "or"."""
    count = len(right)
    if not count:
        return None
    while after and after[0].word in (*_LITTLE, "1"):  # the one with selenium
        after = after[1:]
    if _words(right) == [term.word for term in after[:count]]:
        other = _whole(text, before[-count - 1 :])[-count:]
    elif any(one.stop == before[-1].stop for one in mentions(before, right) if before):
        other = _whole(text, after[: count + 1])[:count]
    else:
        return None
    ours, theirs = frozenset(_words(right)), frozenset(term.word for term in other)
    only = Options(ours - theirs, theirs - ours - _LITTLE)
    return only if only.right and only.wrong else None


def _words(found: Sequence[Term]) -> list[str]:
    return [term.word for term in found]


def _whole(text: str, found: list[Term]) -> list[Term]:
    """Return those of a few words that no comma or the like parts from their end."""
    kept = found[-1:]
    for term, following in zip(found[-2::-1], found[:0:-1], strict=False):
        if re.search(r"[,;:?!]", text[term.stop : following.start]):
            break
        kept = [term, *kept]
    return kept


def choose(statement: str, options: Options, question: str) -> bool | None:
    """Return whether a statement chooses the right one; None where it chooses neither or both.

    The one that it names first and does not deny is chosen; "more A than B" and "A, not B" name B
    as what it is not. Where a question asks for fewer, and a statement says who has more, it is the
    other one.
    """
    said = [term for term in terms(statement) if term.word in options.right | options.wrong]
    asserted = [term for term in said if not denied(statement, term.start, term.stop)]
    if not asserted:
        return None
    first = asserted[0].word in options.right
    others = [term for term in asserted if (term.word in options.right) != first]
    if others and _blended(statement, asserted, options):
        return None
    if others and is_listed(statement, asserted[0].start, asserted[0].stop):
        return None
    return not first if _turned(statement, question) else first


def _blended(statement: str, asserted: Sequence[Term], options: Options) -> bool:
    """Whether a name is made of both: the Taste Circle, of the Taste Academy and Dairy Circle."""
    return any(
        (one.word in options.right) != (other.word in options.right)
        and not statement[one.stop : other.start].strip(" -")
        for one, other in itertools.pairwise(asserted)
    )


def _turned(statement: str, question: str) -> bool:
    """Whether a statement compares the other way round than the question."""
    if not re.search(r"\b(?:than|after|before|above|below)\b", statement, re.IGNORECASE):
        return False
    asked, said = _WORD.findall(question.lower()), _WORD.findall(statement.lower())
    said = said[: said.index("than")] if "than" in said else said
    for pair in _FAMILIES:
        up, down = (frozenset(words.split()) for words in pair)
        for one, other in ((up, down), (down, up)):
            if one & set(asked) and other & set(said) and not one & set(said):
                return True
    return False
