"""From a kept row to a task record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from loragraft.dataset.curate.fields import read, read_key, read_number
from loragraft.dataset.curate.specs import FieldPath
from loragraft.dataset.records import TaskRecord, answered, asked, parse_record
from loragraft.errors import InputError
from loragraft.settings import Settings


class Text(Settings):
    """A fixed text, where a field's path could stand."""

    text: str


Source = FieldPath | Text
"""A dotted path, or ``{text: ...}`` for a fixed text."""

PARTS: Mapping[str, tuple[str, ...]] = {
    "qa": ("question", "answers"),
    "score": ("fields", "label"),
    "reply": ("prompt", "reply"),
    "embedding": ("a", "b", "label"),
}
"""What a record of each kind must have; all have id and task_type, any may have paper_id."""
_OPTIONAL: Mapping[str, tuple[str, ...]] = {"qa": ("evidence",)}


class RecordSpec(Settings):
    """Where the parts of a record come from.

    Attributes:
        kind: The record's kind; it decides which parts are needed.
        id: Path of what tells records apart; "id", else what the row holds, where there is none.
        task_type: Path or text.
        more: Names of further fields of the record to where they come from.
    """

    kind: Literal["qa", "score", "reply", "embedding"]
    id: FieldPath | None = None
    task_type: Source
    paper_id: Source | None = None
    question: Source | None = None
    answers: Source | None = None
    evidence: Source | None = None
    fields: dict[str, Source] | None = None
    label: Source | None = None
    prompt: Source | None = None
    reply: Source | None = None
    a: Source | None = None
    b: Source | None = None
    more: dict[str, Source] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_parts(self) -> RecordSpec:
        needed, optional = PARTS[self.kind], _OPTIONAL.get(self.kind, ())
        for part in needed:
            if getattr(self, part) is None:
                raise ValueError(f"a record of kind {self.kind} needs {part}")
        every = {*sum(PARTS.values(), ()), *sum(_OPTIONAL.values(), ())}
        for part in sorted(every - {*needed, *optional}):
            if getattr(self, part) is not None:
                raise ValueError(f"a record of kind {self.kind} has no {part}")
        return self

    @property
    def shown(self) -> tuple[str, ...]:
        """Paths of the texts that a person reads of a record."""
        parts = (
            getattr(self, part) for part in PARTS[self.kind] if part not in ("fields", "label")
        )
        return tuple(part for part in (*parts, *(self.fields or {}).values())
                     if isinstance(part, str))  # fmt: skip


Values = Mapping[str, Any]
ID_DIGITS = 16
"""Of a made id: among a million rows two are taken for one with a chance of 3 in 10^8."""


def id_path(spec: RecordSpec | None) -> str:
    """Return where a row's id is looked for."""
    return "id" if spec is None or spec.id is None else spec.id


def row_id(spec: RecordSpec | None, values: Values) -> str | None:
    """Return what a row's record will be called, or None where its id cannot be one.

    A row without "id", where the rules name no other field, is called by what it holds: the same
    row has the same id wherever it stands.
    """
    if (spec is None or spec.id is None) and values.get("id") is None:
        whole = json.dumps(
            _without_id(values), sort_keys=True, ensure_ascii=True, separators=(",", ":")
        )
        return "row-" + hashlib.sha256(whole.encode()).hexdigest()[:ID_DIGITS]
    return read_key(values, id_path(spec))


def record_maker(spec: RecordSpec | None) -> Callable[[str, Values], TaskRecord]:
    """Return what makes a record of an id and a row.

    It raises InputError where the row lacks a part, as the end of a sentence.
    """
    if spec is None:
        return lambda record_id, values: parse_record(
            values if values.get("id") is not None else {"id": record_id, **_without_id(values)}
        )

    def make(record_id: str, values: Values) -> TaskRecord:
        return parse_record({"id": record_id, **_parts(spec, values)})

    return make


def _without_id(values: Values) -> Values:
    return {key: value for key, value in values.items() if key != "id"}


def _parts(spec: RecordSpec, values: Values) -> dict[str, Any]:
    names = ("task_type", "paper_id", *PARTS[spec.kind], *_OPTIONAL.get(spec.kind, ()))
    parts: dict[str, Any] = {"kind": spec.kind}
    for name in names:
        source = getattr(spec, name)
        found = _part(name, source, values)
        if found is not None:
            parts[name] = found
        elif isinstance(source, str) and name not in ("paper_id", "evidence"):
            raise InputError(f"{name}: {source} is missing")
    more = {name: _value(source, values) for name, source in spec.more.items()}
    return {**parts, **{name: value for name, value in more.items() if value is not None}}


def _part(name: str, source: Any, values: Values) -> Any:  # noqa: ANN401 - JSON
    """Return one part in the form that a record has it in."""
    if name in ("task_type", "paper_id") and isinstance(source, str):
        return read_key(values, source)
    if name == "label" and isinstance(source, str):
        return read_number(values, source)
    if name == "fields" and source is not None:
        return {key: _value(item, values) for key, item in source.items()}
    found = _value(source, values)
    if name in ("answers", "evidence") and isinstance(found, str):
        return [found]
    return found


def _value(source: Source | None, values: Values) -> Any:  # noqa: ANN401 - JSON
    if source is None:
        return None
    return source.text if isinstance(source, Text) else read(values, source)


def content_hash(record: TaskRecord) -> str:
    """Return what stands for what a record asks and answers, in 16 digits.

    A decision about a record holds as long as these stay.
    """
    digest = hashlib.sha256()
    for text in (asked(record), *answered(record)):
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:16]
