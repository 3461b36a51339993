"""What of a record is asked, what of it is trained on, and what all records of a set share."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from loragraft.dataset.records import Embedding, Score, TaskRecord, asked

_NOT_TEXT = frozenset(("id", "kind", "task_type", "paper_id", "evidence"))
"""Fields of a record that name things and say nothing."""
_SHARED_SHARE, _SHARED_LEAST = 0.01, 3
"""A field's text that more records have, in share and number, is part of the prompt: a rule that
posts are judged by, say. It says nothing about which post it is."""
_DEEPEST = 8


def digest(text: str) -> int:
    """Return 64 bits that stand for a text, the same on every machine."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def strings(value: Any, depth: int = 0) -> Iterator[str]:  # noqa: ANN401 - any JSON
    """Yield every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif depth < _DEEPEST and isinstance(value, Mapping):
        for inner in value.values():
            yield from strings(inner, depth + 1)
    elif depth < _DEEPEST and isinstance(value, (list, tuple)):
        for inner in value:
            yield from strings(inner, depth + 1)


def everything(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield every text of a record that a model may be trained on."""
    for name, value in values.items():
        if name not in _NOT_TEXT:
            yield from strings(value)


class SharedTexts:
    """Counts the field texts of ``score`` records, and says which belong to the prompt."""

    def __init__(self) -> None:
        """Begin with none."""
        self._records = 0
        self._counts: Counter[int] = Counter()

    def add(self, record: TaskRecord) -> None:
        """Count a record's fields."""
        if isinstance(record, Score):
            self._records += 1
            self._counts.update({digest(text) for text in _fields(record)})

    def found(self) -> frozenset[int]:
        """Return digests of texts that many records share."""
        most = max(_SHARED_LEAST, _SHARED_SHARE * self._records)
        return frozenset(key for key, count in self._counts.items() if count > most)


def questions(record: TaskRecord, shared: frozenset[int]) -> tuple[str, ...]:
    """Return the texts of a record that must not be known: what is asked, without the prompt."""
    if not isinstance(record, Score):
        return (asked(record),)
    own = tuple(text for text in _fields(record) if text.strip() and digest(text) not in shared)
    return own or (asked(record),)


def question(record: TaskRecord, shared: frozenset[int]) -> str:
    """Return them as one text."""
    return "\n".join(questions(record, shared))


def turned(record: TaskRecord) -> str | None:
    """Return what a pair's record would ask the other way round; None of other records."""
    return record.b if isinstance(record, Embedding) else None


def _fields(record: Score) -> list[str]:
    return list(strings(record.fields))
