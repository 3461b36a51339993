"""Plain text with structure that a chunker and a reader both see, written block by block."""

from __future__ import annotations

import re

from loragraft.rag.corpus.extracted import tidy, tidy_line
from loragraft.rag.records import Heading

_BACKTICKS = re.compile("`{3,}")


class TextWriter:
    """Collects blocks; positions are counted as they are written."""

    def __init__(self, most_headings: int) -> None:
        """Start with nothing."""
        self._parts: list[str] = []
        self._length = 0
        self._most = most_headings
        self.headings: list[Heading] = []

    def _write(self, text: str, separator: str) -> int:
        """Write text after a separator; return where it begins."""
        if self._length:
            self._parts.append(separator)
            self._length += len(separator)
        begin = self._length
        self._parts.append(text)
        self._length += len(text)
        return begin

    def block(self, text: str, *, close: bool = False) -> None:
        """Write a paragraph.

        Args:
            text: With line breaks where they mean something.
            close: Whether it belongs to the line above (an item of a list, a definition).
        """
        lines = [line.rstrip() for line in tidy(text).strip("\n").split("\n")]
        if any(lines):
            self._write("\n".join(lines), "\n" if close else "\n\n")

    def heading(self, level: int, text: str) -> None:
        """Write a heading."""
        line = tidy_line(text)
        if not line:
            return
        begin = self._write(f"{'#' * level} {line}", "\n\n")
        if len(self.headings) < self._most:
            self.headings.append(Heading(level, line, self._length, begin))

    def code(self, text: str) -> None:
        """Write a block of code between fences that it does not hold."""
        text = tidy(text).strip("\n")
        if not text.strip():
            return
        longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
        fence = "`" * max(3, longest + 1)
        self._write(f"{fence}\n{text}\n{fence}", "\n\n")

    def table(self, rows: list[list[str]], *, header: bool) -> None:
        """Write a table, one row a line."""
        lines = []
        for number, row in enumerate(rows):
            cells = [tidy_line(cell).replace("|", "\\|") for cell in row]
            if not any(cells):
                continue
            lines.append(f"| {' | '.join(cells)} |")
            if header and number == 0:
                lines.append("|" + "---|" * len(cells))
        if lines:
            self._write("\n".join(lines), "\n\n")

    @property
    def text(self) -> str:
        """All that was written."""
        return "".join(self._parts)

    def ends_with(self, mark: str) -> bool:
        """Tell whether the last block ends with a mark."""
        return bool(self._parts) and self._parts[-1].endswith(mark)
