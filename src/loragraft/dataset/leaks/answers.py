"""Answers that stand in a question of another split, which asks about the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from loragraft.artifact.progress import Progress
from loragraft.dataset.leaks.book import Book, Found
from loragraft.dataset.leaks.columns import Columns, Frequencies
from loragraft.dataset.leaks.facts import bare
from loragraft.dataset.leaks.report import ANSWER
from loragraft.dataset.leaks.sides import question
from loragraft.dataset.leaks.words import STOP_WORDS, number_of, words

ABOUT_THE_SAME = 0.5
"""Of the weight of a question's words, how much the other question and its answer must hold. A rare
word weighs more: the logarithm of how rare it is (Sparck Jones's inverse document frequency). Of
4,000 questions of medicine with a subject heading as the answer, 871 had theirs in a question of
another split; 59 shared a fifth of the weight, 4 a half: only these were about the same.
"""
TELLING_WORDS = 5
"""An answer of so many words stands nowhere by chance, whatever else a question says."""
RARE = 3
"""Questions in which an answer's rarest word stands, up to which even a question about something
else is noted that holds it."""
COMMON_SHARE, COMMON_LEAST = 0.01, 200
"""An answer whose every word stands in more questions (in share and number) is a term of the field,
and is passed over."""

_ELSE = ", which is about something else"
_STOPPED = frozenset(number_of(word) for word in STOP_WORDS)


@dataclass
class _Answer:
    """An answer, and who gives it.

    Attributes:
        text: Without articles.
        words: Of the text.
        standing: In how many questions the rarest of them stands.
        records: Who gives it.
    """

    text: str
    words: list[str]
    standing: int = 0
    records: list[int] = field(default_factory=list)


def find_answers(columns: Columns, book: Book, progress: Progress) -> None:
    """Find answers in questions of other splits.

    A word alone gives nothing away: what an alloy is called stands in every question about it. So
    the question must also be about the same, by the words that it shares with the one that is
    answered. Where a question names its own answer (which of two?), others may too.
    """
    frequencies = columns.frequencies()
    anchors = _anchors(columns, frequencies)
    if not anchors:
        return
    best: dict[tuple[int, int], Found] = {}
    for split in range(len(columns.splits)):
        numbers = columns.of(split)
        progress.begin(
            f"Looking for answers in questions, {columns.splits[split]}", len(numbers), "questions"
        )
        for number, record, _ in columns.records(split):
            progress.advance(1)
            text = question(record, columns.shared)
            for answer in _standing(text, columns.words(number), anchors):
                for found in _given_away(columns, frequencies, answer, number):
                    _keep(columns, best, found)
        progress.end()
    for (first, split), found in best.items():
        if not book.is_marked(first, split):
            book.add(found)


def _anchors(columns: Columns, frequencies: Frequencies) -> dict[int, list[_Answer]]:
    """Return answers that say something by the rarest of their words."""
    answers: dict[str, _Answer] = {}
    for number, given in enumerate(columns.telling):
        for text in dict.fromkeys(given):
            answers.setdefault(text, _Answer(text, text.split())).records.append(number)
    common = max(COMMON_LEAST, COMMON_SHARE * len(columns.ids))
    anchors: dict[int, list[_Answer]] = {}
    for answer in answers.values():
        hashes = [number_of(word) for word in answer.words]
        count, anchor = min(zip(frequencies.of(hashes), hashes, strict=True))
        if 0 < count <= common:
            answer.standing = count
            anchors.setdefault(anchor, []).append(answer)
    return anchors


def _standing(
    text: str, hashes: Iterable[int], anchors: dict[int, list[_Answer]]
) -> Iterator[_Answer]:
    """Yield the answers that a question holds."""
    near = [anchors[word] for word in hashes if word in anchors]
    plain = f" {bare(words(text))} " if near else ""
    for answers in near:
        for answer in answers:
            if f" {answer.text} " in plain:
                yield answer


def _given_away(
    columns: Columns, frequencies: Frequencies, answer: _Answer, asking: int
) -> Iterator[Found]:
    """Yield the records whose answer a question of another split gives away."""
    split = columns.split_of(asking)
    told = frozenset(columns.words(asking)) | _answered(columns, asking)
    hashes = frozenset(number_of(word) for word in answer.words)
    for number in answer.records:
        if columns.split_of(number) == split:
            continue
        own = frozenset(columns.words(number))
        if hashes <= own:
            continue
        share = _share(frequencies, own - hashes - _STOPPED, told)
        same = share >= ABOUT_THE_SAME or len(answer.words) >= TELLING_WORDS
        if same or answer.standing <= RARE:
            found = _found(columns, answer, number, asking, share)
            yield found if same else found._replace(severity="note", why=f"{found.why}{_ELSE}")


def _answered(columns: Columns, number: int) -> frozenset[int]:
    """Return the words of a record's answers: it is trained on as a whole."""
    given = columns.answers[number] if columns.asks[number] else ()
    return frozenset(number_of(word) for text in given for word in text.split())


def _share(frequencies: Frequencies, own: frozenset[int], told: frozenset[int]) -> float:
    """Return how much of the weight of a question's words another question holds."""
    ordered = sorted(own)
    rarity = [math.log(1 + frequencies.total / max(count, 1)) for count in frequencies.of(ordered)]
    both = [weight for word, weight in zip(ordered, rarity, strict=True) if word in told]
    return math.fsum(both) / math.fsum(rarity) if rarity else 0.0


def _found(columns: Columns, answer: _Answer, number: int, asking: int, share: float) -> Found:
    """Say it of the record that is seen later, whichever of the two gives the answer."""
    text = answer.text if len(answer.text) <= 80 else f"{answer.text[:79]}…"
    if columns.split_of(number) > columns.split_of(asking):
        why = f"its answer {text!r} stands in the other question"
        return Found(ANSWER, "leak", number, asking, share, why)
    why = f"it holds the answer {text!r} of the other question"
    return Found(ANSWER, "leak", asking, number, share, why)


def _keep(columns: Columns, best: dict[tuple[int, int], Found], found: Found) -> None:
    """Keep the closest of what is found for a record in a split."""
    assert isinstance(found.second, int)
    place = found.first, columns.split_of(found.second)
    if place not in best or _order(columns, found) < _order(columns, best[place]):
        best[place] = found


def _order(columns: Columns, found: Found) -> tuple[bool, float, str, str]:
    assert isinstance(found.second, int)
    return found.severity != "leak", -round(found.score, 6), columns.ids[found.second], found.why
