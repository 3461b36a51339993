"""What stays of a text when case, punctuation, white space, Unicode's spellings and URLs go."""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata

_URL = re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE)

_EMOJI = range(0x1F000, 0x1FB00)
"""Pictures, also those that an older Python does not know as such: the same text gives the same
key under every version."""

_MARKS = frozenset(".,%'-")
"""Punctuation that may belong to a number or a word; what is left of it, ``_LOOSE`` decides."""

_SPELLED = {0x2019: "'", 0x02BC: "'", 0x2212: "-", 0x2010: "-", 0x2011: "-", 0x2013: "-"}
"""Apostrophes, minus signs and hyphens that mean what the plain ones do."""

_LOOSE = re.compile(
    r"(?<!\d),|,(?!\d)|\.(?!\d)|(?<=[^\d\s<=>~+$\u20ac\u00a3-])\."  # no part of 1,234, 1.5 or .5
    r"|(?<!\d)%"  # of no number
    r"|-(?!\.?\d)|(?<=\w)-"  # no sign of a number
    r"|(?<!\w)'|'(?!\w)"  # a quotation mark
)
_APOSTROPHE = re.compile(r"(?<=\w)'(?=\w)")


class _Table(dict[int, str]):
    """What each character becomes; filled with the characters that occur."""

    def __missing__(self, code: int) -> str:
        new = self[code] = _character(code)
        return new


def _character(code: int) -> str:
    if code in _SPELLED:
        return _SPELLED[code]
    character = chr(code)
    if character in _MARKS:
        return character
    if code in _EMOJI:
        return " "
    kind = unicodedata.category(character)
    if kind in ("Cf", "Cs") or 0xFE00 <= code <= 0xFE0F:  # invisible, or half a character
        return ""
    # Signs of mathematics and currencies stay: "p < 0.05" is not "p > 0.05".
    return " " if kind[0] in "PZ" or kind in ("Cc", "So", "Sk") else character


_TABLE = _Table()


def normalise(text: str) -> str:
    """Return a text without what does not change its meaning.

    Case is folded (NFKC before and after), HTML's references are read, URLs, punctuation, pictures
    and invisible characters go, white space becomes single spaces. What changes a number stays:
    signs, decimal marks, percent, comparison signs, currencies. A text that is nothing but such
    marks keeps them, so that it is not the same as every other.
    """
    plain = unicodedata.normalize("NFKC", html.unescape(text) if "&" in text else text).casefold()
    plain = unicodedata.normalize("NFKC", plain)
    kept = _URL.sub(" ", plain).translate(_TABLE)
    kept = " ".join(_LOOSE.sub(" ", _APOSTROPHE.sub("", kept)).split())
    if kept:
        return unicodedata.normalize("NFKC", kept)  # an invisible character kept two apart
    return " ".join(plain.encode("utf-8", "replace").decode("utf-8").split())


def exact_key(text: str) -> bytes:
    """Return 16 bytes that texts share which are the same but for what :func:`normalise` takes."""
    return hashed(normalise(text))


def hashed(plain: str) -> bytes:
    """Return the 16 bytes of a text that is normalised already."""
    return hashlib.sha256(plain.encode("utf-8")).digest()[:16]
