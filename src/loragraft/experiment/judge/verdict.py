"""A judge's verdict read from what it wrote: reasons first, then one of a few words.

Where an engine can hold an answer to a schema it does; where it cannot, models wrap their JSON into
prose, fences and mistakes. What is read here is whole and says one thing: an output with two
verdicts that differ, or with a verdict in front of its reasons, is malformed, and asked for again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loragraft.rag.answering.visible import visible

LONGEST_OUTPUT = 100_000
"""Characters that are read of an output; verdicts have some hundred."""
MOST_TRIES = 64
"""Brackets at which an object is looked for."""
LONGEST_REASONS = 2000
"""Characters of reasons that are kept."""

_LOOSE_COMMA = re.compile(r",(\s*[}\]])")
_KEY = re.compile(r'(?<!\\)"verdict"\s*:')
_LAST_LINE = re.compile(r"\W*(?:(?:final|my)\s+)?verdict\W{1,8}(?P<word>[\w ]{1,20}?)\W*", re.I)
_SQUARE = re.compile(r"\[\[\s*([\w ]{1,20}?)\s*\]\]")
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


@dataclass(frozen=True)
class Choices:
    """What a verdict may be.

    Attributes:
        words: As the schema has them.
        others: What models write in their place, in small letters, and what it means.
    """

    words: tuple[str, ...]
    others: Mapping[str, str]

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of an output, reasons first.

        Reasons have no greatest length: llama.cpp's grammar spells such a bound as so many nested
        rules. The prompt asks for one or two sentences instead.
        """
        return {
            "type": "object",
            "properties": {
                "reasons": {"type": "string"},
                "verdict": {"type": "string", "enum": list(self.words)},
            },
            "required": ["reasons", "verdict"],
            "additionalProperties": False,
        }

    def read(self, value: object) -> str | None:
        """Return the word that a value means; None for none."""
        if isinstance(value, bool):
            value = "yes" if value else "no"
        if not isinstance(value, str) or len(value) > 40:
            return None
        plain = " ".join(value.strip(" \t\r\n\"'`*_.!:[]()").replace("_", " ").split()).casefold()
        for word in self.words:
            if plain == word.casefold():
                return word
        return self.others.get(plain)


PAIR = Choices(
    ("A", "B", "tie"),
    {"answer a": "A", "a is better": "A", "answer b": "B", "b is better": "B", "draw": "tie",
     "equal": "tie", "tied": "tie", "a tie": "tie", "it is a tie": "tie"},
)  # fmt: skip
SUPPORT = Choices(
    ("supported", "unsupported"),
    {"yes": "supported", "no": "unsupported", "not supported": "unsupported"},
)
CORRECT = Choices(
    ("correct", "incorrect"),
    {"yes": "correct", "no": "incorrect", "right": "correct", "wrong": "incorrect",
     "not correct": "incorrect"},
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What a judge said.

    Attributes:
        word: Of its choices.
        reasons: Why, as it wrote them, without hidden characters.
    """

    word: str
    reasons: str


class Malformed(ValueError):
    """An output without a verdict; says why, as a clause."""


def parse_verdict(output: str, choices: Choices) -> Verdict:
    """Read a verdict.

    Args:
        output: What the judge wrote, whatever it is.
        choices: What its verdict may be.

    Raises:
        Malformed: If there is none, or more than one.
    """
    text = _THOUGHT.sub("", output[:LONGEST_OUTPUT]).strip()
    if not text:
        raise Malformed("nothing was written")
    found = [_read_object(value, choices) for value in _verdicts(text)]
    if len(found) != len(_KEY.findall(text)):
        raise Malformed("it holds a verdict in what is no JSON object")
    if not found:
        return _from_prose(text, choices)
    if len({one.word for one in found}) > 1:
        raise Malformed("it holds several verdicts that differ")
    return found[-1]


def _read_object(pairs: Mapping[str, Any], choices: Choices) -> Verdict:
    word, reasons = choices.read(pairs["verdict"]), pairs.get("reasons")
    if word is None:
        raise Malformed(f"its verdict is none of {', '.join(choices.words)}")
    if not isinstance(reasons, str) or not visible(reasons).strip():
        raise Malformed("it gives no reasons")
    if list(pairs).index("reasons") > list(pairs).index("verdict"):
        raise Malformed("its verdict stands before the reasons")
    return Verdict(word, _kept(reasons))


def _kept(reasons: str) -> str:
    return visible(reasons).strip()[:LONGEST_REASONS]


def _verdicts(text: str) -> list[dict[str, Any]]:
    """Return the objects with a verdict; of a text without any, those that it is mended to."""
    for whole in (text, _LOOSE_COMMA.sub(r"\1", text), _closed(text)):
        found = [value for value in _objects(whole) if "verdict" in value]
        if found:
            return found
    return []


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a text that stand in no other."""
    decoder = json.JSONDecoder(strict=False, object_pairs_hook=_once)
    at = tries = 0
    while (at := text.find("{", at)) >= 0 and tries < MOST_TRIES:
        tries += 1
        try:
            value, at = decoder.raw_decode(text, at)
        except Malformed:
            raise
        except (ValueError, RecursionError):
            at += 1
            continue
        yield value


def _closed(text: str) -> str:
    """Return a text with the bracket that its last object may lack."""
    return text.rstrip().removesuffix("```").rstrip().rstrip(",") + "}"


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if sum(key == "verdict" for key, _ in pairs) > 1:
        raise Malformed("it holds several verdicts in one object")
    return values


def _from_prose(text: str, choices: Choices) -> Verdict:
    """Read a last line such as "Verdict: A", or "[[A]]": reasons stand before it."""
    lines = [line for line in text.splitlines() if line.strip()]
    marked = {choices.read(word) for word in _SQUARE.findall(text)}
    last = _LAST_LINE.fullmatch(lines[-1].strip()) if lines else None
    words = (marked | {choices.read(last["word"])} if last else marked) - {None}
    if len(words) != 1:
        raise Malformed("it holds several verdicts that differ" if words else "it is no JSON "
                        "object with reasons and a verdict")  # fmt: skip
    reasons = _SQUARE.sub("", "\n".join(lines[:-1] if last else lines))
    if not visible(reasons).strip():
        raise Malformed("it gives no reasons")
    return Verdict(str(next(iter(words))), _kept(reasons))
