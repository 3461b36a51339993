"""What a user sets of a Modelfile: by flags or in a YAML file; a typo fails at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from loragraft.checkpoint.files import read_small
from loragraft.errors import InputError
from loragraft.ollama.modelfile import check_role
from loragraft.ollama.parameters import STOP, Value, check_parameter, parse_value

MAX_BYTES = 4 << 20
"""Of a YAML file: a license and a template are some hundred kB at most."""


class Turn(BaseModel):
    """One MESSAGE."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    role: str
    content: str

    @field_validator("role")
    @classmethod
    def _speaks(cls, role: str) -> str:
        try:
            return check_role(role)
        except InputError as error:
            raise ValueError(str(error)) from None


class Overrides(BaseModel):
    """What takes the place of what a bundle gives by itself.

    Attributes:
        template: Go template in the place of the translated one.
        system: System prompt where a conversation brings none.
        parameters: Ollama's parameters; ``stop`` is a list and is added to the model's own.
        license: Texts.
        messages: Turns before every conversation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    template: str | None = None
    system: str | None = None
    parameters: Mapping[str, Any] = {}
    license: tuple[str, ...] = ()
    messages: tuple[Turn, ...] = ()

    @field_validator("license", "messages", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        if isinstance(value, str):
            return (value,)
        return tuple(value) if isinstance(value, list) else value

    @field_validator("parameters")
    @classmethod
    def _known(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            for name, item in value.items():
                for one in item if name == STOP and isinstance(item, list | tuple) else [item]:
                    check_parameter(name, one)
        except InputError as error:
            raise ValueError(str(error)) from None
        return value

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end an answer, beside the model's own."""
        given = self.parameters.get(STOP, ())
        return (given,) if isinstance(given, str) else tuple(given)

    @property
    def plain(self) -> dict[str, Value]:
        """The parameters but the stop texts, each of its type."""
        return {
            name: check_parameter(name, value)
            for name, value in self.parameters.items()
            if name != STOP
        }

    def joined(self, other: Overrides) -> Overrides:
        """Return these with another's put over them; stops, licenses and messages are added up."""
        return Overrides(
            template=self.template if other.template is None else other.template,
            system=self.system if other.system is None else other.system,
            parameters={
                **self.parameters,
                **other.parameters,
                **({STOP: [*self.stops, *other.stops]} if self.stops or other.stops else {}),
            },
            license=(*self.license, *other.license),
            messages=(*self.messages, *other.messages),
        )


def make_overrides(values: Mapping[str, Any], source: str) -> Overrides:
    """Check what was given.

    Raises:
        InputError: Naming each field that is unknown or of another type.
    """
    try:
        return Overrides.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{source}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    said = []
    for problem in error.errors():
        where = ".".join(map(str, problem["loc"])) or "the whole"
        words = problem["msg"].removeprefix("Value error, ").rstrip(".")
        if problem["type"] == "extra_forbidden":
            words = f"is unknown; known are {', '.join(Overrides.model_fields)}"
        said.append(f"{where}: {words}.")
    return " ".join(said)


def load_overrides(path: Path) -> Overrides:
    """Read overrides from a YAML file.

    Raises:
        InputError: If it cannot be read, is no YAML, or holds something unknown.
    """
    import yaml

    try:
        value = yaml.safe_load(read_small(path, MAX_BYTES).decode("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path} is no YAML: {' '.join(str(error).split())}.") from None
    if value is None:
        value = {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{path} holds no names with values. Write, say: system: Be brief.")
    return make_overrides(value, str(path))


def from_flags(
    *,
    template: Path | None = None,
    system: str | None = None,
    parameters: Sequence[str] = (),
    licenses: Sequence[Path] = (),
    messages: Sequence[tuple[str, str]] = (),
) -> Overrides:
    """Return what the command line's options say.

    Args:
        template: File of a Go template.
        system: System prompt.
        parameters: Each as NAME=VALUE.
        licenses: Files.
        messages: Role and text.

    Raises:
        InputError: If a file cannot be read or a parameter is none.
    """
    values: dict[str, Any] = {"system": system, "license": [_text(path) for path in licenses]}
    if template is not None:
        values["template"] = _text(template)
    values["parameters"] = _parameters(parameters)
    values["messages"] = [{"role": role, "content": text} for role, text in messages]
    return make_overrides(values, "The command line")


def _parameters(given: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--parameter {text!r} has no value: give NAME=VALUE.")
        if name == STOP:
            found.setdefault(STOP, []).append(value)
        else:
            found[name] = parse_value(name, value)
    return found


def _text(path: Path) -> str:
    try:
        return read_small(path, MAX_BYTES).decode("utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as text: {error}.") from None
