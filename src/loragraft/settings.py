"""Frozen, typed configuration: YAML that no typo gets past, with ``extends:``.

```yaml
extends: base.yaml          # or a list, of which the last wins; relative to this file
length: {min: 30}           # mappings merge with those of the base, key by key
keywords: [crypto]          # anything else, a list too, takes the place of what the base says
```
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from loragraft.errors import InputError
from loragraft.plain_yaml import Content, KeyPath, Place, Placed, parse_yaml, read_yaml

EXTENDS = "extends"
LONGEST_NAME = 255
"""Bytes of a file's or folder's name, on every usual file system."""
MOST_FILES = 50
"""Files that one configuration may extend, directly and not."""
MOST_PROBLEMS = 8
"""Named at once; of more the number is told."""
_LONGEST_SHOWN = 60
_KEY = re.compile(r"[\w-]+")
"""A key that --set can name; ids of experiments may begin with a digit and hold hyphens."""
_MAPPING = re.compile(r"a valid dictionary(?: or instance of \w+)?")
UNSHOWN = "unshown"
"""The type of a pydantic_core.PydanticCustomError whose value no message may repeat."""

COMMAND_LINE = Path("--set")
"""What messages call a value that stands in no file."""

S = TypeVar("S", bound=BaseModel)


def _no_truth(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, bool):
        raise ValueError("expected a whole number, not true or false")
    return value


_CHECK = {"type": "no-info", "function": _no_truth}


def _refuse_truth(node: Any) -> None:  # noqa: ANN401
    """Check, before every whole number of a schema, that it is not ``true`` or ``false``."""
    inner = list(node.items()) if isinstance(node, dict) else list(enumerate(node))
    for key, item in inner:
        if isinstance(item, dict) and item.get("type") == "int":
            node[key] = core_schema.no_info_before_validator_function(_no_truth, item)
        elif isinstance(item, dict | list) and key not in ("metadata", "serialization", "default"):
            known = isinstance(item, dict) and item.get("function", {}) == _CHECK
            if not known:
                _refuse_truth(item)


class Settings(BaseModel):
    """Base of every configuration: frozen, and a key that it does not have is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(
        cls,
        source: Any,  # noqa: ANN401
        handler: GetCoreSchemaHandler,
        /,
    ) -> CoreSchema:
        """Refuse ``true`` where a whole number stands: pydantic would take it for 1."""
        schema = handler(source)
        _refuse_truth(handler.resolve_ref_schema(schema))
        return schema


