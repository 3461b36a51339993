"""Conversations of sentinels: which orders of roles are tried, and the features of each place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

from loragraft.ollama.template.model import END, ROLES, THINK
from loragraft.ollama.template.probing import Prober, Reading

LONGEST = 4
"""Messages in the conversations of which every order of roles is tried. Ollama joins adjacent
messages of one role, so only orders without such are."""
LONGER = ("user assistant user assistant user", "user assistant user assistant user assistant")
SYSTEMS = ("none", "filled", "empty")


@dataclass(frozen=True)
class Word:
    """An order of roles, what the leading system message is, and what the request wishes."""

    roles: tuple[str, ...]
    system: str = "none"
    think: bool | None = None
    thinker: int | None = None
    """The message that comes with thoughts."""
    inline: bool = False
    """They stand in its content, as `<think>thoughts</think>words`."""

    def messages(self, prober: Prober, contents: Mapping[int, str] | None = None) -> list[Any]:
        """Return the conversation, with some contents other than sentinels."""
        found = [] if self.system == "none" else [{"role": "system", "content": ""}]
        if self.system == "filled":
            found[0]["content"] = prober.sentinels.system
        for number, role in enumerate(self.roles):
            content = (contents or {}).get(number, prober.sentinels.content(number))
            message = {"role": role, "content": content}
            if number == self.thinker and self.inline:
                message["content"] = f"<think>{prober.sentinels.reason(number)}</think>{content}"
            elif number == self.thinker:
                message["reasoning_content"] = prober.sentinels.reason(number)
            found.append(message)
        return found

    def read(self, prober: Prober, contents: Mapping[int, str] | None = None) -> Reading | None:
        """Return the gaps of its rendering; None where the template refuses or cannot be read."""
        text = prober.render(self.messages(prober, contents), self.think)
        return None if text is None else prober.sentinels.read(text, len(self.roles))

    def features(self, number: int, previous: str) -> dict[str, str]:
        """Return what the gap before a message, or the end, may depend on."""
        asked = [index for index, role in enumerate(self.roles) if role == "user"]
        query = asked[-1] if asked else -1
        return {
            "previous": previous,
            "system": self.system,
            "asked": _yes(bool(asked) and asked[0] < number),
            "place": "before" if number < query else "at" if number == query else "after",
            "last": _yes(number == len(self.roles) - 1),
            "reason": _yes(number == self.thinker),
            "think": THINK[self.think],
            "inside": _yes("system" in self.roles),
        }

    def following(self, number: int) -> str:
        """Return the role of a message, or end."""
        return self.roles[number] if number < len(self.roles) else END


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


def plain_words(thinks: Sequence[bool | None]) -> Iterator[Word]:
    """Yield every conversation that gaps are learned from, but for thoughts."""
    orders = [
        roles
        for length in range(LONGEST + 1)
        for roles in product(ROLES, repeat=length)
        if all(a != b for a, b in pairwise(roles)) and roles[:1] != ("system",)
    ]
    orders += [tuple(order.split()) for order in LONGER]
    for think, system, roles in product(thinks, SYSTEMS, orders):
        if roles or system != "none":
            yield Word(roles, system, think)


def thinking_words(thinks: Sequence[bool | None], inline: bool) -> Iterator[Word]:
    """Yield conversations in which one answer comes with thoughts."""
    orders = ("user assistant", "user assistant user", *LONGER)
    for think, system, order in product(thinks, SYSTEMS, orders):
        roles = tuple(order.split())
        for number, role in enumerate(roles):
            if role == "assistant":
                yield Word(roles, system, think, number, inline)
