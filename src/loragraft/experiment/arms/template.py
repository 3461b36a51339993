"""A prompt with ``{name}`` for fields of a record: filled in one step, so nothing else is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from loragraft.errors import InputError

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SHOWN = 40

Fields = Mapping[str, str | tuple[str, ...]]


@dataclass(frozen=True)
class PromptTemplate:
    """A text with places for fields.

    ``{name}`` is a field, ``{{`` and ``}}`` are braces. What a field holds is never read as a
    template, whatever stands in it.

    Attributes:
        text: As it was written.
        names: The fields that it needs, each once, in order.
    """

    text: str
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Read the places.

        Raises:
            InputError: If a brace stands alone, or a place names no field.
        """
        names: list[str] = []
        for found in _TOKEN.finditer(self.text):
            if found[0] in ("{{", "}}"):
                continue
            if found[1] is None or not found[1].strip():
                near = self.text[found.start() : found.start() + _SHOWN]
                raise InputError(
                    f"The template has a brace alone or an empty place, at {near!r}. Write a "
                    "field's name between braces, {name}, and a brace itself twice: {{ or }}."
                )
            names.append(found[1].strip())
        object.__setattr__(self, "names", tuple(dict.fromkeys(names)))

    def missing(self, fields: Fields) -> list[str]:
        """Return the names that a record does not have."""
        return [name for name in self.names if name not in fields]

    def fill(self, fields: Fields) -> str:
        """Return the text with a record's fields; several texts of one field stand on lines."""

        def value(found: re.Match[str]) -> str:
            if found[1] is None:
                return found[0][0]
            part = fields[found[1].strip()]
            return part if isinstance(part, str) else "\n".join(part)

        return _TOKEN.sub(value, self.text)
