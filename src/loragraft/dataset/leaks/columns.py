"""The records of all splits as columns: numbers and digests; texts stay in their files."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.artifact.jsonl import read_jsonl
from loragraft.artifact.progress import Progress
from loragraft.dataset.leaks import sides
from loragraft.dataset.leaks.facts import telling
from loragraft.dataset.leaks.words import drawn_by, names, number_of, numbers, split, words
from loragraft.dataset.near.normalise import normalise
from loragraft.dataset.records import Qa, TaskRecord, answered, parse_record
from loragraft.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_WORDS = 256
"""Different words of a question that are kept. Of a longer one the same 256 are drawn by their
hashes, so that two long texts are still compared by what they share (Broder's bottom-k sketch)."""
MOST_ANSWERS = 16
"""Accepted answers of a record that are kept, and words of each."""
LONGEST_ANSWER = 2_000
"""Characters in which these words are looked for."""
_BEHIND = ("train", "training")
_BEFORE = ("val", "valid", "validation", "dev")


@dataclass
class Columns:
    """Records of all splits, one split after the other.

    Attributes:
        splits: Names, what is trained on first.
        paths: Their files.
        bounds: Where each split's records begin, and the end of the last.
        ids: Of the records.
        starts: Where a record's line begins in its file.
        exact: Digest of the question.
        plain: Digest of the question without case and punctuation.
        whole: Digest of the question and, where one answer is true, of the answers.
        turned: For a pair, digest of both sides in alphabetical order; else 0.
        lengths: How many different words the question has.
        drawn: Hashes of these words, :data:`MOST_WORDS` of each question, all in a row.
        places: Where each question's begin in ``drawn``, and the end of the last.
        names: Hashes of what the question names.
        answers: Normalised.
        numbers: Hashes of the numbers in it.
        telling: Of the answers, those that belong to few questions.
        asks: Whether a record has one true answer (``qa``).
        evidence: Passages that the answer stands in, as the record names them.
    """

    splits: tuple[str, ...]
    paths: tuple[Path, ...]
    shared: frozenset[int] = frozenset()
    bounds: list[int] = field(default_factory=lambda: [0])
    ids: list[str] = field(default_factory=list)
    starts: array[int] = field(default_factory=lambda: array("Q"))
    exact: array[int] = field(default_factory=lambda: array("Q"))
    plain: array[int] = field(default_factory=lambda: array("Q"))
    whole: array[int] = field(default_factory=lambda: array("Q"))
    turned: array[int] = field(default_factory=lambda: array("Q"))
    lengths: array[int] = field(default_factory=lambda: array("I"))
    drawn: array[int] = field(default_factory=lambda: array("I"))
    places: array[int] = field(default_factory=lambda: array("Q", [0]))
    names: list[frozenset[int]] = field(default_factory=list)
    answers: list[tuple[str, ...]] = field(default_factory=list)
    numbers: list[frozenset[int]] = field(default_factory=list)
    telling: list[tuple[str, ...]] = field(default_factory=list)
    asks: bytearray = field(default_factory=bytearray)
    evidence: list[tuple[str, ...]] = field(default_factory=list)

    def of(self, split: int) -> range:
        """Return the numbers of a split's records."""
        return range(self.bounds[split], self.bounds[split + 1])

    def split_of(self, number: int) -> int:
        """Return which split a record belongs to."""
        return next(s for s, stop in enumerate(self.bounds[1:]) if number < stop)

    def words(self, number: int) -> array[int]:
        """Return hashes of a question's words."""
        return self.drawn[self.places[number] : self.places[number + 1]]

    def key(self, number: int) -> tuple[int, str]:
        """Return what orders records whatever the order of their lines."""
        return self.split_of(number), self.ids[number]

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Yield every two splits, the one that is trained on first."""
        for later in range(len(self.splits)):
            for earlier in range(later):
                yield earlier, later

    def judged(self) -> list[int]:
        """Return the splits whose records must not be known: all but the training split."""
        own = [s for s, name in enumerate(self.splits) if name.lower() not in _BEHIND]
        return own or list(range(len(self.splits)))

    def records(self, split: int) -> Iterator[tuple[int, TaskRecord, dict[str, Any]]]:
        """Yield a split's records again, with their numbers and values.

        Raises:
            InputError: If the file is not as it was.
        """
        own = self.of(split)
        path = self.paths[split]
        found = _records(path)
        for number in own:
            start, record, values = next(found, (-1, None, {}))
            if record is None or self.starts[number] != start or self.ids[number] != record.id:
                raise InputError(f"{path} was changed while it was read. Run the command again.")
            yield number, record, values

    def record(self, number: int) -> TaskRecord:
        """Read one record.

        Raises:
            InputError: If the file is not as it was.
        """
        path = self.paths[self.split_of(number)]
        for _, record, _ in _records(path, self.starts[number]):
            if record.id == self.ids[number]:
                return record
            break
        raise InputError(f"{path} was changed while it was read. Run the command again.")

    def question(self, number: int) -> str:
        """Read what a record asks."""
        return sides.question(self.record(number), self.shared)

    def frequencies(self) -> Frequencies:
        """Count in how many questions each word stands."""
        import numpy as np

        found, counts = np.unique(np.array(self.drawn, np.uint32), return_counts=True)
        return Frequencies(found, counts, max(len(self.ids), 1))


@dataclass(frozen=True)
class Frequencies:
    """In how many questions each word stands."""

    words: NDArray[np.uint32]
    counts: NDArray[np.int64]
    total: int

    def of(self, words: Sequence[int]) -> list[int]:
        """Return in how many questions words stand; those that stand in none too."""
        import numpy as np

        if not len(self.words):
            return [0] * len(words)
        asked = np.array(words, np.uint32)
        places = np.minimum(np.searchsorted(self.words, asked), len(self.words) - 1)
        counts: list[int] = np.where(self.words[places] == asked, self.counts[places], 0).tolist()
        return counts


def ordered(splits: Mapping[str, Path]) -> list[tuple[str, Path]]:
    """Return splits in the order in which they are seen: training, validation, others."""

    def rank(item: tuple[str, Path]) -> tuple[int, str]:
        name = item[0].lower()
        return (0 if name in _BEHIND else 1 if name in _BEFORE else 2), item[0]

    return sorted(splits.items(), key=rank)


def read_columns(splits: Mapping[str, Path], progress: Progress) -> Columns:
    """Read the splits.

    Raises:
        InputError: If a file or a record is broken, or holds none; names file and line.
    """
    pairs = ordered(splits)
    names_, paths = tuple(n for n, _ in pairs), tuple(Path(p) for _, p in pairs)
    shared = sides.SharedTexts()
    columns = _filled(Columns(names_, paths), progress, shared)
    if not columns.ids:
        raise InputError(
            f"{', '.join(map(str, paths))} hold no records; expected one JSON object a line."
        )
    found = shared.found()
    # Only now is known what the fields of all records share: read such records again without.
    return _filled(Columns(names_, paths, found), progress) if found else columns


def _filled(
    columns: Columns, progress: Progress, shared: sides.SharedTexts | None = None
) -> Columns:
    for name, path in zip(columns.splits, columns.paths, strict=True):
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is no regular file; its records are read several times.")
        size = path.stat().st_size if path.exists() else 0
        progress.begin(f"Reading {name}", size)
        position, seen = 0, set[str]()
        for start, record, _ in _records(path):
            progress.advance(start - position)
            position = start
            if record.id in seen:
                raise InputError(
                    f"{path} holds the id {record.id!r} twice; give each record an id of its own."
                )
            seen.add(record.id)
            _add(columns, start, record)
            if shared is not None:
                shared.add(record)
        columns.bounds.append(len(columns.ids))
        progress.end()
    asked = zip(columns.answers, columns.asks, strict=True)
    columns.telling = telling([own if asks else () for own, asks in asked])
    return columns


def _records(path: Path, start: int = 0) -> Iterator[tuple[int, TaskRecord, dict[str, Any]]]:
    for line in read_jsonl(path, start=start):
        try:
            record = parse_record(line.values)
        except InputError as error:
            raise InputError(f"{path}, line {line.number}: {error}") from None
        yield line.start, record, line.values


def _add(columns: Columns, start: int, record: TaskRecord) -> None:
    text = sides.question(record, columns.shared)
    plain = normalise(text)
    columns.ids.append(record.id)
    columns.starts.append(start)
    columns.exact.append(sides.digest(text))
    columns.plain.append(sides.digest(plain))
    other = sides.turned(record)
    both = "\0".join(sorted((plain, normalise(other)))) if other is not None else ""
    columns.turned.append(sides.digest(both) if both else 0)
    own = set(split(plain))
    _add_words(columns, own)
    columns.names.append(names(text))
    columns.numbers.append(numbers(own))
    columns.asks.append(isinstance(record, Qa))
    given = (
        " ".join(words(text[:LONGEST_ANSWER])[:MOST_ANSWERS])
        for text in answered(record)[:MOST_ANSWERS]
    )
    answers = tuple(dict.fromkeys(a for a in given if a))
    columns.answers.append(answers)
    columns.whole.append(sides.digest("\0".join((text, *answers)) if columns.asks[-1] else text))
    columns.evidence.append(tuple(record.evidence) if isinstance(record, Qa) else ())


def _add_words(columns: Columns, words_: Iterable[str]) -> None:
    found = sorted({number_of(word) for word in words_}, key=drawn_by)
    columns.lengths.append(len(found))
    columns.drawn.extend(found[:MOST_WORDS])
    columns.places.append(len(columns.drawn))
