"""A paper as text, and where in it each fact stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from scripts.science.choose import Choice
from scripts.science.fields import SECTIONS, Fact, Field, Subject, filled
from scripts.science.stating import Statement, state

LEFT_OUT = 12
"""One in so many facts that nobody asks about, and sentences without a fact, is left out."""

FIRST_YEAR, YEARS = 2031, 9


@dataclass(frozen=True)
class Paper:
    """A paper.

    Attributes:
        paper_id: Its name in the collection.
        field: What it belongs to.
        number: Its place among the papers of its field.
        title: Its title.
        text: Its sections, each with its heading in a line of its own.
        year: When it came out.
        statements: What it states, by the facts' keys.
        spans: Where in the text each statement's sentence stands.
    """

    paper_id: str
    field: Field
    number: int
    title: str
    text: str
    year: int
    statements: Mapping[str, Statement]
    spans: Mapping[str, tuple[int, int]]

    @property
    def subject(self) -> Subject:
        """Return what it is about."""
        return self.field.subjects[self.number]

    def record(self) -> dict[str, object]:
        """Return the paper as a corpus record."""
        about = {"field": self.field.name, "journal": self.field.journal, "year": self.year}
        return {
            "doc_id": self.paper_id,
            "title": self.title,
            "text": self.text,
            "metadata": about,
        }


def write_paper(field: Field, number: int, asked: frozenset[str], choice: Choice) -> Paper:
    """Write one paper.

    Args:
        field: What it belongs to.
        number: Its place among the field's papers.
        asked: Keys of the facts that are asked about; these are always told.
        choice: The place of this paper.
    """
    subject = field.subjects[number]
    other = (number + 1 + choice.at("kin").below(len(field.subjects) - 1)) % len(field.subjects)
    words = {**subject.words, "kin": field.subjects[other].name}
    writer = _Writer()
    for text in ("Abstract", subject.abstract, "Introduction", subject.background):
        writer.paragraph(text)
    statements: dict[str, Statement] = {}
    for section in SECTIONS:
        writer.paragraph(section)
        for place, paragraph in enumerate(field.sections[section]):
            writer.open()
            for line, item in enumerate(paragraph):
                here = choice.at(section, place, line)
                told = isinstance(item, Fact) and item.key in asked
                if not told and not here.at("told").below(LEFT_OUT):
                    continue
                if isinstance(item, Fact):
                    made = state(item, words, number, line, here)
                    statements[item.key] = made
                    writer.sentence(made.sentence, item.key)
                else:
                    writer.sentence(filled(item[(number + line) % len(item)], words))
    writer.paragraph(subject.aside)
    writer.paragraph(subject.closing)
    text, spans = writer.done()
    year = FIRST_YEAR + choice.at("year").below(YEARS)
    name = f"{field.name}-{slug(subject.name)}"
    return Paper(name, field, number, subject.title, text, year, statements, spans)


def slug(name: str) -> str:
    """Return a name as part of an identifier."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower().removeprefix("the ").replace("'", ""))


class _Writer:
    """Puts sentences one after another and notes where they stand."""

    def __init__(self) -> None:
        self._text = ""
        self._gap = ""
        self._spans: dict[str, tuple[int, int]] = {}

    def paragraph(self, text: str) -> None:
        """Write a paragraph of its own, as one line."""
        self.open()
        self.sentence(" ".join(text.split()))
        self.open()

    def open(self) -> None:
        """Begin a paragraph with the next sentence."""
        self._gap = "\n\n" if self._text else ""

    def sentence(self, text: str, key: str | None = None) -> None:
        """Write a sentence; a fact's key notes where it stands."""
        self._text += self._gap
        start = len(self._text)
        self._text += text
        self._gap = " "
        if key is not None:
            self._spans[key] = (start, len(self._text))

    def done(self) -> tuple[str, dict[str, tuple[int, int]]]:
        """Return the text, and the spans by key."""
        return self._text, self._spans
