"""The parameters of a model in Ollama: names, types, and how servers show them.

Names and types are those of ``api.Options`` in Ollama's source (0.24 to 0.32). They are checked
here because the server's API stores anything, and a wrong one only breaks the first chat.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from loragraft.engine.ollama_shown import Shown
from loragraft.errors import InputError

Value = str | int | float | bool
"""A parameter's value; ``stop`` stands once for each text."""

STOP = "stop"
KINDS: Mapping[str, type] = {
    "num_ctx": int,
    "num_predict": int,
    "num_keep": int,
    "seed": int,
    "temperature": float,
    "repeat_penalty": float,
    "repeat_last_n": int,
    "presence_penalty": float,
    "frequency_penalty": float,
    "top_k": int,
    "top_p": float,
    "min_p": float,
    "num_batch": int,
    "num_gpu": int,
    "main_gpu": int,
    "num_thread": int,
    "use_mmap": bool,
    STOP: str,
}
"""What a model may set, with its type."""
GONE = frozenset(
    {"penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock", "mirostat",
     "mirostat_tau", "mirostat_eta", "tfs_z", "typical_p", "numa", "num_gqa", "embedding_only",
     "rope_frequency_base", "rope_frequency_scale"}
)  # fmt: skip
"""What older versions knew and newer ones ignore or refuse."""

_MAX_INT = 2**63 - 1


def check_parameter(name: str, value: object) -> Value:
    """Return a value as the parameter's type.

    Raises:
        InputError: If there is no such parameter, or the value does not fit it.
    """
    kind = KINDS.get(name)
    if kind is None:
        how = "is no longer read by Ollama" if name in GONE else "is no parameter of Ollama"
        raise InputError(f"{name!r} {how}. Known ones: {', '.join(sorted(KINDS))}.")
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise InputError(
            f"The parameter {name} has the value {value!r}; {_word(kind)} was expected."
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"The parameter {name} is {value}; a finite number was expected.")
    if isinstance(value, int) and not -_MAX_INT <= value <= _MAX_INT:
        raise InputError(f"The parameter {name} is {value}, which no server can hold.")
    if value == "":
        raise InputError("A stop text is empty: it would end every answer at once. Leave it out.")
    return value  # type: ignore[return-value]


def parse_value(name: str, text: str) -> Value:
    """Read a value as it stands in a Modelfile or on a command line.

    Raises:
        InputError: As :func:`check_parameter`.
    """
    kind = KINDS.get(name, str)
    value: object = text
    try:
        if kind is bool:
            value = {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        elif kind is not str:
            value = kind(text)
    except (ValueError, KeyError):
        raise InputError(
            f"The parameter {name} has the value {text!r}; {_word(kind)} was expected."
        ) from None
    return check_parameter(name, value)


def format_value(value: Value) -> str:
    """Spell a number or a truth value as Modelfiles have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _word(kind: type) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[kind]


def as_request(parameters: Iterable[tuple[str, Value]]) -> dict[str, Any]:
    """Return parameters as the API takes them: stop texts as one list."""
    request: dict[str, Any] = {}
    for name, value in parameters:
        checked = check_parameter(name, value)
        if name == STOP:
            request.setdefault(STOP, []).append(checked)
        else:
            request[name] = checked
    return request


def as_shown(parameters: Iterable[tuple[str, Value]]) -> Shown:
    """Return parameters in the form of :func:`parse_shown`, for comparing with it."""
    found: Shown = Shown()
    for name, value in parameters:
        found[name, float(value) if type(value) in (int, float) else value] += 1
    return found


def describe(shown: Shown) -> str:
    """Spell parameters for people, such as ``num_ctx 8192, stop "</s>"``."""
    return ", ".join(
        f"{name} {value!r}" if isinstance(value, str) else f"{name} {value:g}"
        for name, value in sorted(shown.elements(), key=str)
    )
