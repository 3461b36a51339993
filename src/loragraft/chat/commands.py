"""Commands of a conversation: lines that begin with a slash."""

from __future__ import annotations

from typing import NamedTuple

COMMANDS = {
    "system": ("TEXT", "set the system message; alone it is shown, with - it is dropped"),
    "think": ("on|off|auto", "switch thinking, where the model's template knows it"),
    "reset": ("", "forget the conversation; the system message stays"),
    "undo": ("", "take back the last turn"),
    "retry": ("", "ask the last question again"),
    "sources": ("", "list the passages of the last answer, with --rag"),
    "open": ("N", "show a passage"),
    "save": ("FILE", "write the conversation as JSON lines into a new file"),
    "help": ("", "show this"),
    "exit": ("", "end; Ctrl-D does the same"),
}
"""Name to argument and meaning."""

ALIASES = {"quit": "exit", "bye": "exit", "?": "help", "clear": "reset"}

THINKING = {"on": True, "off": False, "auto": None}


class Command(NamedTuple):
    """A command that a person typed; the name may be one that does not exist."""

    name: str
    argument: str


def parse_command(line: str) -> Command | None:
    """Return the command of a line, or None where it is something said to the model.

    A line that begins with two slashes is said, without the first.
    """
    text = line.strip()
    if not text.startswith("/") or text.startswith("//") or "\n" in text:
        return None
    name, _, argument = text[1:].partition(" ")
    name = name.lower()
    return Command(ALIASES.get(name, name), argument.strip())


def said(line: str) -> str:
    """Return what a line that is no command says."""
    return line[1:] if line.startswith("//") else line


def help_text() -> str:
    """Return the list of commands."""
    rows = [(f"/{name} {argument}".strip(), words) for name, (argument, words) in COMMANDS.items()]
    width = max(len(left) for left, _ in rows)
    lines = [f"  {left:<{width}}  {words}" for left, words in rows]
    return "\n".join([
        *lines,
        '  """ begins and ends a text of several lines. Ctrl-C stops an answer.',
        "  A line that is to begin with a slash begins with two.",
    ])  # fmt: skip
