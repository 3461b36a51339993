"""The skeleton of a text: what its characters look like, or become in a tokenizer's normalizer.

``＜|im_end|＞`` in full-width brackets is another text than the control token, until a normalizer
(NFKC in SentencePiece, stripped accents in BERT's) makes them the same.
"""

# ruff: noqa: RUF001, RUF002 - look-alikes are what this is about

from __future__ import annotations

import unicodedata
from functools import lru_cache

from loragraft.rag.answering.visible import is_hidden

_ALIKE = {
    "<": "‹〈⟨〈❮ᐸ˂≪《",
    ">": "›〉⟩〉❯ᐳ˃≫》",
    "|": "∣│┃ǀ¦⏐❘❙╎║∥ⅼ丨",
    "[": "⁅【〔⟦❲",
    "]": "⁆】〕⟧❳",
    "/": "⁄∕╱⧸",
    "_": "▁‿⎯",
    "~": "∼〜",
    "-": "‐‑‒–—−",
    ":": "∶ː꞉",
    "a": "аɑα", "b": "ЬƄ", "c": "сϲ", "d": "ԁ", "e": "еҽ", "g": "ɡ", "h": "һ", "i": "іıΙІӏ",
    "j": "ј", "k": "κкК", "l": "Ɩ", "m": "мМΜ", "n": "ոΝη", "o": "оοОΟσ", "p": "рρРΡ", "q": "ԛ",
    "r": "г", "s": "ѕЅ", "t": "тτТΤ", "u": "υս", "v": "νѵ", "w": "ԝѡ", "x": "хχХΧ", "y": "уγҮΥ",
    "A": "АΑ", "B": "ВΒ", "C": "СϹ", "E": "ЕΕ", "H": "НΗ", "Y": "У", "Z": "Ζ",
}  # fmt: skip
"""What looks like an ASCII character and has no Unicode decomposition to it: the look-alikes of
Unicode's confusables.txt that are in common fonts."""

_TABLE = {other: char for char, others in _ALIKE.items() for other in others}


@lru_cache(maxsize=4096)
def _fold_char(char: str) -> str:
    """Return what a character looks like; nothing for a hidden one or a mark on another."""
    if is_hidden(char):
        return ""
    parts = (_TABLE.get(part, part) for part in unicodedata.normalize("NFKD", char))
    return "".join(part for part in parts if not unicodedata.combining(part))


def fold(text: str) -> tuple[str, list[int]]:
    """Return a text's skeleton, and the place in the text that each of its characters came from."""
    if text.isascii():
        return text, list(range(len(text)))
    out: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        folded = char if char.isascii() else _fold_char(char)
        out.append(folded)
        places += [place] * len(folded)
    return "".join(out), places
