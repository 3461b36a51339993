"""The same messages, the same prompt: what each engine makes of fixed conversations, compared.

What an engine shows differs: its token ids, the text it renders, how many tokens it counts, or
nothing. Prompts are data, so that two engines need never be in memory together.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from loragraft.engine.batch.protocol import BatchEngine, CountingEngine
from loragraft.engine.protocol import Message
from loragraft.errors import InputError

Conversations = Mapping[str, Sequence[Message]]

_NEAR, _AFTER = 6, 24
"""Tokens or characters shown before the place where two prompts part, and from there on."""
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
_CONTROL = re.compile(r"<\|[^<>|]{1,40}\|>|</?s>|</?(?:bos|eos|pad|unk|start_of_turn|end_of_turn)>")
"""What control tokens are spelled like."""


def concerns(conversation: str, texts: Iterable[str]) -> bool:
    """Whether a difference in one of :data:`PROBES` matters to messages of these texts.

    Servers take control tokens' texts in messages for the tokens, and some compose no characters:
    known, and of no consequence where no message holds either.
    """
    if conversation == "composition":
        return not all(unicodedata.is_normalized("NFC", text) for text in texts)
    if conversation == "control tokens":
        return any(_CONTROL.search(text) for text in texts)
    return True


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
    """

    engine: str
    found: Mapping[str, Prompt] = field(default_factory=dict)

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
        return {"engine": self.engine, "found": shown}

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
        return cls(str(content.get("engine", "")), prompts)


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
        brief: What differs, in a few words.
        expected: The first engine's, around the place.
        found: The other's.
    """

    conversation: str
    engines: tuple[str, str]
    kind: Literal["refused", "tokens", "text", "count"]
    cause: str
    brief: str
    expected: str
    found: str

    def __str__(self) -> str:
        """Return it as a sentence with what to do."""
        return f"the prompts of the probe {self.conversation!r} differ ({self.brief}). {self.cause}"


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
    return Prompts(engine.name, found)


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
    return [
        Difference(name, names, *parted)
        for name, prompt in reference.found.items()
        if name in other.found
        for parted in _compare(prompt, other.found[name])
    ]


_Parted = tuple[Literal["refused", "tokens", "text", "count"], str, str, str, str]


def _compare(one: Prompt, other: Prompt) -> Iterator[_Parted]:
    if (one.refused is None) != (other.refused is None):
        which = "the first" if one.refused is not None else "the second"
        words = (one.refused or "a prompt", other.refused or "a prompt")
        yield "refused", _TEMPLATE, f"{which} has none", *words
    elif one.ids is not None and other.ids is not None:
        if one.ids != other.ids:
            yield "tokens", _cause(one, other), _tokens_apart(one, other), *_around_ids(one, other)
    elif one.text is not None and other.text is not None and _without_opening(one, other):
        expected, found = (repr(part) for part in _around(one.text, other.text))
        yield "text", _TEMPLATE, f"{expected} and {found}", expected, found
    elif _differ(one.count, other.count):
        counts = (f"{one.count} tokens", f"{other.count} tokens")
        yield "count", _EITHER, " and ".join(counts), *counts


def _tokens_apart(one: Prompt, other: Prompt) -> str:
    """Say in a few words where tokens part: in the text's words, where the text does so too."""
    if one.text is not None and other.text is not None and one.text != other.text:
        return " and ".join(repr(part) for part in _around(one.text, other.text))
    counts = [len(prompt.ids or ()) for prompt in (one, other)]
    return f"{counts[0]} tokens and {counts[1]}, the first {_same(one.ids, other.ids)} alike"


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


def _same(one: Sequence[Any] | None, other: Sequence[Any] | None) -> int:
    """Return how much of the beginning of both is the same."""
    pairs = enumerate(zip(one or (), other or (), strict=False))
    shorter = min(len(one or ()), len(other or ()))
    return next((n for n, (a, b) in pairs if a != b), shorter)


def _around(one: str, other: str) -> tuple[str, str]:
    """Return both around the first place where they differ."""
    start = max(0, _same(one, other) - _NEAR)
    return one[start : start + _AFTER], other[start : start + _AFTER]


def _around_ids(one: Prompt, other: Prompt) -> tuple[str, str]:
    start = max(0, _same(one.ids, other.ids) - _NEAR)
    parts = [(prompt.ids or ())[start : start + _AFTER] for prompt in (one, other)]
    found = [f"{', '.join(map(str, p))} from token {start} on" if p else "none" for p in parts]
    return found[0], found[1]
