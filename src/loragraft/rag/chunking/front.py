"""What stands in front of a chunk when it is embedded: the title and the headings above it."""

from __future__ import annotations

from bisect import bisect_right

from loragraft.embedding.protocol import TextReader
from loragraft.rag.chunking.measure import CHARACTERS_PER_TOKEN, Measure
from loragraft.rag.records import Document

SHARE = 4
"""Title and headings take at most this part of the budget: the text itself must lead."""

_CUT_MARK = "…"


class Fronts:
    """Finds and measures what stands in front of a document's chunks."""

    def __init__(self, document: Document, embedder: TextReader, budget: int) -> None:
        """Prepare the path of headings at every place of a document."""
        self._document = document
        self._embedder = embedder
        self.limit = budget // SHARE
        self._starts, self._paths = _paths(document)
        self._short: dict[tuple[str, ...], tuple[tuple[str, ...], int]] = {}

    def at(self, start: int, header: str = "") -> tuple[str, ...]:
        """Return the lines in front of a chunk.

        Args:
            start: Where the chunk begins.
            header: Of the table in which it begins.
        """
        return self._fitted(start, header)[0]

    def tokens(self, start: int, header: str = "") -> int:
        """Return how many tokens these lines take."""
        return self._fitted(start, header)[1]

    def _fitted(self, start: int, header: str) -> tuple[tuple[str, ...], int]:
        number = bisect_right(self._starts, start)
        path = self._paths[number - 1]
        if self._wants_title(path, start):
            path = (self._document.title, *path)
        if header:
            path = (*path, header)
        if path not in self._short:
            self._short[path] = self._shortened(path)
        return self._short[path]

    def _wants_title(self, path: tuple[str, ...], start: int) -> bool:
        """Tell whether the title says something that neither path nor text says."""
        title = self._document.title
        if not title or title == self._document.doc_id or title in path:
            return False
        return (
            not self._document.text[start : start + len(title) + 8].lstrip("# ").startswith(title)
        )

    def _shortened(self, path: tuple[str, ...]) -> tuple[tuple[str, ...], int]:
        lines = list(path)
        while len(lines) > 2 and self._weight(lines) > self.limit:
            del lines[1]  # the title and what is nearest say the most
        if lines and self._weight(lines) > self.limit:
            lines = [self._cut(line, self.limit // len(lines)) for line in lines]
        return tuple(lines), self._count(lines)

    def _weight(self, lines: list[str]) -> int:
        return max(self._count(lines), sum(map(len, lines)) // CHARACTERS_PER_TOKEN)

    def _count(self, lines: list[str]) -> int:
        return self._embedder.count_tokens(["\n".join(lines) + "\n"])[0] if lines else 0

    def _cut(self, line: str, limit: int) -> str:
        measure = Measure(line, self._embedder)
        if measure.weight(0, len(line)) <= limit:
            return line
        kept = line[: measure.furthest(0, len(line), max(1, limit - 1))]
        whole = kept.rsplit(None, 1)[0] if " " in kept and not line[len(kept)].isspace() else kept
        return whole.rstrip() + _CUT_MARK


def _paths(document: Document) -> tuple[list[int], list[tuple[str, ...]]]:
    """Return where each heading's text begins, and the path of headings from there on."""
    starts: list[int] = [0]
    paths: list[tuple[str, ...]] = [()]
    above: list[tuple[int, str]] = []
    for heading in document.headings:
        while above and above[-1][0] >= heading.level:
            above.pop()
        line = heading.start if heading.line is None else heading.line
        for begin, more in ((line, []), (heading.start, [(heading.level, heading.text)])):
            above.extend(more)
            starts.append(max(begin, starts[-1]))
            paths.append(tuple(text for _, text in above if text))
    return starts, paths
