"""What ``/api/show`` says of a model, read out of Go's spelling."""

from __future__ import annotations

import re
from collections import Counter

Shown = Counter[tuple[str, str | float | bool]]
"""Parameters as a server shows them, in no order; numbers as floats."""


def parse_shown(text: str) -> Shown:
    """Read the ``parameters`` of ``/api/show``: a name, spaces, the value as Go spells it.

    Go prints ``%-30s %#v``: numbers bare, texts quoted with escapes.
    """
    found: Shown = Shown()
    for line in text.split("\n"):
        name, _, value = line.partition(" ")
        if name:
            found[name, _read_go(value.strip())] += 1
    return found


_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL
)
_SHORT = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def _read_go(text: str) -> str | float | bool:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPE.sub(_unescape, text[1:-1])
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


def _unescape(match: re.Match[str]) -> str:
    byte, short, long, octal, character = match.groups()
    if character is not None:
        return _SHORT.get(character, character)
    code = int(octal, 8) if octal else int(byte or short or long, 16)
    return chr(code) if code < 0x110000 else "\ufffd"
