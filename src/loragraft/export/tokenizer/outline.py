"""What the original's ids must be outside the places where llama.cpp is known to differ.

A text is cut as the original cuts it: at added tokens, taken leftmost and longest, as whole words
and with the spaces they strip; and where letters beyond ASCII may be split elsewhere, into words.
Each piece that no known difference touches has llama.cpp's own ids for it; the others are gaps.
Source of the cutting: the tokenizers library, `AddedVocabulary::find_matches`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from loragraft.export.tokenizer.inventory import AddedToken

Encode = Callable[[str], list[int]]
Piece = list[int] | None
"""Ids that must stand there, or None for a gap of any length."""

# A space that begins a word: splitting rules put it to that word, so texts may be cut before it.
_WORD_START = re.compile(r"(?= \S)")


def outline(
    text: str,
    added: Sequence[AddedToken],
    encode: Encode,
    *,
    prefix_first: bool,
    gap_in_words: bool,
    composed: bool,
) -> list[Piece]:
    """Return what the original's ids of a text must look like.

    Args:
        text: the text.
        added: the original's added tokens.
        encode: llama.cpp's ids of a text without special tokens.
        prefix_first: whether the original puts a space in front of the whole text only, and
            llama.cpp in front of every text it is given.
        gap_in_words: whether words with letters beyond ASCII may be split elsewhere.
        composed: whether the original composes characters (NFC) first.
    """
    pieces: list[Piece] = []
    known = [token.content for token in added if token.content]
    for number, part in enumerate(split_added(text, added)):
        if isinstance(part, AddedToken):
            pieces.append([part.id])
            continue
        plain = unicodedata.normalize("NFC", part) if composed else part
        if any(content in plain for content in known):
            pieces.append(None)  # llama.cpp would take the token that the original passed over
            continue
        if prefix_first and number:
            head, _, plain = plain.partition(" ")
            if head:
                pieces.append(None)
        words = _WORD_START.split(plain) if gap_in_words else [plain]
        pieces += [None if _beyond_ascii(w) and gap_in_words else encode(w) for w in words if w]
    return pieces


def split_added(text: str, added: Sequence[AddedToken]) -> list[str | AddedToken]:
    """Cut a text at its added tokens, those that are matched before normalization first."""
    parts: list[str | AddedToken] = [text]
    for normalized in (False, True):
        tokens = [t for t in added if t.normalized is normalized and t.content]
        if tokens:
            parts = [
                piece
                for part in parts
                for piece in ([part] if isinstance(part, AddedToken) else _cut(part, tokens))
            ]
    return parts


def _cut(text: str, tokens: Iterable[AddedToken]) -> Iterator[str | AddedToken]:
    by_content = {token.content: token for token in tokens}
    longest_first = sorted(by_content, key=len, reverse=True)
    done = 0
    for match in re.finditer("|".join(map(re.escape, longest_first)), text):
        token, start, stop = by_content[match[0]], match.start(), match.end()
        if token.single_word and (_is_word(text[start - 1 : start]) or _is_word(text[stop:][:1])):
            continue
        if token.lstrip:
            start = max(done, len(text[:start].rstrip()))
        if token.rstrip:
            stop = len(text) - len(text[stop:].lstrip())
        if done < start:
            yield text[done:start]
        yield token
        done = stop
    if done < len(text):
        yield text[done:]


def _is_word(character: str) -> bool:
    return re.fullmatch(r"\w", character) is not None


def _beyond_ascii(word: str) -> bool:
    return any(c > "\x7f" and unicodedata.category(c)[0] in "LM" for c in word)


def fits(ids: Sequence[int], pieces: Sequence[Piece]) -> bool:
    """Say whether ids are what an outline asks for."""
    blocks: list[list[int]] = []
    gaps: list[bool] = []  # before each block, and one at the end
    pending = False
    for is_gap, group in groupby(pieces, key=lambda piece: piece is None):
        if is_gap:
            pending = True
            continue
        blocks.append([token for piece in group for token in piece or ()])
        gaps.append(pending)
        pending = False
    place = 0
    for number, (block, gap) in enumerate(zip(blocks, gaps, strict=True)):
        last = number == len(blocks) - 1 and not pending
        found = _find(ids, block, place, anywhere=gap, at_end=last)
        if found is None:
            return False
        place = found + len(block)
    return pending or place == len(ids)


def _find(
    ids: Sequence[int], block: list[int], start: int, *, anywhere: bool, at_end: bool
) -> int | None:
    """Return the first place of a block from `start` on; with `at_end` only that at the end."""
    final = len(ids) - len(block)
    places: Iterable[int] = range(start, final + 1) if anywhere else (start,)
    if at_end:
        places = (final,) if final >= start and (anywhere or final == start) else ()
    return next((p for p in places if list(ids[p : p + len(block)]) == block), None)
