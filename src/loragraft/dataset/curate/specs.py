"""The rules that a rules file may list: one frozen model each, told apart by ``kind``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from loragraft.embedding.spec import DEFAULT_EMBEDDER
from loragraft.settings import FilePath, NameOrPath, Settings


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _check_path(path: str) -> str:
    if not path.strip() or path != path.strip():
        raise ValueError("a field is a dotted path such as post.text")
    return path


def _check_words(text: str) -> str:
    if not any(character.isalnum() for character in text):
        raise ValueError("a word or phrase needs a letter or a digit")
    return text


def _no_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


Number = Annotated[float, BeforeValidator(_no_truth)]
"""``true`` would count as 1."""
Count = Annotated[int, BeforeValidator(_no_truth)]
FieldPath = Annotated[str, AfterValidator(_check_path)]
FieldPaths = Annotated[tuple[FieldPath, ...], BeforeValidator(_as_list), Field(min_length=1)]
Name = Annotated[str, Field(min_length=1)]
Words = Annotated[tuple[Annotated[str, AfterValidator(_check_words)], ...], Field(min_length=1)]
Share = Annotated[Number, Field(ge=0, le=1)]
Plain = str | int | float | bool


class RuleSpec(Settings):
    """What every rule has.

    Attributes:
        name: What the report calls it; the kind, where nothing is said.
        missing: Whether a row that lacks the field is dropped (under "missing field") or passes.
        only: Fields and the values with which a row is judged at all.
    """

    kind: str
    name: str = ""
    missing: Literal["drop", "keep"] = "drop"
    only: dict[FieldPath, Annotated[tuple[Plain, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )

    @property
    def title(self) -> str:
        """The name, or the kind."""
        return self.name or self.kind.replace("_", " ")

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that the rule reads, to be shown beside what it measured."""
        return ()


class _OfFields(RuleSpec):
    field: FieldPaths

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that the rule reads."""
        return self.field


class _Between(_OfFields):
    """Needs an end at least."""

    min: Number | None = None
    max: Number | None = None

    @model_validator(mode="after")
    def _check_ends(self) -> _Between:
        if self.min is None and self.max is None:
            raise ValueError("needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is larger than max {self.max:g}")
        return self


class Length(_Between):
    """Characters of a text, or words, blanks around it apart."""

    kind: Literal["length"]
    unit: Literal["characters", "words"] = "characters"


class Range(_Between):
    """A number; one that is spelled ("1,234", "1.2K") is read."""

    kind: Literal["range"]


class Items(_Between):
    """How many items a list holds; a text is a list of one."""

    kind: Literal["items"]


class UniqueWords(_OfFields):
    """How many different words a text has; links, mentions and numbers are none."""

    kind: Literal["unique_words"]
    min: Annotated[Count, Field(ge=1)]


class GenericPhrases(_OfFields):
    """The share of a text's words that stand in phrases which say nothing."""

    kind: Literal["generic_phrases"]
    phrases: Words
    below: Annotated[Number, Field(gt=0, le=1)] = 0.5


class Keywords(_OfFields):
    """Words and phrases that mark what nobody wants; ``airdrop*`` takes every ending."""

    kind: Literal["keywords"]
    words: Words
    max: Annotated[Count, Field(ge=0)] = 0


class Urls(_OfFields):
    """How many links a text holds."""

    kind: Literal["urls"]
    max: Annotated[Count, Field(ge=0)] = 0


class Flag(_OfFields):
    """Something that is so or not; a list counts as whether it holds anything."""

    kind: Literal["flag"]
    value: bool


class OneOf(_OfFields):
    """A name or number out of a list."""

    kind: Literal["one_of"]
    values: Annotated[tuple[Plain, ...], Field(min_length=1)]


class TimeBetween(RuleSpec):
    """Seconds from one time to another."""

    kind: Literal["time_between"]
    start: FieldPath
    stop: FieldPath
    min_seconds: Number | None = None
    max_seconds: Number | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that the rule reads."""
        return (self.start, self.stop)

    @model_validator(mode="after")
    def _check_ends(self) -> TimeBetween:
        low, high = self.min_seconds, self.max_seconds
        if low is None and high is None:
            raise ValueError("needs min_seconds, max_seconds or both")
        if low is not None and high is not None and low > high:
            raise ValueError(f"min_seconds {low:g} is larger than max_seconds {high:g}")
        return self


class NotInside(_OfFields):
    """A text that must not stand in another, such as an answer in its question."""

    kind: Literal["not_inside"]
    other: FieldPaths

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that the rule reads."""
        return (*self.field, *self.other)


class Inside(_OfFields):
    """A text that must stand in another: one of a list's texts is enough."""

    kind: Literal["inside"]
    other: FieldPaths

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that the rule reads."""
        return (*self.field, *self.other)


class Language(_OfFields):
    """The language of a text, recognised with some confidence."""

    kind: Literal["language"]
    languages: Annotated[tuple[Name, ...], Field(min_length=1)]
    min_confidence: Share = 0.8


class Toxicity(RuleSpec):
    """A score of toxicity: one in the data, or by detoxify, whose weights come from a folder.

    They are downloaded only where ``download`` says so.
    """

    kind: Literal["toxicity"]
    field: Annotated[tuple[FieldPath, ...], BeforeValidator(_as_list)] = ()
    score_field: FieldPath | None = None
    below: Annotated[Number, Field(gt=0, le=1)] = 0.3
    model: str = "original"
    checkpoint: FilePath | None = None
    download: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that the rule reads."""
        return self.field

    @model_validator(mode="after")
    def _check_source(self) -> Toxicity:
        if not self.field and self.score_field is None:
            raise ValueError("needs field (a text to score), score_field (a score in the data)")
        return self


class PerAuthor(_OfFields):
    """At most so many rows of one author are kept, the first ones."""

    kind: Literal["per_author"]
    max: Annotated[Count, Field(ge=1)]


class ExactDuplicates(_OfFields):
    """Texts that are the same but for case, punctuation, blanks and links."""

    kind: Literal["exact_duplicates"]


class NearDuplicates(_OfFields):
    """Texts that share most of their pieces of characters (MinHash)."""

    kind: Literal["near_duplicates"]
    threshold: Annotated[Number, Field(gt=0, le=1)] = 0.8


class SemanticDuplicates(_OfFields):
    """Texts that mean the same, by an embedder's cosine.

    The embedder is a name, or a path; one that begins with ``./`` or ``../`` is relative to the
    rules file.
    """

    kind: Literal["semantic_duplicates"]
    threshold: Annotated[Number, Field(gt=0, le=1)] = 0.9
    embedder: NameOrPath = DEFAULT_EMBEDDER


AnyRule = Annotated[
    Length | Range | Items | UniqueWords | GenericPhrases | Keywords | Urls | Flag | OneOf
    | TimeBetween | NotInside | Inside | Language | Toxicity | PerAuthor | ExactDuplicates
    | NearDuplicates | SemanticDuplicates,
    Field(discriminator="kind"),
]  # fmt: skip
