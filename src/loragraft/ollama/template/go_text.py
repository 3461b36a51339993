"""Writing text into Go templates so that it stays text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from loragraft.errors import TemplateError

_UNSAFE = re.compile(r'\{*(?:"""|^"|"$|[\x00-\x08\x0b-\x1f\x7f-\xa0\xad])|\{\{+|\{$')
"""What would open an action, end a Modelfile's quotes, or not survive a text file; with the braces
before it, which would open an action together with the one that is put there."""
_UNPRINTABLE = re.compile(r"\{*[^\x00-\x7f]")
"""A character beyond ASCII with the braces before it: escaped where it cannot be printed, since a
Modelfile's parser drops such characters (spaces of other widths, joiners, direction marks)."""


def go_text(text: str) -> str:
    """Return Go template source that writes a text, whatever it holds.

    It has no triple quotes, no control characters besides line break and tab, and neither begins
    nor ends with a quote, so that a Modelfile can carry it in triple quotes.

    Raises:
        TemplateError: the text has half a surrogate pair, which no file can hold.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TemplateError(
            f"the chat template writes {text[error.start]!r}, half a character. Correct the "
            "template."
        ) from None
    text = _UNSAFE.sub(lambda match: "{{ " + go_string(match.group()) + " }}", text)
    return _UNPRINTABLE.sub(_written, text)


def _written(match: re.Match[str]) -> str:
    found = match.group()
    return found if found[-1].isprintable() else "{{ " + go_string(found) + " }}"


def go_string(text: str) -> str:
    """Return a text as a quoted Go string in which all that cannot be printed is escaped."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def action(source: str) -> str:
    """Return an action."""
    return "{{ " + source + " }}"


def actions(*sources: str) -> str:
    """Return actions, one after the other."""
    return "".join(map(action, sources))


def common_start(texts: Sequence[str]) -> str:
    """Return the longest text that all texts begin with."""
    first, last = min(texts), max(texts)
    length = 0
    while length < min(len(first), len(last)) and first[length] == last[length]:
        length += 1
    return first[:length]
