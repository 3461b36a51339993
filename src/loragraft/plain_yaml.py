"""YAML as its core schema (1.2) has it, with the line that each value stands on.

``1e-4`` is a number, ``no``, ``010`` and ``2020-01-01`` are what they look like. Each key stands
once and is a text; tags beyond the schema's, merge keys and aliases that mean millions of values
are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import yaml
from yaml import Node

from loragraft.errors import InputError

LARGEST_FILE = 256 * 1024
"""Bytes. A person writes a configuration; one with every rule has 5 kB."""
MOST_VALUES = 50_000
DEEPEST = 40
LONGEST_NUMBER = 100
"""Digits of a whole number."""

_CORE = "tag:yaml.org,2002:"
_TAGS = frozenset({"map", "seq", "str", "int", "float", "bool", "null"})
_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_INT = re.compile(r"[-+]?[0-9]+$|0o[0-7]+$|0x[0-9a-fA-F]+$")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"
    r"|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
)

KeyPath: TypeAlias = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """A loader that resolves plain scalars as the core schema does, and by that alone."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own


_Loader.add_implicit_resolver(
    _CORE + "bool", re.compile("true$|True$|TRUE$|false$|False$|FALSE$"), None
)
_Loader.add_implicit_resolver(_CORE + "null", re.compile("$|~$|null$|Null$|NULL$"), None)
_Loader.add_implicit_resolver(_CORE + "int", _INT, None)
_Loader.add_implicit_resolver(_CORE + "float", _FLOAT, None)


class Placed(str):
    """A text that knows which file it stands in."""

    __slots__ = ("file",)
    file: Path


class Place(NamedTuple):
    """Where a value stands."""

    file: Path
    line: int


class Content(NamedTuple):
    """What a file holds: plain values, and where each stands by its keys from the top."""

    values: Any
    places: dict[KeyPath, Place]


def read_yaml(path: Path) -> Content:
    """Read a file.

    Raises:
        InputError: If it cannot be read or holds what is refused; names the file and the line.
    """
    return parse_yaml(_text(path), path)


def parse_yaml(text: str, path: Path) -> Content:
    """Read a text.

    Args:
        text: The YAML.
        path: What messages call it; relative paths in it are relative to its folder.

    Raises:
        InputError: As :func:`read_yaml`.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        problem = " ".join(str(error.problem or error.context).split())
        raise InputError(f"{path}{where} is no YAML: {problem}.") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is no YAML: {' '.join(str(error).split())}.") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply to be read.") from None
    reader = _Reader(path)
    values = None if node is None else reader.value(node, ())
    return Content(values, reader.places)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path} cannot be read: {reason}.") from None
    if len(data) > LARGEST_FILE:
        raise InputError(
            f"{path} is larger than {LARGEST_FILE // 1024} KiB; expected a configuration in YAML."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line} is no UTF-8: byte 0x{data[error.start]:02x}; save it as UTF-8."
        ) from None


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.places: dict[KeyPath, Place] = {}

    def refuse(self, node: Node, problem: str) -> InputError:
        return InputError(f"{self._path}, line {node.start_mark.line + 1}: {problem}.")

    def value(self, node: Node, keys: KeyPath) -> Any:  # noqa: ANN401
        if len(self.places) >= MOST_VALUES or len(keys) > DEEPEST:
            raise self.refuse(node, "aliases or nesting mean more values than anyone would write")
        self.places[keys] = Place(self._path, node.start_mark.line + 1)
        if not node.tag.startswith(_CORE) or node.tag.removeprefix(_CORE) not in _TAGS:
            tag = node.tag.replace(_CORE, "!!")
            raise self.refuse(node, f"the tag {tag!r} is not read; write plain values")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, keys)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*keys, at)) for at, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: Node, keys: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, item in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.refuse(key_node, "a key is no text")
            key = key_node.value
            if key == "<<" and key_node.style is None:
                raise self.refuse(key_node, "the merge key << is not read; use extends: FILE")
            if key in values:
                raise self.refuse(key_node, f"the key {key!r} stands twice in one mapping")
            below = (*keys, key)
            values[key] = self.value(item, below)
            self.places[below] = Place(self._path, key_node.start_mark.line + 1)
        return values

    def _scalar(self, node: Node) -> Any:  # noqa: ANN401
        kind, text = node.tag.removeprefix(_CORE), node.value
        if kind in ("bool", "null") and text in _WORDS:
            return _WORDS[text]
        if kind == "int" and _INT.match(text) and len(text) < LONGEST_NUMBER:
            return int(text, 0) if text[1:2] in "ox" and text[0] == "0" else int(text)
        if kind == "float" and (_FLOAT.match(text) or _INT.match(text)):
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        if kind != "str":
            raise self.refuse(node, f"{text[:40]!r} is no {kind}")
        placed = Placed(text)
        placed.file = self._path
        return placed
