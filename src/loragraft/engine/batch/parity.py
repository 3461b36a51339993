"""The same messages, the same prompt: what each engine makes of fixed conversations, compared.

What an engine shows differs: its token ids, the text it renders, how many tokens it counts, or
nothing. Prompts are data, so that two engines need never be in memory together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from loragraft.engine.batch.protocol import BatchEngine, CountingEngine
from loragraft.engine.protocol import Message
from loragraft.errors import InputError

Conversations = Mapping[str, Sequence[Message]]

_NEAR = 3
"""Tokens or characters shown before the place where two prompts part."""
_AFTER = 12
_OPENING = re.compile(r"<[^<>\s]{1,40}>")
"""A token at the beginning of every text: templates write it, servers add it while tokenizing."""


def _turns(*texts: str, system: str | None = None) -> tuple[Message, ...]:
    roles = ("user", "assistant")
    said = [Message(role=roles[n % 2], content=text) for n, text in enumerate(texts)]
    return (*([Message(role="system", content=system)] if system else []), *said)


PROBES: Conversations = {
    "one turn": _turns("How far is it from Lima to Cusco?"),
    "system": _turns("Name two rivers.", system="You answer in one sentence."),
    "three turns": _turns("Is tin a metal?", "Yes.", "And is sulphur one?"),
    "white space": _turns("  One line,\n\n\ttwo lines,  three.\n"),
    "scripts": _turns("Zürich, 東京 and Αθήνα: 1,234.5 km² — “naïve” 🙂"),
    "composition": _turns("Cafe\u0301 und Mu\u0308nchen"),
    "control tokens": _turns("What do <|im_end|>, </s> and <|eot_id|> mean?"),
}
"""What is likely to part two engines, each named by what it shows."""
_LITERAL = frozenset({"control tokens"})
"""Compared between engines that leave such texts in messages texts: servers take them for the
tokens, which is known, and concerns no other message."""


@dataclass(frozen=True)
class Prompt:
    """What an engine makes of a conversation.

    Attributes:
        ids: Its tokens, where they are shown.
        text: It as it is rendered, where that is shown.
        count: Its tokens' number, where it is known.
        refused: Why there is none, as the engine says.
    """

    ids: tuple[int, ...] | None = None
    text: str | None = None
    count: int | None = None
    refused: str | None = None


@dataclass(frozen=True)
class Prompts:
    """What an engine makes of several conversations.

    Attributes:
        engine: Its name.
        found: By the conversations' names.
        literal: Whether it leaves control tokens' texts in messages texts.
    """

    engine: str
    found: Mapping[str, Prompt] = field(default_factory=dict)
    literal: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        names = ("ids", "text", "count", "refused")
        shown = {
            name: {key: value for key in names if (value := getattr(prompt, key)) is not None}
            for name, prompt in self.found.items()
        }
        for values in shown.values():
            if "ids" in values:
                values["ids"] = list(values["ids"])
        return {"engine": self.engine, "found": shown, "literal": self.literal}

    @classmethod
    def from_json(cls, values: object) -> Prompts:
        """Read what :meth:`to_json` wrote; what is something else is left out."""
        content = values if isinstance(values, Mapping) else {}
        found = content.get("found")
        prompts = {
            str(name): _read(prompt)
            for name, prompt in (found.items() if isinstance(found, Mapping) else ())
            if isinstance(prompt, Mapping)
        }
        return cls(str(content.get("engine", "")), prompts, content.get("literal") is True)


def _read(values: Mapping[str, Any]) -> Prompt:
    ids, count = values.get("ids"), values.get("count")
    whole = isinstance(ids, list) and all(type(token) is int for token in ids)
    text, refused = values.get("text"), values.get("refused")
    return Prompt(
        tuple(ids) if whole and ids is not None else None,
        text if isinstance(text, str) else None,
        count if type(count) is int else None,
        refused if isinstance(refused, str) else None,
    )


@dataclass(frozen=True)
class Difference:
    """Where two engines' prompts part.

    Attributes:
        conversation: Its name.
        engines: Their names.
        kind: What was compared.
        cause: What is likely to be wrong.
        expected: The first engine's, around the place.
        found: The other's.
    """

    conversation: str
    engines: tuple[str, str]
    kind: Literal["refused", "tokens", "text", "count"]
    cause: str
    expected: str
    found: str

    def __str__(self) -> str:
        """Return it as a sentence with what to do."""
        return (
            f"the prompt of {self.conversation!r} differs in its {self.kind}: {self.engines[0]} "
            f"has {self.expected}, {self.engines[1]} {self.found}. {self.cause}"
        )


_TEMPLATE = (
    "The chat templates differ: export and register the model again, or bring the checkpoint's "
    "template up to date."
)
_TOKENIZER = (
    "The same text is other tokens: the models have different vocabularies, or one file's "
    "tokenizer is broken (loragraft trace tells where)."
)
_EITHER = "Template or tokenizer differ; loragraft trace tells where."


def check_parity(
    engines: Sequence[CountingEngine], conversations: Conversations = PROBES
) -> list[Difference]:
    """Compare each engine's prompts with the first one's.

    Args:
        engines: Of the same model, or of models with the same vocabulary and template.
        conversations: By name.
    """
    seen = [prompts_of(engine, conversations) for engine in engines]
    return [found for other in seen[1:] for found in compare_prompts(seen[0], other)]


def prompts_of(engine: BatchEngine, conversations: Conversations = PROBES) -> Prompts:
    """Return what an engine makes of conversations, as far as it shows it.

    Asked for are ``prompt_ids`` and ``render``; else ``rendered_prompt`` and ``count_prompt``,
    which servers' engines may have, and which return None for what a server does not show.

    Raises:
        UnavailableError: If a server does not answer.
    """
    found = {name: _ask(engine, messages) for name, messages in conversations.items()}
    return Prompts(engine.name, found, literal=hasattr(engine, "literals"))


def _ask(engine: BatchEngine, messages: Sequence[Message]) -> Prompt:
    def call(*names: str) -> Any:  # noqa: ANN401 - whatever the first of these methods returns
        method: Callable[..., Any] | None
        method = next((m for name in names if (m := getattr(engine, name, None))), None)
        return None if method is None else method(messages)

    try:
        ids, text = call("prompt_ids"), call("render", "rendered_prompt")
        count = len(ids) if ids is not None else call("count_prompt")
    except InputError as error:  # a template that refuses this order of roles
        return Prompt(refused=str(error))
    return Prompt(None if ids is None else tuple(ids), text, count)


def compare_prompts(reference: Prompts, other: Prompts) -> list[Difference]:
    """Return where an engine's prompts are not those of another, at most one a conversation.

    What one of the two does not show is no difference.
    """
    names = (reference.engine, other.engine)
    known = frozenset() if reference.literal and other.literal else _LITERAL
    return [
        Difference(name, names, *parted)
        for name, prompt in reference.found.items()
        if name in other.found and name not in known
        for parted in _compare(prompt, other.found[name])
    ]


_Parted = tuple[Literal["refused", "tokens", "text", "count"], str, str, str]


def _compare(one: Prompt, other: Prompt) -> Iterator[_Parted]:
    if (one.refused is None) != (other.refused is None):
        yield "refused", _TEMPLATE, one.refused or "a prompt", other.refused or "a prompt"
    elif one.ids is not None and other.ids is not None:
        if one.ids != other.ids:
            yield "tokens", _cause(one, other), *_around(one.ids, other.ids)
    elif one.text is not None and other.text is not None and _without_opening(one, other):
        expected, found = _around(one.text, other.text)
        yield "text", _TEMPLATE, repr(expected), repr(found)
    elif _differ(one.count, other.count):
        yield "count", _EITHER, f"{one.count} tokens", f"{other.count} tokens"


def _differ(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one != other


def _cause(one: Prompt, other: Prompt) -> str:
    if one.text is None or other.text is None:
        return _EITHER
    return _TOKENIZER if one.text == other.text else _TEMPLATE


def _without_opening(one: Prompt, other: Prompt) -> bool:
    """Whether two texts differ by more than a token before all of one of them."""
    short, long = sorted((one.text or "", other.text or ""), key=len)
    if short == long:
        return False
    head = long[: len(long) - len(short)]
    return not (long.endswith(short) and _OPENING.fullmatch(head))


def _around(one: Sequence[Any], other: Sequence[Any]) -> tuple[str, str]:
    """Return both around the first place where they differ."""
    same = (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    at = next(same, min(len(one), len(other)))
    start = max(0, at - _NEAR)
    parts = (one[start : at + _AFTER], other[start : at + _AFTER])
    if isinstance(one, str):
        return str(parts[0]), str(parts[1])
    return _spelled(start, parts[0]), _spelled(start, parts[1])


def _spelled(start: int, ids: Sequence[int]) -> str:
    return f"{', '.join(map(str, ids))} from token {start} on" if ids else f"no token {start}"
