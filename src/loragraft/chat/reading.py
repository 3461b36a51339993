"""Lines from a terminal, with editing and history where the system has it."""

from __future__ import annotations

import sys

from loragraft.chat.talk import ReadLine


def line_reader() -> ReadLine:
    """Return what reads a line; with readline's editing where both ends are a terminal.

    The history lives as long as the conversation: what people ask is not written to a disk.
    """
    if sys.stdin.isatty() and sys.stdout.isatty():
        try:
            import readline
        except ImportError:  # Windows, some minimal builds
            return input
        readline.set_auto_history(True)
        return input
    return _read_plain


def _read_plain(prompt: str) -> str:
    """Read a line where stdout goes elsewhere: the prompt must not be among the answers."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.removesuffix("\n")