def _at_home(text: str) -> Path:
    """Return a path with ~ spelled out; one of an unknown user stays as it is."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def _real(path: str | Path) -> str:
    """Return a path without links.

    Raises:
        InputError: If it is relative to a working folder that is gone.
    """
    try:
        return os.path.realpath(path)
    except FileNotFoundError:
        raise InputError(
            f"{path} is relative to the working folder, which is not there any more. Change into a "
            "folder that is (cd FOLDER), or name the whole path."
        ) from None


def _straight(path: Path) -> Path:
    """Return a path without ``..``, to be read in messages; one across links stays as it is."""
    short = os.path.normpath(path)
    if ".." not in path.parts or _real(short) != _real(path):
        return path
    return Path(short)


def _beside_its_file(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, str):
        if not value.strip() or "\0" in value:
            raise ValueError("expected a path")
        folder = value.file.parent if isinstance(value, Placed) else Path()
        path = _straight(folder / _at_home(value))
        if any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts):
            raise ValueError("the name is too long")
        return path
    return value


FilePath: TypeAlias = Annotated[Path, BeforeValidator(_beside_its_file)]
"""A path; one that is relative is so to the file it stands in, also where that was extended."""


def _named_beside_its_file(value: object) -> object:
    if isinstance(value, Placed) and value.startswith(("./", "../", "~/")):
        return os.path.normpath(value.file.parent / _at_home(value))
    return value


NameOrPath: TypeAlias = Annotated[str, BeforeValidator(_named_beside_its_file), Field(min_length=1)]
"""A name that somebody else resolves: of a model, a repository, a tag. One that begins with ``./``
or ``../`` is a path, relative to the file it stands in."""


def load_settings(path: Path, kind: type[S], changes: Sequence[str] = ()) -> S:
    """Read a configuration.

    Args:
        path: A file of YAML.
        kind: What it configures.
        changes: Values that take the place of the file's, as ``key.path=VALUE`` with a value in
            YAML; a path among them is relative to the working folder.

    Raises:
        InputError: If a file cannot be read, or a value does not fit; names the file, the line,
            the keys, what was found and expected, and the nearest key that there is.
    """
    content = read_settings(path)
    for change in changes:
        content = _merge(content, _change(change))
    try:
        return kind.model_validate(content.values)
    except pydantic.ValidationError as error:
        raise InputError(_explain(path, content, kind, error)) from None


def read_settings(path: Path) -> Content:
    """Read a file and those that it extends, merged, before anything is checked.

    Raises:
        InputError: If one cannot be read, is no mapping, or extends itself.
    """
    return _Chain().read(path, ())


def _change(text: str) -> Content:
    """Read ``key.path=VALUE`` as the mappings that it means.

    Raises:
        InputError: If it is something else.
    """
    name, sign, value = text.partition("=")
    keys = name.strip().split(".")
    if not sign or not all(map(_KEY.fullmatch, keys)):
        raise InputError(
            f"{_shown(text)} changes no key; expected KEY=VALUE, as optimiser.epochs=3 or "
            "lora.targets=all."
        )
    read = parse_yaml(value, COMMAND_LINE)
    places = {(*keys, *below): Place(COMMAND_LINE, 0) for below in read.places}
    values = read.values
    for number in range(len(keys), 0, -1):
        values = {keys[number - 1]: values}
        places[tuple(keys[: number - 1])] = Place(COMMAND_LINE, 0)
    places[tuple(keys)] = Place(COMMAND_LINE, 0)
    return Content(values, places)


class _Chain:
    """Files that extend one another, each read once."""

    def __init__(self) -> None:
        self._read: dict[str, Content] = {}

    def read(self, path: Path, above: tuple[Path, ...]) -> Content:
        key = _real(path)
        if key in {_real(other) for other in above}:
            names = " extends ".join(str(item) for item in (*above, path))
            raise InputError(f"A configuration extends itself: {names}.")
        if key not in self._read:
            if len(above) >= MOST_FILES or len(self._read) >= MOST_FILES:
                raise InputError(f"{path} is one of more than {MOST_FILES} files that extend.")
            self._read[key] = self._merged(path, above)
        return self._read[key]

    def _merged(self, path: Path, above: tuple[Path, ...]) -> Content:
        own = read_yaml(path)
        values = {} if own.values is None else own.values
        if not isinstance(values, dict):
            name = "text" if isinstance(values, str) else type(values).__name__
            raise InputError(f"{path} holds a {name}; expected keys with values, as NAME: VALUE.")
        result = Content({}, {(): Place(path, 1)})
        for base in _bases(path, values, own.places):
            if not os.path.isfile(base):  # it takes names that are too long, too
                place = own.places[(EXTENDS,)]
                raise InputError(f"{path}, line {place.line} extends {base}, which is no file.")
            result = _merge(result, self.read(base, (*above, path)))
        rest = {key: value for key, value in values.items() if key != EXTENDS}
        return _merge(result, Content(rest, own.places))


def _bases(path: Path, values: Mapping[str, Any], places: Mapping[KeyPath, Place]) -> list[Path]:
    given = values.get(EXTENDS, [])
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(n, str) and n.strip() for n in names):
        raise InputError(
            f"{path}, line {places[(EXTENDS,)].line}: {EXTENDS} is {_shown(given)}; expected a "
            "file or a list of files."
        )
    return [path.parent / _at_home(name) for name in names]


def _merge(base: Content, top: Content) -> Content:
    """Lay one content over another; each value keeps its place."""
    return Content(_laid(base.values, top.values), {**base.places, **top.places})


def _laid(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        below = low.get(key)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[key] = _laid(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _explain(
    path: Path, content: Content, kind: type[BaseModel], error: pydantic.ValidationError
) -> str:
    problems = error.errors(include_url=False)
    lines = [_problem(path, content, kind, problem) for problem in problems[:MOST_PROBLEMS]]
    lines = list(dict.fromkeys(lines))
    if len(problems) > MOST_PROBLEMS:
        lines.append(f"{path}: and {len(problems) - MOST_PROBLEMS} more.")
    return "\n".join(lines)


def _problem(path: Path, content: Content, kind: type[BaseModel], problem: Any) -> str:  # noqa: ANN401
    missing = problem["type"] == "missing"
    keys, models = _locate(problem["loc"], content.values, kind, missing=missing)
    standing = [keys[:n] for n in range(len(keys), 0, -1) if keys[:n] in content.places]
    place = content.places[standing[0]] if standing else None
    where = _spell_place(place) if place else f"{path}: "
    name = _spell(keys)
    known = sorted({str(field) for model in models for field in _fields(model)})
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(keys[-1]), known, n=1)
        step = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."
        return f"{where}{name} is no key that there is. {step}"
    if missing:
        return f"{where}{name} is missing."
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return f"{where}{_spell((*keys, *_tag_of(problem)))} {_no_tag(problem)}"
    message = str(problem["msg"]).removeprefix("Value error, ").rstrip(".")
    message = _MAPPING.sub("keys with values", message.replace("a valid tuple", "a list"))
    if problem["type"] == UNSHOWN:
        return f"{where}{name} is no such thing: {message[:1].lower()}{message[1:]}."
    if not keys:  # the whole file: nobody reads it here
        return f"{where}{message[:1].lower()}{message[1:]}."
    return f"{where}{name} is {_shown(problem['input'])}: {message[:1].lower()}{message[1:]}."


def _spell_place(place: Place) -> str:
    return f"{place.file}, line {place.line}: " if place.line else f"{place.file}: "


def _tag_of(problem: Any) -> KeyPath:  # noqa: ANN401
    """Return the key that decides which of several models a mapping is."""
    return (str(problem["ctx"]["discriminator"]).strip("'"),)


def _no_tag(problem: Any) -> str:  # noqa: ANN401
    """Say what is wrong with that key, and what it may be."""
    context = problem["ctx"]
    if "tag" not in context:
        return "is missing."
    known = [tag.strip("' ") for tag in str(context["expected_tags"]).split(",")]
    near = difflib.get_close_matches(str(context["tag"]), known, n=1)
    step = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."
    return f"is {_shown(context['tag'])}, which there is not. {step}"


def _locate(
    location: tuple[str | int, ...],
    values: Any,  # noqa: ANN401
    kind: type[BaseModel],
    *,
    missing: bool,
) -> tuple[KeyPath, list[type[BaseModel]]]:
    """Return the keys that lead to a problem, and the models of which the last may be a field.

    Pydantic's locations also name members of unions, which stand in no file.
    """
    keys: KeyPath = ()
    types: list[Any] = [kind]
    holders: list[type[BaseModel]] = []
    for at, step in enumerate(location):
        models = [item for item in types if _is_model(item)]
        last = at == len(location) - 1
        if isinstance(values, dict) and (step in values or (last and missing)):
            holders, values = models, values.get(step)
            inner = [_fields(model)[step] for model in models if step in _fields(model)]
            types = [t for one in inner or [_items(t) for t in types] for t in _members(one)]
        elif isinstance(values, list) and isinstance(step, int) and step < len(values):
            holders, values = [], values[step]
            types = [member for one in types for member in _members(_items(one))]
        else:
            types = [model for model in models if step in _tags(model)] or types
            continue
        keys = (*keys, step)
    return keys, holders


def _is_model(kind: Any) -> bool:  # noqa: ANN401
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _fields(model: type[BaseModel]) -> dict[str | int, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _tags(model: type[BaseModel]) -> set[Any]:
    literals = (f.annotation for f in model.model_fields.values())
    return {model.__name__}.union(*(get_args(a) for a in literals if get_origin(a) is Literal))


def _items(kind: Any) -> Any:  # noqa: ANN401
    """Return what a collection is of: the last of its arguments that is a type."""
    arguments = [item for item in get_args(kind) if item is not Ellipsis]
    return arguments[-1] if arguments else None


def _members(kind: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield the members of a union, or what is none."""
    if get_origin(kind) is Annotated:
        yield from _members(get_args(kind)[0])
    elif get_origin(kind) in (Union, UnionType):
        for member in get_args(kind):
            yield from _members(member)
    else:
        yield kind


def _spell(keys: KeyPath) -> str:
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return text.removeprefix(".")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."
