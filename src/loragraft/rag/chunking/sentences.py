"""Where sentences begin, in any script, by rules that need no model and no language."""

from __future__ import annotations

import re
from collections.abc import Iterator

_WORDS = """
    dr mr mrs ms prof st sr jr rev gen col lt sgt capt gov sen rep hon messrs mme mlle
    vs etc al e.g i.e eg ie cf viz ca approx resp incl excl esp dept univ assn inc ltd corp co
    fig figs eq eqs ref refs secs ch chap vol vols pp ed eds para
    jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun
    a.m p.m u.s u.k u.n ph.d m.sc b.sc d.h z.b u.a o.ä bzw usw ggf evtl nr abs vgl sog bspw
    abb kap hrsg str tel geb gest jh jhd mio mrd p.ex env av
"""

ABBREVIATIONS = frozenset(_WORDS.split())
"""What ends in a full stop without ending a sentence: titles, references, months; English, with the
commonest of German and French. A break missed here only makes a sentence longer."""

_BEFORE_NUMBERS = frozenset(("no", "nos", "art", "app", "tab", "sec", "p", "m", "mm"))
"""What is short for something before a number only, and a word of its own elsewhere."""

_END = re.compile(
    r"""
    # Scripts that put a space after a sentence; a run of marks is tried once, not from each on.
    (?<![.!?…؟۔։።।॥]) [.!?…؟۔։።।॥]+ ["'”’»)\]]* (?=\s)
    | [。！？｡．]+ [」』”’）】》]*              # scripts that do not
    """,  # noqa: RUF001
    re.VERBOSE,
)
_SPACELESS = frozenset("。！？｡．")  # noqa: RUF001
_LAST_WORD = re.compile(r"[\w.'’-]+\Z")  # noqa: RUF001
_LOOK_BACK = 24
"""Characters before a full stop that may be an abbreviation."""

_CLAUSE = re.compile(r"[,;:](?=\s)|[—–](?=\s)|[，；：、؛،]")  # noqa: RUF001


def sentence_starts(text: str, start: int, stop: int) -> Iterator[int]:
    """Yield where sentences begin after the first one.

    Args:
        text: Of a document.
        start: Where a paragraph begins.
        stop: One past its last character.
    """
    for found in _END.finditer(text, start, stop):
        after = _skip_space(text, found.end(), stop)
        if after < stop and _ends_sentence(text, start, found, after):
            yield after
            start = after


def clause_starts(text: str, start: int, stop: int) -> Iterator[int]:
    """Yield where clauses begin after the first one."""
    for found in _CLAUSE.finditer(text, start, stop):
        after = _skip_space(text, found.end(), stop)
        if after < stop:
            yield after


def _skip_space(text: str, position: int, stop: int) -> int:
    while position < stop and text[position].isspace():
        position += 1
    return position


def _ends_sentence(text: str, start: int, found: re.Match[str], after: int) -> bool:
    mark = found[0][0]
    if mark in _SPACELESS:
        return True
    if text[after].islower():
        return False
    if found[0] != ".":  # other marks, several of them, or one within quotes or brackets
        return True
    word = _LAST_WORD.search(text, max(start, found.start() - _LOOK_BACK), found.start())
    if word is None:
        return True
    if word[0].isdigit():  # "1. Open the file": a number in a list, not the end of anything
        return word.start() > start
    return not _is_short(word[0], text[after])


def _is_short(word: str, following: str) -> bool:
    """Tell whether a word before a full stop is an initial or a known abbreviation."""
    if word.lower() in _BEFORE_NUMBERS:
        return following.isdigit()
    return (len(word) == 1 and word.isupper()) or word.lower() in ABBREVIATIONS
