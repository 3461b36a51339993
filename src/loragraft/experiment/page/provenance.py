"""Where everything comes from, as rows of names and values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MOST_ROWS = 300
LONGEST = 400
"""Characters of a value: prompts and templates are told by their beginning."""


def rows_of(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Flatten nested values: ``engine.sha256`` beside its value; at most :data:`MOST_ROWS`."""
    rows = [(name, _cut(text)) for name, text in _flat("", value)]
    if len(rows) > MOST_ROWS:
        rest = f"{len(rows) - MOST_ROWS} more values stand in report.json"
        return [*rows[:MOST_ROWS], ("…", rest)]
    return rows


def _flat(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(f"{name}.{key}" if name else str(key), item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if any(isinstance(item, Mapping | list | tuple) for item in value):
            for number, item in enumerate(value):
                yield from _flat(f"{name}.{number}", item)
        elif value:
            yield name, ", ".join(map(_spelled, value))
    elif value is not None and value != "":
        yield name, _spelled(value)


def _spelled(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text):,} characters)"
