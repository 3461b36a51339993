"""Where llama.cpp cannot do what a tokenizer does: known differences, as data.

A text whose ids differ is a mismatch unless one of these applies to it. Differences that apply
are counted and named in the report, never left out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loragraft.export.tokenizer.inventory import AddedToken
from loragraft.export.tokenizer.outline import Encode, fits, outline
from loragraft.export.tokenizer.structures import GPT4O, TEKKEN


@dataclass(frozen=True)
class Facts:
    """What decides which differences a tokenizer can show."""

    normalizers: frozenset[str]
    added: tuple[AddedToken, ...]
    prepend: str
    regexes: frozenset[str]
    sentencepiece: bool


@dataclass(frozen=True)
class KnownDifference:
    """`applies`: whether a text can differ for this reason.

    `rewrite`: the text llama.cpp must be given for equal ids, where one is known; the difference
    then only excuses a text for which these ids are equal. `local`: it touches single places, and
    only excuses a text whose ids are llama.cpp's outside of them (see `outline`).
    """

    name: str
    reason: str
    applies: Callable[[Facts, str], bool]
    rewrite: Callable[[str], str] | None = None
    local: bool = True


def facts_of(tokenizer: Mapping[str, Any], added: Sequence[AddedToken], prepend: str) -> Facts:
    """Return the facts of a tokenizer.json."""
    return Facts(
        normalizers=frozenset(_types(tokenizer.get("normalizer"), "normalizers")),
        added=tuple(added),
        prepend=prepend,
        regexes=frozenset(_regexes(tokenizer.get("pre_tokenizer"))),
        sentencepiece=bool((tokenizer.get("model") or {}).get("byte_fallback")),
    )


def _types(step: object, key: str) -> list[str]:
    if not isinstance(step, dict):
        return []
    inner = [name for part in step.get(key) or [] for name in _types(part, key)]
    return [str(step.get("type")), *inner]


def _regexes(step: object) -> list[str]:
    if not isinstance(step, dict):
        return []
    own = step.get("pattern")
    inner = [regex for part in step.get("pretokenizers") or [] for regex in _regexes(part)]
    return inner + ([own["Regex"]] if isinstance(own, dict) and "Regex" in own else [])


def _composes(facts: Facts, text: str) -> bool:
    return "NFC" in facts.normalizers and _compose(text) != text


def _compose(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _strips(facts: Facts, text: str) -> bool:
    return any(
        token.content in text and (token.lstrip or token.rstrip or token.single_word)
        for token in _written(facts)
    )


def _written(facts: Facts) -> list[AddedToken]:
    """Return the tokens that a text can hold: an empty one stands in all, and in none."""
    return [token for token in facts.added if token.content]


def _overlaps(facts: Facts, text: str) -> bool:
    present = [token.content for token in _written(facts) if token.content in text]
    return any(
        a[-size:] == b[:size] and a + b[size:] in text
        for a in present
        for b in present
        for size in range(1, min(len(a), len(b)))
    )


def _after_special(facts: Facts, text: str) -> bool:
    return facts.prepend == "first" and any(token.content in text for token in _written(facts))


def _spells_spaces(facts: Facts, text: str) -> bool:
    return "▁" in text and any("▁" in token.content for token in facts.added)


_CASED_REGEXES = frozenset({GPT4O, TEKKEN})


def _approximates_case(facts: Facts, text: str) -> bool:
    return bool(facts.regexes & _CASED_REGEXES) and any(
        character > "\x7f" and unicodedata.category(character)[0] in "LM" for character in text
    )


def agrees_elsewhere(
    facts: Facts,
    text: str,
    expected: Sequence[int],
    found: Sequence[int],
    encode: Encode,
    *,
    special: bool,
) -> bool:
    """Say whether ids agree outside of the places where they are known to differ.

    Args:
        facts: of the original.
        text: what both were given.
        expected: the original's ids.
        found: llama.cpp's ids.
        encode: llama.cpp's ids of a text without special tokens.
        special: whether start and end tokens may stand around them.
    """
    written = {token.id for token in _written(facts)}
    if sum(i in written for i in found) < sum(i in written for i in expected):
        return False  # an added token is lost
    pieces = outline(
        text,
        facts.added,
        encode,
        prefix_first=facts.prepend == "first",
        gap_in_words=bool(facts.regexes & _CASED_REGEXES),
        composed="NFC" in facts.normalizers,
    )
    return fits(expected, [None, *pieces, None] if special else pieces)


KNOWN_DIFFERENCES: tuple[KnownDifference, ...] = (
    KnownDifference(
        "composition",
        "the original composes characters (NFC) first, llama.cpp's BPE has no normalizer: "
        "text that is not composed gets other ids",
        _composes,
        _compose,
    ),
    KnownDifference(
        "stripping",
        "an added token takes the spaces beside it, or stands only as a whole word; "
        "GGUF has no field for that",
        _strips,
    ),
    KnownDifference(
        "overlap",
        "two added tokens overlap in the text: the original takes the first, llama.cpp the longest",
        _overlaps,
    ),
    KnownDifference(
        "first space",
        "the original puts a space in front of the whole text only, llama.cpp also after every "
        "special token",
        _after_special,
    ),
    KnownDifference(
        "space marker",
        "an added token of spaces is spelled with ▁ in tokenizer.json and with spaces in the file, "
        "as the text has them: the original also takes a literal ▁ for it",
        _spells_spaces,
        local=False,
    ),
    KnownDifference(
        "case classes",
        "llama.cpp tells upper and lower case apart by A-Z and a-z only in this pre-tokenizer: "
        "words of other letters may be split elsewhere",
        _approximates_case,
    ),
)
