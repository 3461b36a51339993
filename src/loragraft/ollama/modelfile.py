r'''A Modelfile: written so that no text leaves its quotes, and read as Ollama reads it.

Ollama's parser (``parser/parser.go``, read in its source) takes a command's value up to the end
of the first line at which what it has, without spaces around, is complete: unquoted text always
is, text that starts with ``"`` or ``"""`` when it also ends so. There is no escape. Characters
that Go does not print (control characters but tab and line breaks, U+00A0, U+2028, joiners) are
dropped in silence. So a text can be carried if it has no such character and no line but its last
one ends with three quotation marks; what cannot is refused by name.
'''

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from loragraft.errors import InputError
from loragraft.ollama.parameters import (
    GONE,
    STOP,
    Value,
    as_request,
    check_parameter,
    format_value,
    parse_value,
)

ROLES = ("system", "user", "assistant")
"""Who may speak in a MESSAGE."""
COMMANDS = frozenset(
    {"from", "license", "template", "system", "adapter", "draft", "renderer", "parser",
     "parameter", "message", "requires"}
)  # fmt: skip

_LINE_BREAKS = "\r\n"
_SPACES = " \t"
_BLANK = _SPACES + _LINE_BREAKS
_TRIPLE = '"""'
_BREAKOUT = re.compile(r'"""[ \t]*[\r\n]')
_OVER_THE_API = (
    "A Modelfile cannot hold that; loragraft ollama register sends it over the API, which can."
)


@dataclass(frozen=True)
class Modelfile:
    """What Ollama makes a model of.

    Attributes:
        source: The GGUF's path, from the Modelfile's own folder.
        template: Go template of a conversation; None leaves it to Ollama.
        system: The system prompt where a conversation brings none; None for no such command.
        parameters: Names with values, ``stop`` once for each text.
        licenses: Texts.
        messages: Role and text of turns that stand before every conversation.
    """

    source: str
    template: str | None = None
    system: str | None = None
    parameters: tuple[tuple[str, Value], ...] = ()
    licenses: tuple[str, ...] = ()
    messages: tuple[tuple[str, str], ...] = ()

    def render(self) -> str:
        """Return the file's text.

        Raises:
            InputError: If a value cannot be carried, or a parameter is none; names it.
        """
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"FROM {_source(self.source)}"
        for name, text in (("TEMPLATE", self.template), ("SYSTEM", self.system)):
            if text is not None:
                yield f"{name} {quote(text, name)}"
        for name, value in self.parameters:
            checked = check_parameter(name, value)
            spelled = (
                quote(checked, f"PARAMETER {name}")
                if isinstance(checked, str)
                else format_value(checked)
            )
            yield f"PARAMETER {name} {spelled}"
        for text in self.licenses:
            yield f"LICENSE {quote(text, 'LICENSE')}"
        for role, text in self.messages:
            yield f"MESSAGE {check_role(role)} {quote(text, f'MESSAGE {role}')}"

    def request(self) -> dict[str, Any]:
        """Return everything but the source as keywords of the official client's ``create``.

        The API carries every text, also what :meth:`render` refuses.

        Raises:
            InputError: If a parameter or role is none.
        """
        values: dict[str, Any] = {
            "template": self.template,
            "system": self.system,
            "license": list(self.licenses),
            "parameters": as_request(self.parameters),
            "messages": [
                {"role": check_role(role), "content": text} for role, text in self.messages
            ],
        }
        return {name: value for name, value in values.items() if value not in (None, [], {})}

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end an answer."""
        return tuple(str(value) for name, value in self.parameters if name == STOP)

    def value(self, name: str) -> Value | None:
        """Return a parameter's value, the last one given; None if it is not set."""
        return dict(self.parameters).get(name)


def check_role(role: str) -> str:
    """Return a role that may speak in a MESSAGE.

    Raises:
        InputError: If it is another.
    """
    if role not in ROLES:
        raise InputError(f"A MESSAGE has the role {role!r}; one of {', '.join(ROLES)} is needed.")
    return role


def quote(text: str, what: str) -> str:
    """Quote a value so that Ollama's parser gives back this very text.

    Args:
        text: The value.
        what: The command it belongs to, for the message.

    Raises:
        InputError: If no quoting does that.
    """
    for character in text:
        if not character.isprintable() and character not in _BLANK:
            raise InputError(
                f"{what} holds the character U+{ord(character):04X}, which Ollama's Modelfile "
                f"parser drops. {_OVER_THE_API}"
            )
    if '"' not in text and not any(c in text for c in _LINE_BREAKS):
        return f'"{text}"'
    if _BREAKOUT.search(text):
        raise InputError(
            f"{what} has a line that ends with three quotation marks, where Ollama's parser "
            f"would take the rest for commands. {_OVER_THE_API}"
        )
    return f"{_TRIPLE}{text}{_TRIPLE}"


