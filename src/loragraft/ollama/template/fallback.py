"""Filling in what a chat template refuses, since Ollama sends it all the same.

Ollama cuts long conversations at the front and puts a SYSTEM before any, whatever the template.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from loragraft.ollama.template.model import END, START
from loragraft.ollama.template.probing import Gap, Slot

Sample: TypeAlias = "tuple[Mapping[str, str], Gap]"
Samples: TypeAlias = "dict[str, list[Sample]]"

JOINT = "\n\n"
"""Between a system message and the user's first words, where the template has no place for it."""


def fill(gaps: Samples, closing: Mapping[str, str]) -> tuple[Samples, frozenset[str]]:
    """Return samples of gaps in which every start is there, and what was not.

    Args:
        gaps: by what follows; without the texts that close the messages before.
        closing: those texts, by role.

    A refused system message goes before the first user's words, or makes a user's turn of its own.
    """
    filled = {following: list(found) for following, found in gaps.items()}
    unseen = {role for role in ("system", "assistant") if role not in filled}
    users = filled["user"]
    if not _with_system(users):
        unseen.add("start")
        for found in filled.values():  # later gaps are as they are without a system
            found += [
                ({**features, "system": "filled"}, gap)
                for features, gap in found
                if features["system"] == "none" and features["previous"] != START
            ]
        users += [
            ({**features, "system": "filled"}, _join(gap, (Slot.SYSTEM, JOINT)))
            for features, gap in _starts(users)
            if features["system"] == "none"
        ]
    for following in ("assistant", END):
        found = filled.get(following, [])
        body = _commonest([gap for features, gap in found if features["previous"] == "user"])
        if body is not None and not _starts(found):
            found += _without_user(users, closing.get("user", ""), body)
        if body is not None and not _with_system(found):
            found += [
                (features, _join(gap, (closing.get("user", ""),), body))
                for features, gap in _with_system(users)
            ]
    return filled, frozenset(unseen)


def _with_system(found: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in _starts(found) if sample[0]["system"] == "filled"]


def _starts(found: Sequence[Sample]) -> list[Sample]:
    return [(features, gap) for features, gap in found if features["previous"] == START]


def _without_user(users: Sequence[Sample], closing: str, body: Gap) -> list[Sample]:
    """Return the starts of conversations that no user and no system begins.

    What stands before the user's turn goes first. Where nothing does, as in Llama 2, whose BOS
    is part of the turn, an empty turn of the user's is put there.
    """
    middle = _commonest([gap for features, gap in users if features["previous"] != START])
    opening = middle[-1] if middle and isinstance(middle[-1], str) else ""
    found = []
    for features, gap in _starts(users):
        if features["system"] == "filled":
            continue
        last = gap[-1] if gap else ""
        if isinstance(last, str) and last.endswith(opening) and gap != (opening,):
            head = (*gap[:-1], last[: len(last) - len(opening)])
            found.append((features, _join(head, body)))
        else:
            found.append((features, _join(gap, (closing,), body)))
    return found


def _commonest(gaps: Sequence[Gap]) -> Gap | None:
    return Counter(gaps).most_common(1)[0][0] if gaps else None


def _join(*gaps: Gap) -> Gap:
    """Return gaps one after the other, adjacent texts as one."""
    joined: list[object] = []
    for piece in (piece for gap in gaps for piece in gap if piece != ""):
        if joined and isinstance(piece, str) and isinstance(joined[-1], str):
            joined[-1] += piece
        else:
            joined.append(piece)
    return tuple(joined)  # type: ignore[arg-type]
