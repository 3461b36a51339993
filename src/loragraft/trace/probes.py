"""The conversations that every stage is asked, ours and the same for all models."""

from __future__ import annotations

from dataclasses import dataclass

from loragraft.engine.protocol import Message


@dataclass(frozen=True)
class Probe:
    """One conversation; the last turn is the user's.

    Attributes:
        name: What a report calls it.
        messages: Its turns.
        answered: Whether the stages also answer it, for a sample.
    """

    name: str
    messages: tuple[Message, ...]
    answered: bool = False

    @property
    def plain(self) -> str:
        """The turns' words alone, where there is no chat template to write them."""
        return "\n\n".join(message["content"] for message in self.messages)


def _turns(*contents: str, system: str | None = None) -> tuple[Message, ...]:
    before = [Message(role="system", content=system)] if system is not None else []
    roles = ("user", "assistant")
    said = [Message(role=roles[i % 2], content=text) for i, text in enumerate(contents)]
    return (*before, *said)


_CODE = "\n\n\tdef f(x):\n\t    return x**2  # squared\n"
_FIGURES = f"In 2024 it wasn't 3.14159 but 1,000,000!{_CODE}Why?"
_SCRIPTS = (
    "Übersetze „Schloß\u201c: Привет, мир! 你好,世界 — naïve façade; she'll say \"it's 100%\"."
)

PROBES: tuple[Probe, ...] = (
    Probe("one turn", _turns("What is the capital of France?"), answered=True),
    Probe(
        "system",
        _turns("Name three colours of the rainbow.", system="You are a brief assistant."),
        answered=True,
    ),
    Probe(
        "three turns",
        _turns("Hello, who are you?", "I am an assistant.", "Then tell me what a lighthouse is."),
    ),
    Probe(
        "system, three turns",
        _turns("Add 12 and 30.", "12 + 30 = 42.", "And 1999 + 2025?", system="Be brief."),
    ),
    Probe("figures and code", _turns(_FIGURES)),
    Probe("scripts", _turns(_SCRIPTS)),
)
"""Few, since every position costs a pass of every stage; together they show system turns, several
turns, and what pre-tokenizers cut differently: digits, contractions, runs of spaces, line breaks
and letters beyond ASCII."""