def _source(path: str) -> str:
    if not path.strip(_BLANK):
        raise InputError("A Modelfile needs a model after FROM.")
    quoted = quote(path, "FROM")
    plain = path == path.strip(_BLANK) and '"' not in path and not set(path) & set(_LINE_BREAKS)
    return path if plain else quoted


class Command(NamedTuple):
    """One instruction: its name in lower case, its role or parameter, its value."""

    name: str
    key: str
    value: str


def parse_modelfile(text: str) -> Modelfile:
    """Read a Modelfile.

    Raises:
        InputError: If Ollama would refuse it, or it holds what loragraft does not: a second
            FROM, an ADAPTER, DRAFT, RENDERER, PARSER or REQUIRES.
    """
    found = Modelfile("")
    for command in parse_commands(text):
        found = _add(found, command)
    if not found.source:
        raise InputError("The Modelfile has no FROM line.")
    return found


def _add(found: Modelfile, command: Command) -> Modelfile:
    name, key, value = command
    if name == "from" and not found.source:
        return replace(found, source=value)
    if name in ("template", "system"):
        fields: Mapping[str, Any] = {name: value}
        return replace(found, **fields)
    if name == "license":
        return replace(found, licenses=(*found.licenses, value))
    if name == "message":
        return replace(found, messages=(*found.messages, (key, value)))
    if name == "parameter":
        if key in GONE:  # Ollama skips these with a warning
            return found
        return replace(found, parameters=(*found.parameters, (key, parse_value(key, value))))
    how = "a second FROM" if name == "from" else f"the command {name.upper()}"
    raise InputError(
        f"The Modelfile holds {how}, which loragraft does not write. An adapter is merged first: "
        "loragraft export merge-and-quantize."
    )


def parse_commands(text: str) -> list[Command]:
    """Split a Modelfile into its commands, by the states of Ollama's own parser.

    Raises:
        InputError: If a line is no command, or a quoted text has no end.
    """
    found: list[Command] = []
    position, text = 0, text.removeprefix("\ufeff")
    while position < len(text):
        character = text[position]
        if character in _BLANK:
            position += 1
        elif character == "#":
            position = _line_end(text, position)
        else:
            command, position = _read_command(text, position)
            found.append(command)
    return found


def _line_end(text: str, position: int) -> int:
    while position < len(text) and text[position] not in _LINE_BREAKS:
        position += 1
    return position


def _read_command(text: str, position: int) -> tuple[Command, int]:
    name, position = _read_word(text, position, "")
    name = name.lower()
    if name not in COMMANDS:
        raise InputError(f"{name[:40]!r} begins a line of the Modelfile and is no command.")
    key = ""
    if name in ("parameter", "message"):
        key, position = _read_word(text, position, "0123456789_" if name == "parameter" else "")
        if name == "message":
            check_role(key)
    value, position = _read_value(text, position)
    return Command(name, key, value), position


def _read_word(text: str, position: int, more: str) -> tuple[str, int]:
    """Read letters up to one space; returns them and where the next character stands."""
    start = position
    while position < len(text) and text[position] not in _SPACES:
        character = text[position]
        if not (character.isascii() and character.isalpha()) and character not in more:
            raise InputError(
                f"The Modelfile has {text[start : position + 20]!r} where a command, a role or a "
                "parameter's name and a space were expected."
            )
        position += 1
    if position == len(text):
        raise InputError(f"The Modelfile ends after {text[start:][:40]!r}.")
    return text[start:position], position + 1


def _read_value(text: str, position: int) -> tuple[str, int]:
    """Read up to the first line's end at which the value is complete."""
    kept: list[str] = []
    first = last = -1  # of what is not blank
    while position < len(text):
        character = text[position]
        if character in _LINE_BREAKS and _is_complete(kept, first, last):
            break
        if character in _BLANK or character.isprintable():
            if character not in _BLANK:
                first, last = (len(kept) if first < 0 else first), len(kept)
            kept.append(character)
        position += 1
    if not _is_complete(kept, first, last):
        raise InputError("The Modelfile ends inside a quoted text.")
    value = "".join(kept[first : last + 1]) if first >= 0 else ""
    quotes = 3 if value.startswith(_TRIPLE) else 1 if value.startswith('"') else 0
    return value[quotes : len(value) - quotes], position


def _is_complete(kept: list[str], first: int, last: int) -> bool:
    """Whether quotes that were opened are closed."""
    if first < 0 or kept[first] != '"':
        return True
    size = last - first + 1
    if kept[first : first + 3] == ['"'] * 3:
        return size >= 6 and kept[last - 2 : last + 1] == ['"'] * 3
    return size >= 2 and kept[last] == '"'
