"""Writing text into Go templates so that it stays text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from loragraft.errors import TemplateError

_UNSAFE = re.compile(r'\{*(?:"""|^"|"$|[\x00-\x08\x0b-\x1f\x7f\x85\ufeff\u2028\u2029])|\{\{+|\{$')
"""What would open an action, end a Modelfile's quotes, or not survive a text file; with the braces
before it, which would open an action together with the one that is put there."""


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
    return _UNSAFE.sub(lambda match: "{{ " + go_string(match.group()) + " }}", text)


def go_string(text: str) -> str:
    """Return a text as a quoted Go string, all of ASCII but plain characters escaped."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if " " <= character <= "~" or (character > "\xa0" and character not in "\ufeff\u2028\u2029"):
        return character
    return f"\\u{ord(character):04x}"


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
