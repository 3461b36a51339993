"""Learning whether a chat template gathers system messages of any place at the start."""

from __future__ import annotations

from loragraft.ollama.template.model import Gathered
from loragraft.ollama.template.probing import Prober

_ORDERS = ("user system user", "user assistant system user", "user assistant user system")


def learn_gathered(prober: Prober) -> Gathered | None:
    """Return how a template gathers system messages; None if it leaves them where they are."""
    for order in _ORDERS:
        messages = _messages(prober, order)
        systems = [message for message in messages if message["role"] == "system"]
        others = [message for message in messages if message["role"] != "system"]
        text = prober.render(messages)
        if text is None or text != prober.render([*systems, *others]):
            return None
    return _several(prober)


def _several(prober: Prober) -> Gathered | None:
    """Return what becomes of two system messages."""
    text = prober.render(_messages(prober, "system user system user")) or ""
    first, second = prober.sentinels.content(0), prober.sentinels.content(2)
    before, found, after = text.partition(first)
    if second not in text:
        return Gathered("first") if found else None
    if not found:
        return Gathered("last")
    joint = after.partition(second)[0]
    return None if prober.sentinels.content(1) in before + joint else Gathered("all", joint)


def _messages(prober: Prober, order: str) -> list[dict[str, str]]:
    return [
        {"role": role, "content": prober.sentinels.content(number)}
        for number, role in enumerate(order.split())
    ]
