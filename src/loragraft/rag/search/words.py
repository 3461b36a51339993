"""The words of a text as lexical search counts them, in any script."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

VERSION = 1
"""Counts up when the same text gives other words: an index of the old ones is built again."""
LONGEST = 80
"""Characters of a word; what is longer (base64, hashes in a row) is cut."""
_LONGEST_PIECE = 4 * LONGEST
_MOST_PARTS = 4
"""Parts of letters and digits in one piece: beyond, it is a hash, whose parts say nothing."""
_MOST_PIECES = 6
"""Pieces that are joined to one word: beyond, it is an address or a path."""
_LAST_MARK = 0x1FFFF
_ACCENTS = re.compile("[\u0300-\u036f\u00ad]")
"""Accents of Latin, Greek and Cyrillic, and the hyphen that nobody sees; the vowel signs of other
scripts are no accents."""
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u1100-\u11ff\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # jamo, kana
    "\u3005-\u3007\u3105-\u318f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # bopomofo, Han
    "\uac00-\ud7af\U00020000-\U0003ffff"  # Hangul, Han beyond the basic plane
)
"""Scripts whose words no spaces part; and Hangul, where particles grow onto words."""
_FIRST_SPACELESS, _FIRST_MARK = "\u0e00", "\u0300"
_NUMBER = r"[0-9]+(?:[.,][0-9]+)*"
_JOINTS = "_\\-\u2010\u2011.'\u2019/:@&\u200c\u200d"
_JOINT = re.compile(f"[{_JOINTS}]")
_DIGIT = re.compile(r"\d")
_IS_NUMBER = re.compile(_NUMBER)
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_PART = re.compile(r"[0-9]+|[^0-9]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def words(text: str) -> list[str]:
    """Return the words of a text in its order.

    Upper and lower case, accents and compatibility forms (full width, ligatures) are one. What is
    written in one piece of several parts (``snake_case``, ``camelCase``, ``os.path``, ``IL-6``,
    ``e-mail``, ``10mg``) gives its parts and, behind them, the whole without what parts it:
    ``IL6`` finds ``IL-6``. A number is one word with its decimals. Text without spaces (Chinese,
    Japanese, Korean, Thai) gives its characters and each two neighbours.
    """
    return [word for piece in pieces(text) for word in forms(piece)]


def pieces(text: str) -> list[str]:
    """Return what stands between spaces and punctuation."""
    if not text.isascii():
        text = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text))
        text = unicodedata.normalize("NFC", _ACCENTS.sub("", text))
    marks = "" if text.isascii() or max(text) < _FIRST_MARK else _marks()
    if marks:
        text = _DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), text)
    return _piece(marks).findall(text)


@cache
def _piece(marks: str) -> re.Pattern[str]:
    """Return what a piece looks like, where the characters of a class stand on others."""
    first = f"(?![{_SPACELESS}_])\\w" if marks else r"[^\W_]"
    letter = f"(?:(?![{_SPACELESS}_])[\\w{marks}])" if marks else r"[^\W_]"
    run = f"{first}{letter}*"
    spaceless = f"[{_SPACELESS}]+|" if marks else ""
    code = r"(?<![a-zA-Z0-9])[a-zA-Z](?:\+\+|#)"
    number = f"{_NUMBER}(?![{_JOINTS},]?{letter})"
    return re.compile(f"{spaceless}{code}|{number}|{run}(?:[{_JOINTS}]{run})*")


@cache
def _marks() -> str:
    """Return all characters that only stand on others, as ranges of a pattern's class."""
    ranges: list[tuple[int, int]] = []
    for code in range(ord(_FIRST_MARK), _LAST_MARK):
        if unicodedata.category(chr(code)).startswith("M"):
            begun = bool(ranges) and ranges[-1][1] == code - 1
            ranges.append((ranges.pop()[0] if begun else code, code))
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


def forms(piece: str) -> tuple[str, ...]:
    """Return the words that a piece stands for."""
    if piece.isalpha() and piece.isascii() and (piece[1:].islower() or len(piece) == 1):
        return (piece.lower()[:LONGEST],)
    if piece[0] >= _FIRST_SPACELESS and _is_spaceless(piece[0]):
        return (*piece, *(piece[at : at + 2] for at in range(len(piece) - 1)))
    if _IS_NUMBER.fullmatch(piece):
        return _numbers(piece)
    if piece[-1] in "+#":
        return (piece[0].lower(), piece.lower())
    return _compound(piece[:_LONGEST_PIECE])


@cache
def _spaceless() -> re.Pattern[str]:
    return re.compile(f"[{_SPACELESS}]")


def _is_spaceless(character: str) -> bool:
    return _spaceless().match(character) is not None


def _numbers(piece: str) -> tuple[str, ...]:
    if _THOUSANDS.fullmatch(piece):
        return (piece.replace(",", "")[:LONGEST],)
    return tuple(number[:LONGEST] for number in piece.split(","))


def _compound(text: str) -> tuple[str, ...]:
    """Return the parts of a piece, and what they make together."""
    found: list[str] = []
    runs = [run for run in _JOINT.split(text) if run]
    for run in runs:
        parts = [part for hump in _HUMP.split(run) for part in _PART.findall(hump)]
        if 1 < len(parts) <= _MOST_PARTS:
            found.extend(parts)
        found.append(run)
    if 1 < len(runs) <= _MOST_PIECES:
        found.append("".join(runs))
    return tuple(word.casefold()[:LONGEST] for word in found)
