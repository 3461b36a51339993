"""What the papers of a field can say, read from ``fields/*.yaml``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from scripts.science.values import Range

FOLDER = Path(__file__).resolve().parent / "fields"
SECTIONS = ("Methods", "Results", "Discussion")
"""After abstract and introduction, which are written for each paper."""

NUMERIC: Final = "numeric"
ENTITY: Final = "entity"
METHOD: Final = "method"
YES_NO: Final = "yes_no"
COMPARISON: Final = "comparison"
KINDS = (NUMERIC, ENTITY, METHOD, YES_NO, COMPARISON)

_SLOT = re.compile(r"<(\w+)>")


class FieldError(ValueError):
    """A field's file says something that no paper can be written from."""


@dataclass(frozen=True)
class Fact:
    """One thing that a paper states in one sentence and that can be asked.

    Attributes:
        kind: One of :data:`KINDS`.
        key: Its name within the field.
        says: The sentence in several wordings, with slots such as ``<value>``.
        asks: The question in several wordings; for a comparison, those for the largest.
        least: For a comparison, the questions for the smallest.
        values: For a number or a comparison, what is measured.
        options: One for each paper: for an entity or a method the answer with its other spellings,
            for a comparison the names compared.
        states: For yes or no, what the sentence says and what a question would claim of it.
        bare: Whether a number without its unit is an answer however it is asked for.
    """

    kind: str
    key: str
    says: tuple[str, ...]
    asks: tuple[str, ...]
    least: tuple[str, ...] = ()
    values: Range | None = None
    options: tuple[tuple[tuple[str, ...], ...], ...] = ()
    states: tuple[tuple[str, str], ...] = ()
    bare: bool = False


Item = Fact | tuple[str, ...]
"""A fact, or a sentence in several wordings that nobody asks about."""


@dataclass(frozen=True)
class Subject:
    """What one paper is about; ``words`` fill its slots."""

    name: str
    place: str
    title: str
    abstract: str
    background: str
    aside: str
    closing: str

    @property
    def words(self) -> dict[str, str]:
        """Return what the slots stand for."""
        return {"it": self.name, "place": self.place}


@dataclass(frozen=True)
class Field:
    """A field of research: its papers, and what they can say."""

    name: str
    journal: str
    subjects: tuple[Subject, ...]
    sections: Mapping[str, tuple[tuple[Item, ...], ...]]

    def facts(self) -> Iterator[Fact]:
        """Yield all facts in the papers' order."""
        for paragraphs in self.sections.values():
            for paragraph in paragraphs:
                yield from (item for item in paragraph if isinstance(item, Fact))


def read_fields() -> list[Field]:
    """Return all fields in the order of their names.

    Raises:
        FieldError: Naming the file and what is wrong.
    """
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
            found.append(_field(path.stem, values))
        except (FieldError, KeyError, TypeError, ValueError) as error:
            raise FieldError(f"{path.name}: {type(error).__name__}: {error}") from error
    return found


def slots(text: str) -> set[str]:
    """Return the names of a text's slots."""
    return set(_SLOT.findall(text))


def filled(text: str, words: Mapping[str, str]) -> str:
    """Put words into a text's slots, choose between a and an, and begin with a capital."""
    text = _SLOT.sub(lambda found: words[found[1]], text)
    text = re.sub(r"\b([Aa])/an (?=(\S))", _article, text)
    return text[0].upper() + text[1:]


def _article(found: re.Match[str]) -> str:
    return found[1] + ("n " if found[2] in "aeioAEIO" else " ")


def _field(name: str, values: Mapping[str, Any]) -> Field:
    subjects = tuple(Subject(**subject) for subject in values["papers"])
    sections = {
        section: tuple(
            tuple(_item(item, len(subjects)) for item in paragraph)
            for paragraph in values[section.lower()]
        )
        for section in SECTIONS
    }
    field = Field(name, values["journal"], subjects, sections)
    keys = Counter(fact.key for fact in field.facts())
    if twice := [key for key, count in keys.items() if count > 1]:
        raise FieldError(f"two facts are called {twice}")
    return field


def _item(item: Any, papers: int) -> Item:  # noqa: ANN401
    if not isinstance(item, (str, Sequence)) and (not isinstance(item, Mapping) or len(item) == 1):
        raise FieldError(f"{item!r} is no sentence; does a colon in it need quotes?")
    if isinstance(item, str):
        return (item,)
    if isinstance(item, Sequence):
        return tuple(item)
    kind = next(iter(item))
    if kind not in KINDS:
        raise FieldError(f"{kind!r} is no kind of fact; there are {', '.join(KINDS)}")
    fact = Fact(
        kind,
        item[kind],
        tuple(item["says"]),
        tuple(item["most"] if kind == COMPARISON else item["asks"]),
        tuple(item.get("least", ())),
        _range(item),
        tuple(_option(option, kind) for option in item.get("options", ())),
        tuple((says, claim) for says, claim in item.get("states", ())),
        item.get("bare", False),
    )
    _check(fact, papers)
    return fact


def _range(item: Mapping[str, Any]) -> Range | None:
    if "range" not in item:
        return None
    low, high, *decimals = item["range"]
    units = item["unit"]
    return Range(
        low,
        high,
        decimals[0] if decimals else 0,
        tuple([units] if isinstance(units, str) else units),
    )


def _option(option: Any, kind: str) -> tuple[tuple[str, ...], ...]:  # noqa: ANN401
    """Return an option's parts, each with its spellings; all but comparisons have one part."""
    parts = option if kind == COMPARISON else [option]
    return tuple((part,) if isinstance(part, str) else tuple(part) for part in parts)


def _check(fact: Fact, papers: int) -> None:
    """Refuse a fact whose sentences and questions lack a slot, or that has too few options."""
    needed = {NUMERIC: {"value"}, ENTITY: {"what"}, METHOD: {"what"}, YES_NO: {"says"}}
    for text in (*fact.says, *fact.asks, *fact.least):
        if not isinstance(text, str):
            raise FieldError(f"{text!r} is no sentence; does a colon in it need quotes?")
    for text in fact.says:
        missing = needed.get(fact.kind, {"a", "b"}) - slots(text)
        if missing:
            raise FieldError(f"{fact.key}: {text!r} lacks {sorted(missing)}")
    for text in (*fact.asks, *fact.least):
        if not slots(text) & {"it", "place"}:
            raise FieldError(f"{fact.key}: {text!r} names no paper")
        if fact.kind == YES_NO and "claim" not in slots(text):
            raise FieldError(f"{fact.key}: {text!r} lacks <claim>")
    if fact.kind in (ENTITY, METHOD, COMPARISON) and len(fact.options) < papers:
        raise FieldError(f"{fact.key}: {len(fact.options)} options for {papers} papers")
    if fact.kind in (NUMERIC, COMPARISON) and fact.values is None:
        raise FieldError(f"{fact.key}: has no range")
