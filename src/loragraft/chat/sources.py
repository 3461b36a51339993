"""The commands /sources and /open: which passages an answer rests on, and what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from loragraft.chat.cited import CitedSession, place
from loragraft.chat.session import Session
from loragraft.errors import InputError
from loragraft.rag.answering.answer import CitedReply
from loragraft.rag.answering.numbering import label

_NUMBER = re.compile(r"\[?\s*P?\s*(\d{1,6})\s*\]?", re.IGNORECASE)


def sources_text(sessions: Sequence[Session]) -> str:
    """Return the passages of the last answer, what it cites marked; of several, each model's.

    Raises:
        InputError: If there is no index, or nothing was asked yet.
    """
    cited = _cited_sessions(sessions)
    replies = [(one.name, one.turns[-1].reply) for one in cited if one.turns]
    if not replies:
        raise InputError("Nothing was asked yet, so there are no sources.")
    lines: list[str] = []
    for name, reply in replies:
        if isinstance(reply, CitedReply):
            lines += [f"{name}:"] if len(replies) > 1 else []
            lines += _lines(reply)
    return "\n".join(lines) or "The last answer was given without passages."


def _lines(reply: CitedReply) -> Iterator[str]:
    cited = frozenset(reply.cited)
    shown = sorted(reply.shown, key=lambda one: one.number)
    width = max((len(one.label) for one in shown), default=0)
    for one in shown:
        mark = "*" if one.number in cited else " "
        yield f"{mark} {one.label:<{width}}  {one.passage.score:.3f}  {place(one.passage)}"
    for number in reply.cited:
        if number not in {one.number for one in shown}:
            yield f"* {label(number)}, shown for an earlier question"
    for passage in reply.dropped:
        yield f"  no room: {place(passage)}"
    if not shown:
        yield "  Nothing was found."
    else:
        yield "  * cited. /open N shows a passage."


def open_text(sessions: Sequence[Session], argument: str) -> str:
    """Return a passage with its source, as the document has it.

    Args:
        sessions: Those of the conversation; their numbers are the same.
        argument: Its number, also as an answer cites it: 3, P3, [P3].

    Raises:
        InputError: If there is no index, or no such passage was shown.
    """
    numbers = _cited_sessions(sessions)[0].sources.numbers
    found = _NUMBER.fullmatch(argument.strip())
    if found is None:
        raise InputError("Name a passage by its number: /open 3. /sources lists them.")
    passage = numbers.find(int(found[1]))
    if passage is None:
        known = f"up to {label(max(numbers.known))}" if numbers.known else "none yet"
        raise InputError(
            f"No passage {label(int(found[1]))} was shown; there are {known}. /sources lists "
            "those of the last answer."
        )
    return f"[{label(int(found[1]))}] {place(passage)}\n\n{passage.chunk.text}"


def _cited_sessions(sessions: Sequence[Session]) -> list[CitedSession]:
    found = [session for session in sessions if isinstance(session, CitedSession)]
    if not found:
        raise InputError(
            "This conversation has no index, so nothing has sources. Begin one with: loragraft "
            "chat TARGET --rag INDEX"
        )
    return found
