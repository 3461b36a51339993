"""What a model says, made harmless for a terminal."""

from __future__ import annotations

import re

_PICTURES = 0x2400
"""Unicode's pictures of the control characters, in their order: U+241B shows an escape."""

_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Everything that moves the cursor, begins a control sequence or turns the writing direction; line
feeds and tabs stay. Half surrogates cannot be written at all."""


def clean(text: str) -> str:
    """Return a text in which control characters are shown instead of obeyed.

    An escape sequence stays readable as text; a terminal does nothing with it. Piece by piece
    gives the same as the whole, but for a carriage return right before a line feed.
    """
    return _CONTROL.sub(_show, text.replace("\r\n", "\n"))


def _show(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(_PICTURES + code)
    return chr(_PICTURES + 0x21) if code == 0x7F else f"\\u{code:04x}"


def clean_json(text: str) -> str:
    """Return JSON in which such characters are escaped, so that it means the same."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
