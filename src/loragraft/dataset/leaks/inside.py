"""Questions, and the passages that answer them, inside texts that are trained on or retrieved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from loragraft.artifact.progress import Progress
from loragraft.dataset.leaks.book import LONGEST, Book, Found, cut
from loragraft.dataset.leaks.columns import Columns
from loragraft.dataset.leaks.hay import Piece
from loragraft.dataset.leaks.report import CORPUS, TRAINING_TEXT, Place
from loragraft.dataset.leaks.shingles import SHORT_QUESTION, WIDTH, Index, Inside, Needles
from loragraft.dataset.leaks.sides import digest, everything, questions
from loragraft.dataset.leaks.words import names, split, words
from loragraft.dataset.near.normalise import normalise

_AT_ONCE, _MOST_CHARACTERS = 256, 1_000_000
"""Texts that are searched at a time, and characters of them."""
_BEFORE = 60
"""Characters that a quotation shows in front of what was found."""


@dataclass
class Wanted:
    """Texts that are looked for, and whose they are.

    Attributes:
        needles: The texts.
        owners: Records of each.
        short: How many records ask too little to be looked for.
    """

    needles: Needles
    owners: list[list[int]] = field(default_factory=list)
    short: int = 0
    _known: dict[int, int | None] = field(default_factory=dict)

    def add(self, text: str, number: int) -> bool:
        """Take a text of a record; return whether it is long enough to be looked for."""
        plain = normalise(text)
        key = digest(plain)
        if key not in self._known:
            self._known[key] = self.needles.add(split(plain), names(text))
            if self._known[key] is not None:
                self.owners.append([])
        needle = self._known[key]
        if needle is None:
            return False
        if not self.owners[needle] or self.owners[needle][-1] != number:
            self.owners[needle].append(number)
        return True


class Best:
    """The best place of each text that was found, for each source."""

    def __init__(self) -> None:
        """Begin with none."""
        self._found: dict[tuple[int, str], tuple[float, str, Place]] = {}

    def keep(self, inside: Inside, piece: Piece, count: int) -> None:
        """Keep a place if it holds more of the text than those before, or has a smaller id."""
        key = inside.needle, piece.where
        if key not in self._found or (-inside.share, piece.id) < self._found[key][:2]:
            place = Place(piece.where, piece.id, cut(quoted(piece.text, inside.at / max(count, 1))))
            self._found[key] = (-inside.share, piece.id, place)

    def __iter__(self) -> Iterator[tuple[int, Place, float]]:
        """Yield text, place and share."""
        for (needle, _), (share, _, place) in sorted(self._found.items(), key=lambda item: item[0]):
            yield needle, place, -share


def wanted_questions(columns: Columns, progress: Progress) -> Wanted:
    """Return the questions of the splits that must not be known."""
    wanted = Wanted(Needles(SHORT_QUESTION))
    for split_ in columns.judged():
        progress.begin(
            f"Reading the questions of {columns.splits[split_]}",
            len(columns.of(split_)),
            "questions",
        )
        for number, record, _ in columns.records(split_):
            parts = [wanted.add(text, number) for text in questions(record, columns.shared)]
            wanted.short += not any(parts)
            progress.advance(1)
        progress.end()
    return wanted


def find_in_records(columns: Columns, book: Book, wanted: Wanted, progress: Progress) -> None:
    """Find questions inside other texts of records that are seen earlier: replies, contexts."""
    index = wanted.needles.index()
    last = max(columns.judged())
    for earlier in range(last):
        name = columns.splits[earlier]
        progress.begin(
            f"Looking for questions in the texts of {name}", len(columns.of(earlier)), "records"
        )
        best = Best()
        pieces = (
            Piece(name, record.id, "\n".join(everything(values)))
            for _, record, values in columns.records(earlier)
        )
        search(index, pieces, best, progress.advance)
        progress.end()
        for needle, place, share in best:
            for number in wanted.owners[needle]:
                if columns.split_of(number) > earlier and not book.is_marked(number, earlier):
                    why = f"stands in a text of {name}, inside of more"
                    book.add(Found(TRAINING_TEXT, "leak", number, place, share, why))


def add_places(book: Book, wanted: Wanted, best: Best, kind: str) -> None:
    """Enter texts that were found in files or in a corpus."""
    why = {
        CORPUS: "a document of the corpus holds the question, and its answer perhaps beside it",
        TRAINING_TEXT: "a training text holds the question",
    }.get(kind, "a training text holds the passage that answers the question")
    for needle, place, share in best:
        for number in wanted.owners[needle]:
            book.add(Found(kind, "leak", number, place, share, why))


def search(
    index: Index,
    pieces: Iterable[Piece],
    best: Best,
    on_done: Callable[[int], object] | None = None,
) -> None:
    """Look through texts, many at a time."""
    waiting: list[tuple[Piece, list[str]]] = []
    size = 0

    def look() -> None:
        nonlocal size
        for inside in index.search([found for _, found in waiting]):
            piece, found = waiting[inside.hay]
            best.keep(inside, piece, len(found))
        if on_done is not None:
            on_done(len(waiting))
        waiting.clear()
        size = 0

    for piece in pieces:
        waiting.append((piece, words(piece.text)))
        size += len(piece.text)
        if len(waiting) == _AT_ONCE or size > _MOST_CHARACTERS:
            look()
    look()


def quoted(text: str, part: float) -> str:
    """Return a text from about that part of it on."""
    first = max(int(len(text) * part) - _BEFORE, 0)
    return f"…{text[first : first + LONGEST]}" if first and len(text) > LONGEST else text


SHORT = f"shorter than {WIDTH} words"
"""Why a question is not looked for."""
