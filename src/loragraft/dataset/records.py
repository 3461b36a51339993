"""Task records: what a model is trained on or asked, one JSON object a line.

Every record has a ``kind``, an ``id`` and a ``task_type``, and may have a ``paper_id``, the cluster
it belongs to:

```
qa         question, answers (those that count as right), evidence (gold passages)
score      fields (a prompt's parts by name: rule, body, examples ...), label (0 to 1)
reply      prompt, reply
embedding  a, b, label (how alike they are: -1 to 1)
```

Fields beyond these are kept as they are, in ``more``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from loragraft.artifact.jsonl import Line, read_jsonl
from loragraft.errors import InputError

LONGEST_ID = 1024
"""Characters, as for a corpus record."""

_COMMON = ("kind", "id", "task_type", "paper_id")
_SPAN = re.compile(r"(?P<doc_id>.+)#(?P<start>[0-9]{1,15})-(?P<stop>[0-9]{1,15})", re.DOTALL)


@dataclass(frozen=True)
class Qa:
    """A question, the answers that count as right, and the passages that hold them."""

    id: str
    task_type: str
    question: str
    answers: tuple[str, ...]
    evidence: tuple[str, ...] = ()
    paper_id: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """Parts of a prompt by name, each a text or several, and the number that is expected."""

    id: str
    task_type: str
    fields: Mapping[str, str | tuple[str, ...]]
    label: float
    paper_id: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """A prompt and the reply to it."""

    id: str
    task_type: str
    prompt: str
    reply: str
    paper_id: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Embedding:
    """Two texts and how alike they are."""

    id: str
    task_type: str
    a: str
    b: str
    label: float
    paper_id: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


TaskRecord: TypeAlias = Qa | Score | Reply | Embedding


@dataclass(frozen=True)
class Evidence:
    """A passage of a corpus: a document, or the characters ``start`` to ``stop`` of its text."""

    doc_id: str
    start: int | None = None
    stop: int | None = None


def parse_evidence(text: str) -> Evidence:
    """Read ``DOC_ID`` or ``DOC_ID#START-STOP``.

    Raises:
        InputError: If it is blank, or its span is empty.
    """
    if not text.strip():
        raise InputError("Evidence is blank; expected DOC_ID or DOC_ID#START-STOP.")
    found = _SPAN.fullmatch(text)
    if found is None:
        return Evidence(text)
    start, stop = int(found["start"]), int(found["stop"])
    if stop <= start:
        raise InputError(
            f"The evidence {text!r} ends at {stop}, not behind its start {start}; expected "
            "DOC_ID#START-STOP in characters of that document's text."
        )
    return Evidence(found["doc_id"], start, stop)


def parse_record(values: Mapping[str, Any]) -> TaskRecord:
    """Make a record of a JSON object.

    Raises:
        InputError: If a field is missing or odd; names the record and the field, as a sentence.
    """
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        found = f"is {_shown(kind)}" if "kind" in values else "is missing"
        step = "" if "kind" in values else " dataset curate makes records of other rows."
        raise InputError(f'The field "kind" {found}; there are {", ".join(_KINDS)}.{step}')
    reader = _Reader(values)
    common = {"id": reader.identity("id"), "task_type": reader.name("task_type")}
    if values.get("paper_id") is not None:
        common["paper_id"] = reader.identity("paper_id")
    own, make = _KINDS[kind]
    known = {*_COMMON, *own}
    more = {key: value for key, value in values.items() if key not in known}
    return make(reader, {**common, "more": more})


class _Reader:
    """Fields of one object, each checked; errors name record and field."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def refuse(self, key: str, expected: str) -> InputError:
        """Say what a field is and what it should be."""
        name = self._values.get("id")
        of = f" of the record {_shown(name)}" if key != "id" and name else ""
        found = f"is {_shown(self._values[key])}" if key in self._values else "is missing"
        return InputError(f'The field "{key}"{of} {found}; expected {expected}.')

    def identity(self, key: str) -> str:
        """Return a name that others refer to; a whole number counts as its digits."""
        value = self._values.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self.name(key)

    def name(self, key: str) -> str:
        """Return a short text on one line."""
        value = self._values.get(key)
        fits = isinstance(value, str) and value.isprintable() and value == value.strip()
        if not fits or not value or len(value) > LONGEST_ID:
            raise self.refuse(key, f"a text of 1 to {LONGEST_ID} characters on one line")
        return str(value)

    def text(self, key: str) -> str:
        """Return a text that says something."""
        value = self._values.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.refuse(key, "a text that is not blank")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of such texts."""
        value = self._values.get(key)
        if not isinstance(value, list) or not all(_says_something(item) for item in value):
            raise self.refuse(key, "a list of texts, none of them blank")
        return tuple(value)

    def evidence(self) -> tuple[str, ...]:
        """Return passages, none where there is no such field."""
        if self._values.get("evidence") is None:
            return ()
        passages = self.texts("evidence")
        for passage in passages:
            try:
                parse_evidence(passage)
            except InputError as error:
                raise self.refuse("evidence", f"passages. {error}"[:-1]) from None
        return passages

    def number(self, key: str, least: float, most: float) -> float:
        """Return a number within a range."""
        value = self._values.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.refuse(key, f"a number from {least:g} to {most:g}")
        if not least <= value <= most:  # which NaN is not, either
            raise self.refuse(key, f"a number from {least:g} to {most:g}")
        return float(value)

    def parts(self, key: str) -> dict[str, str | tuple[str, ...]]:
        """Return texts, or lists of them, by name."""
        value = self._values.get(key)
        parts: dict[str, str | tuple[str, ...]] = {}
        for name, part in value.items() if isinstance(value, dict) else ():
            if isinstance(part, list) and all(isinstance(item, str) for item in part):
                parts[name] = tuple(part)
            elif isinstance(part, str):
                parts[name] = part
            else:
                raise self.refuse(key, f"texts or lists of texts by name; {name!r} is neither")
        if not any(part.strip() if isinstance(part, str) else part for part in parts.values()):
            raise self.refuse(key, "an object with a text for each part of the prompt")
        return parts


def _says_something(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _qa(reader: _Reader, common: dict[str, Any]) -> Qa:
    answers = reader.texts("answers")
    if not answers:
        raise reader.refuse("answers", "at least one text")
    evidence = reader.evidence()
    return Qa(question=reader.text("question"), answers=answers, evidence=evidence, **common)


def _score(reader: _Reader, common: dict[str, Any]) -> Score:
    return Score(fields=reader.parts("fields"), label=reader.number("label", 0, 1), **common)


def _reply(reader: _Reader, common: dict[str, Any]) -> Reply:
    return Reply(prompt=reader.text("prompt"), reply=reader.text("reply"), **common)


def _embedding(reader: _Reader, common: dict[str, Any]) -> Embedding:
    label = reader.number("label", -1, 1)
    return Embedding(a=reader.text("a"), b=reader.text("b"), label=label, **common)


_Maker: TypeAlias = Callable[[_Reader, dict[str, Any]], TaskRecord]
_KINDS: Mapping[str, tuple[tuple[str, ...], _Maker]] = {
    "qa": (("question", "answers", "evidence"), _qa),
    "score": (("fields", "label"), _score),
    "reply": (("prompt", "reply"), _reply),
    "embedding": (("a", "b", "label"), _embedding),
}
KINDS = tuple(_KINDS)
_CLASSES = {Qa: "qa", Score: "score", Reply: "reply", Embedding: "embedding"}


def kind_of(record: TaskRecord) -> str:
    """Return what ``kind`` says of a record."""
    return _CLASSES[type(record)]


def to_json(record: TaskRecord) -> dict[str, Any]:
    """Return the JSON object of which :func:`parse_record` makes the record again."""
    kind = kind_of(record)
    values: dict[str, Any] = {"kind": kind, "id": record.id, "task_type": record.task_type}
    for key in _KINDS[kind][0]:
        value = getattr(record, key)
        if key == "fields":
            value = {n: list(p) if isinstance(p, tuple) else p for n, p in value.items()}
        if key != "evidence" or value:
            values[key] = list(value) if isinstance(value, tuple) else value
    if record.paper_id is not None:
        values["paper_id"] = record.paper_id
    return {**values, **record.more}


def asked(record: TaskRecord) -> str:
    """Return what a model is given: the question, the prompt, the first text, all fields."""
    if isinstance(record, Qa):
        return record.question
    if isinstance(record, Reply):
        return record.prompt
    if isinstance(record, Embedding):
        return record.a
    parts = record.fields.values()
    return "\n".join(part if isinstance(part, str) else "\n".join(part) for part in parts)


def answered(record: TaskRecord) -> tuple[str, ...]:
    """Return what counts as right: answers, the reply, the second text, the label's digits."""
    if isinstance(record, Qa):
        return record.answers
    if isinstance(record, Reply):
        return (record.reply,)
    return (record.b,) if isinstance(record, Embedding) else (f"{record.label:g}",)


def read_records(path: Path) -> Iterator[TaskRecord]:
    """Yield the records of a file, one after the other.

    Memory grows by some 100 bytes a record, for its id.

    Raises:
        InputError: If the file cannot be read, a line is no record, an id stands twice, or there
            is none at all; names file and line.
    """
    for _line, record in read_placed(path):
        yield record


def read_placed(path: Path) -> Iterator[tuple[Line, TaskRecord]]:
    """Yield records as :func:`read_records` does, each with its line."""
    lines: dict[bytes, int] = {}
    for line in read_jsonl(path):
        try:
            record = parse_record(line.values)
        except InputError as error:
            raise InputError(f"{path}, line {line.number}: {error}") from None
        key = hashlib.sha256(record.id.encode("utf-8")).digest()[:16]
        first = lines.setdefault(key, line.number)
        if first != line.number:
            raise InputError(
                f"{path}, line {line.number} has the id {record.id!r}, as line {first} has; give "
                "each record an id of its own."
            )
        yield line, record
    if not lines:
        raise InputError(f"{path} holds no records; expected one JSON object a line.")
