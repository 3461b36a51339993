"""Pieces that no budget holds are divided: into clauses, then words, then tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from loragraft.rag.chunking.measure import Measure
from loragraft.rag.chunking.pieces import Border, Piece, trimmed
from loragraft.rag.chunking.sentences import clause_starts

PARTS = 16
"""An endless line is divided into words in groups of this share of a budget: finer ones would
only slow the planning down."""

MERGED = 32
"""Pieces smaller than this share of a budget are joined with the next of their kind: word lists,
logs, poems."""

_WORD = re.compile(
    # Scripts without spaces between words: any character may begin a word, a mark may not.
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
    r"|[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    r"\U00020000-\U0003ffff]+"
)
_NEVER_FIRST = frozenset("、。，．：；！？）」』】》〉〕’”…—ー々")  # noqa: RUF001
_NEVER_LAST = frozenset("「『（【《〈〔")  # noqa: RUF001
_JOINED = frozenset(
    (Border.PARAGRAPH, Border.LINE, Border.ITEM, Border.ROW, Border.CODE, Border.SENTENCE)
)


def word_starts(text: str, start: int, stop: int) -> Iterator[int]:
    """Yield where words begin; in Chinese and Japanese, every character that may begin a line."""
    glued = False
    for found in _WORD.finditer(text, start, stop):
        first = found[0][0]
        spaced = found.start() == start or text[found.start() - 1].isspace()
        wide = len(found[0]) == 1 and ord(first) >= 0x3040
        before = text[found.start() - 1] if found.start() else " "
        if spaced or ((wide or ord(before) >= 0x3040) and first not in _NEVER_FIRST and not glued):
            yield found.start()
        glued = first in _NEVER_LAST


def divide(pieces: Iterable[Piece], measure: Measure, limit: int) -> list[Piece]:
    """Divide every piece heavier than a limit; join those that are tiny beside it."""
    divided: list[Piece] = []
    for piece in pieces:
        if measure.weight(piece.start, piece.stop) > limit:
            divided.extend(_divided(piece, measure, limit))
        elif divided and _joins(divided[-1], piece, measure, limit):
            divided[-1] = divided[-1]._replace(stop=piece.stop)
        else:
            divided.append(piece)
    return divided


def _joins(last: Piece, piece: Piece, measure: Measure, limit: int) -> bool:
    if piece.border not in _JOINED or last.heading or piece.header != last.header:
        return False
    if last.border not in (piece.border, Border.PARAGRAPH, Border.HEADED):
        return False
    return measure.weight(last.start, piece.stop) * MERGED <= limit


def _divided(piece: Piece, measure: Measure, limit: int) -> Iterator[Piece]:
    starts = clause_starts(measure.text, piece.start, piece.stop)
    for clause in _cut(piece, starts, Border.CLAUSE, measure.text):
        if measure.weight(clause.start, clause.stop) <= limit:
            yield clause
        else:
            yield from _grouped_words(clause, measure, limit)


def _cut(piece: Piece, starts: Iterable[int], border: Border, text: str) -> Iterator[Piece]:
    begin, kind = piece.start, piece.border
    for start in starts:
        if start <= begin:
            continue
        yield piece._replace(start=begin, stop=trimmed(text, begin, start)[1], border=kind)
        piece, begin, kind = piece._replace(level=0), start, border
    yield piece._replace(start=begin, border=kind)


def _grouped_words(piece: Piece, measure: Measure, limit: int) -> Iterator[Piece]:
    """Yield groups of whole words, as small as planning wants them; long words in parts."""
    target = max(1, limit // PARTS)
    starts, begin = [], piece.start
    for start in word_starts(measure.text, piece.start, piece.stop):
        heavy = start > begin and measure.weight(begin, start) >= target
        if heavy:
            starts.append(start)
            begin = start
    for group in _cut(piece, starts, Border.WORD, measure.text):
        yield from _within(group, measure, limit)


def _within(group: Piece, measure: Measure, limit: int) -> Iterator[Piece]:
    """Yield a group whole where it fits, else word by word, and words in parts."""
    if measure.weight(group.start, group.stop) <= limit:
        yield group
        return
    words = word_starts(measure.text, group.start, group.stop)
    for word in _cut(group, words, Border.WORD, measure.text):
        yield from _parts(word, measure, limit)


def _parts(word: Piece, measure: Measure, limit: int) -> Iterator[Piece]:
    """Yield a word whole where it fits, else cut at borders of tokens."""
    start, border = word.start, word.border
    while measure.weight(start, word.stop) > limit:
        stop = measure.furthest(start, word.stop, limit)
        if stop >= word.stop:
            break
        yield word._replace(start=start, stop=stop, border=border)
        word, start, border = word._replace(level=0), stop, Border.TOKEN
    yield word._replace(start=start, border=border)
