"""How answers reach the reader: streamed, side by side, or as JSON records."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TextIO

from loragraft.chat.cleaning import clean, clean_json
from loragraft.chat.transcript import reply_record
from loragraft.engine.protocol import Reply
from loragraft.errors import LoragraftError

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

DIM, NORMAL = "\x1b[2m", "\x1b[0m"
REDRAW_SECONDS = 0.1
"""Between two drawings of the columns: each costs a millisecond or more of the models' time."""
Outcome = Reply | LoragraftError
ENDS = {
    "length": "cut at --max-tokens",
    "context": "cut at the end of the context: --context makes room",
    "cancelled": "stopped",
}


class Show(Protocol):
    """Shows the answers to one question, one model after the other."""

    def begin(self, name: str) -> None:
        """A model begins to answer."""

    def piece(self, text: str, thinking: bool) -> None:
        """A piece of its answer."""

    def end(self, name: str, outcome: Outcome) -> None:
        """Its whole answer, or what kept it from answering."""

    def close(self) -> None:
        """All have answered."""


def figures(reply: Reply) -> str:
    """Return an answer's figures in one line."""
    rate = reply.tokens_per_second
    parts = [f"{rate:.1f} tokens/s" if rate is not None else "", f"{reply.tokens} tokens",
             f"first after {reply.prompt_seconds:.2f} s",
             f"{reply.prompt_tokens} tokens read", ENDS.get(reply.finish, "")]  # fmt: skip
    return ", ".join(filter(None, parts))


class Notes:
    """Lines beside the answers, on stderr: dim in a terminal."""

    def __init__(self, out: TextIO) -> None:
        """Write to a stream."""
        self._out, self._colors = out, out.isatty()

    def write(self, text: str) -> None:
        """Write one note."""
        line = f"{DIM}{clean(text)}{NORMAL}" if self._colors else clean(text)
        self._out.write(line + "\n")
        self._out.flush()

    def error(self, error: LoragraftError) -> None:
        """Write what went wrong."""
        self._out.write(f"Error: {clean(str(error))}\n")
        self._out.flush()

    def figures(self, name: str, reply: Reply) -> None:
        """Write an answer's figures."""
        self.write(f"[{name}{': ' if name else ''}{figures(reply)}]")


class StreamShow:
    """Writes each piece as it comes; of several models, each under its name."""

    def __init__(self, out: TextIO, notes: Notes, *, names: bool, thinking: bool) -> None:
        """Write to a stream.

        Args:
            out: Where answers go.
            notes: Where figures and errors go.
            names: Whether to write whose answer it is.
            thinking: Whether to write what is thought before it.
        """
        self._out, self._notes = out, notes
        self._names, self._show_thinking = names, thinking
        self._colors = out.isatty()
        self._thought = self._written = False

    def begin(self, name: str) -> None:
        """Write the name, if several answer."""
        self._thought = self._written = False
        if self._names:
            self._out.write(f"{clean(name)}:\n")
            self._out.flush()

    def piece(self, text: str, thinking: bool) -> None:
        """Write a piece; thinking dim, and apart from the answer."""
        if thinking and not self._show_thinking:
            return
        if not thinking and self._thought:
            self._out.write("\n\n")
            self._thought = False
        text = clean(text)
        dim = thinking and self._colors
        self._out.write(f"{DIM}{text}{NORMAL}" if dim else text)
        self._out.flush()
        self._thought, self._written = thinking, True

    def end(self, name: str, outcome: Outcome) -> None:
        """End the line and write the figures."""
        if self._written or isinstance(outcome, Reply):
            self._out.write("\n")
        self._out.flush()
        if isinstance(outcome, LoragraftError):
            self._notes.error(outcome)
        else:
            self._notes.figures(clean(name) if self._names else "", outcome)

    def close(self) -> None:
        """Do nothing: all is written."""


class JsonShow:
    """Writes one JSON record a line for each answer."""

    def __init__(self, out: TextIO, notes: Notes) -> None:
        """Write to a stream."""
        self._out, self._notes = out, notes

    def begin(self, name: str) -> None:
        """Do nothing."""

    def piece(self, text: str, thinking: bool) -> None:
        """Do nothing: the whole answer comes at the end."""

    def end(self, name: str, outcome: Outcome) -> None:
        """Write the record."""
        if isinstance(outcome, LoragraftError):
            self._notes.error(outcome)
            return
        line = json.dumps(reply_record(name, outcome), ensure_ascii=False)
        self._out.write(clean_json(line) + "\n")
        self._out.flush()

    def close(self) -> None:
        """Do nothing: all is written."""


class ColumnsShow:
    """Shows answers side by side in a terminal, growing while they come."""

    def __init__(self, out: TextIO, notes: Notes, *, thinking: bool) -> None:
        """Show on a terminal; the arguments are :class:`StreamShow`'s."""
        self._out, self._notes, self._show_thinking = out, notes, thinking
        self._columns: list[tuple[str, list[tuple[str, bool]]]] = []
        self._ends: list[Callable[[], None]] = []
        self._live: Live | None = None
        self._drawn = 0.0

    def begin(self, name: str) -> None:
        """Add a column."""
        from rich.console import Console
        from rich.live import Live

        self._columns.append((clean(name), []))
        if self._live is None:
            self._live = Live(
                console=Console(file=self._out, highlight=False), transient=True,
                auto_refresh=False, vertical_overflow="crop",
            )  # fmt: skip
            self._live.start()

    def piece(self, text: str, thinking: bool) -> None:
        """Let the last column grow."""
        if thinking and not self._show_thinking:
            return
        self._columns[-1][1].append((clean(text), thinking))
        now = time.monotonic()
        if self._live is not None and now - self._drawn > REDRAW_SECONDS:
            self._live.update(self._table(), refresh=True)
            self._drawn = now

    def end(self, name: str, outcome: Outcome) -> None:
        """Keep figures and errors until the columns are complete."""
        if isinstance(outcome, LoragraftError):
            error = outcome
            self._ends.append(lambda: self._notes.error(error))
        else:
            reply = outcome
            self._ends.append(lambda: self._notes.figures(clean(name), reply))

    def close(self) -> None:
        """Print the whole table, which may be longer than the screen, and what was kept."""
        if self._live is None:
            return
        self._live.update("", refresh=True)
        self._live.stop()
        self._live.console.print(self._table())
        self._live = None
        for write in self._ends:
            write()
        self._columns, self._ends = [], []

    def _table(self) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, expand=True)
        cells = []
        for name, pieces in self._columns:
            table.add_column(Text(name), overflow="fold", ratio=1)
            cell = Text()
            for index, (text, thinking) in enumerate(pieces):
                parted = index > 0 and pieces[index - 1][1] and not thinking
                cell.append(("\n\n" if parted else "") + text, "dim" if thinking else "")
            cells.append(cell)
        table.add_row(*cells)
        return table
