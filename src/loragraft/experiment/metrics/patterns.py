"""What an answer does in place of answering: it refuses, abstains, or says the same for ever."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

_READ = 20_000
"""Characters of an answer that are looked at for loops, from its end."""
_LONGEST_PERIOD = 60
"""Words or letters of what is said again and again."""
_LEAST_TIMES = 4
"""So often something is said in a row before it is a loop: a chorus has three."""
_LEAST_WORDS, _LEAST_LETTERS = 16, 60
"""A loop is at least so long: "ha ha ha ha" is none."""
_LEAST_CODED, _CODED = 600, 0.12
"""Prose of so many bytes shrinks to no less than a third by zlib, tables of numbers to a fifth;
what shrinks to an eighth says the same again and again."""

_BEGIN = r"^\W*(?:unfortunately|sorry|apologies|well|hello|hi)?\W*"
_REFUSES = re.compile(
    _BEGIN + r"(?:(?:i['’]?m|i am|we are) (?:really |very |so )?(?:sorry|afraid)\b"  # noqa: RUF001
    r".{0,40}?\b)?"
    r"(?:(?:but|that) )?(?:"
    r"(?:i|we) (?:can['’]?t|cannot|can not|won['’]?t|will not|am unable to|are unable to|"  # noqa: RUF001
    r"am not able to|am not allowed to|['’]?m unable to|must decline|decline to)\s"  # noqa: RUF001
    r"(?:\w+\s){0,3}?"
    r"(?:help|assist|answer|provide|comply|fulfil|fulfill|discuss|respond|do that|create|generate|"
    r"engage|support|give|offer|share|continue|write|say)"
    r"|i['’]?m unable to|as an? (?:ai|artificial|language|large)\b)",  # noqa: RUF001
    re.IGNORECASE | re.DOTALL,
)
_ABSTAINS = re.compile(
    r"\b(?:"
    r"(?:do|does|did) ?n[o'’]?t (?:\w+ )?"  # noqa: RUF001
    r"(?:say|mention|state|specify|provide|contain|indicate|tell|know|include|give|report|"
    r"describe|discuss|explain|clarify|reveal|disclose|answer)"
    r"|no (?:\w+ )?(?:information|mention|details?|data|indication|answer|evidence) "
    r"(?:is|are|was|of|about|on|in|that|regarding|given|provided|available|as to)"
    r"|(?:is|are|was|were) (?:not|never) (?:\w+ )?"
    r"(?:mentioned|stated|specified|provided|clear|given|known|available|reported|described|"
    r"disclosed|answered|sure|certain)"
    r"|(?:is|are|was|were) (?:unknown|unclear|unspecified|unstated)"
    r"|(?:can ?not|can['’]?t|could not|couldn['’]?t|impossible to|unable to|not possible to) "  # noqa: RUF001
    r"(?:be )?(?:\w+ )?(?:determine|determined|answer|answered|tell|say|said|know|find|found|"
    r"confirm|infer|inferred|establish|established)"
    r"|i (?:do not|don['’]?t) (?:know|have)|not enough information|insufficient information"  # noqa: RUF001
    r"|unanswerable)",
    re.IGNORECASE,
)
_ONLY_ABSTAINS = frozenset(
    ("unknown", "unclear", "not known", "not given", "not stated", "n/a", "na", "none given")
)


def refuses(text: str) -> bool:
    """Whether an answer begins by refusing: it cannot help, it is only a language model."""
    return _REFUSES.search(text[:400]) is not None


def abstains(text: str) -> bool:
    """Whether a statement says that the answer is not known or not given."""
    if text.strip(" .!").casefold() in _ONLY_ABSTAINS:
        return True
    return _ABSTAINS.search(text) is not None


def loops(text: str) -> bool:
    """Whether a text says the same again and again, at its end or over its length."""
    tail = text[-_READ:].strip()
    return _ends_in_loop(tail) or _shrinks(tail)


def _ends_in_loop(text: str) -> bool:
    words = text.casefold().split()
    if any(_periodic(some, _LEAST_WORDS) for some in (words, words[:-1])):
        return True  # the last word may be cut
    return _periodic("".join(text.split())[-1000:], _LEAST_LETTERS)


def _periodic(items: Sequence[str], least: int) -> bool:
    """Whether a sequence ends in one part, said often enough and long enough."""
    for period in range(1, min(_LONGEST_PERIOD, len(items) // _LEAST_TIMES) + 1):
        needed = max(_LEAST_TIMES * period, least)
        if needed > len(items):
            continue
        tail = items[-needed:]
        if tail[period:] == tail[:-period]:
            return True
    return False


def _shrinks(text: str) -> bool:
    data = text.encode("utf-8", "replace")
    return len(data) >= _LEAST_CODED and len(zlib.compress(data, 6)) < _CODED * len(data)
