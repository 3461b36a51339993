"""Characters that nobody sees: taken out of a document's text before a model reads it.

A person who looks at the document does not see them, a tokenizer does: they carry hidden orders
(Unicode's tag characters, long runs of variation selectors) and split words that a filter looks
for. What scripts and emoji need of them stays.
"""

from __future__ import annotations

import re
import unicodedata

_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
"""What Unicode and :meth:`str.splitlines` take as the end of a line, beside the line feed."""

_HIDDEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
"""Control characters and Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt;
line feeds and tabs stay."""

_BROKEN = re.compile("[\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Half surrogates and noncharacters: no text that is exchanged has them."""

JOINERS = "\u200c\u200d"
"""Persian, the scripts of India and joined emoji are wrong without them."""
KEYCAP = "\u20e3"
EMOJI = frozenset({"So", "Sk", "Sm"})
"""Unicode categories of emoji, skin tones (Sk) and arrows that become one (Sm)."""


def visible(text: str) -> str:
    """Return a text as a person sees it, its line ends all line feeds."""
    text = _LINE_ENDS.sub("\n", text)
    text = _BROKEN.sub("\ufffd", text)
    while (shorter := _without_hidden(text)) != text:  # what was needed only by a hidden one
        text = shorter
    return text


def is_hidden(char: str) -> bool:
    """Whether a character is one that nobody sees, needed or not."""
    return _HIDDEN.match(char) is not None


def _without_hidden(text: str) -> str:
    return _HIDDEN.sub(lambda found: found[0] if _needed(text, found.start()) else "", text)


def _needed(text: str, at: int) -> bool:
    """Whether a script or an emoji needs the hidden character at a place."""
    char, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    if char in JOINERS:
        return _joins(before) and _joins(after)
    if "\ufe00" <= char <= "\ufe0f":
        return after == KEYCAP if before.isascii() else _joins(before) and before not in JOINERS
    if char >= "\U000e0100":
        return unicodedata.name(before, "").startswith("CJK ") if before else False
    return False


def _joins(char: str) -> bool:
    """Whether a character is a letter or mark of another script than ASCII's, or an emoji."""
    if not char or char.isascii():
        return False
    if "\ufe00" <= char <= "\ufe0f":  # an emoji's variation selector before a joiner
        return char == "\ufe0f"
    kind = unicodedata.category(char)
    return kind in EMOJI or (kind[0] in "LM" and _HIDDEN.match(char) is None)
