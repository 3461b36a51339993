"""Learning what a chat template cuts off the ends of contents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from loragraft.ollama.template.model import ALL, FEATURES, START, Trim
from loragraft.ollama.template.probing import Prober
from loragraft.ollama.template.tree import Tree, grow
from loragraft.ollama.template.words import Word

SPACES = (" \n", "\n ", "\t\r\n", "\u3000\xa0", "\n\n")
"""White space put around contents: enough to tell the ways of trimming apart."""
KINDS = ("", ALL, "\n", " ", " \n", " \t\n\r")
ORDERS = (
    "user",
    "user assistant",
    "user assistant user",
    "user assistant user assistant user",
    "user system user",
    "user system assistant",
    "user assistant system user",
)


def learn_trims(prober: Prober) -> tuple[dict[str, Tree[str]], dict[str, Tree[str]]]:
    """Return by role what is cut off the left and the right of messages' words."""
    samples: dict[str, list[tuple[Mapping[str, str], Trim]]] = {}
    for order in ORDERS:
        for word in (Word(tuple(order.split())), Word(tuple(order.split()), "filled")):
            for role, features, trim in _of_word(prober, word):
                samples.setdefault(role, []).append((features, trim))
    return (
        {
            role: grow([(features, trim.left) for features, trim in found], FEATURES)
            for role, found in samples.items()
        },
        {
            role: grow([(features, trim.right) for features, trim in found], FEATURES)
            for role, found in samples.items()
        },
    )


def _of_word(prober: Prober, word: Word) -> Iterator[tuple[str, Mapping[str, str], Trim]]:
    if word.read(prober) is None:
        return
    for number, role in enumerate(word.roles):
        sentinel = prober.sentinels.content(number)

        def render(left: str, right: str, number: int = number, sentinel: str = sentinel) -> str:
            contents = {number: f"{left}{sentinel}{right}"}
            return prober.render(word.messages(prober, contents), word.think) or ""

        trim = trim_around(render, sentinel)
        if trim is not None:
            yield role, word.features(number, word.roles[number - 1] if number else START), trim


def learn_system_trim(prober: Prober) -> Trim:
    """Return how the leading system message is trimmed."""
    sentinel = prober.sentinels.system
    for order in ("user", "user assistant user"):
        word = Word(tuple(order.split()), "filled")

        def render(left: str, right: str, word: Word = word) -> str:
            messages = word.messages(prober)
            messages[0]["content"] = f"{left}{sentinel}{right}"
            return prober.render(messages, word.think) or ""

        trim = trim_around(render, sentinel)
        if trim is not None:
            return trim
    return Trim()


def trim_around(
    render: Callable[[str, str], str], sentinel: str, *, right: bool = True
) -> Trim | None:
    """Return what is cut off white space around a sentinel; None if it is no way known here.

    Args:
        render: gives the text for white space before and after the sentinel.
        sentinel: what stands there, once.
        right: False where there is none after it.
    """
    plain = render("", "")
    if plain.count(sentinel) != 1:
        return None
    before, after = plain.split(sentinel)
    lefts, rights = [], []
    for space in SPACES:
        head, found, tail = render(space, space).partition(sentinel)
        if not (found and head.startswith(before) and tail.endswith(after)):
            return None
        lefts.append(head[len(before) :])
        rights.append(tail[: len(tail) - len(after)] if right else space)
    kinds = [kind for kind in KINDS if lefts == [Trim(left=kind)(space) for space in SPACES]]
    others = [kind for kind in KINDS if rights == [Trim(right=kind)(space) for space in SPACES]]
    return Trim(kinds[0], others[0]) if kinds and others else None
