"""Samples and scores as JSON values, and back: what is read is what its type says, or refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar, get_args

from loragraft.artifact.metadata import plain
from loragraft.engine.protocol import Finish, Message
from loragraft.errors import InputError
from loragraft.experiment.records import (
    UNCOUNTABLE,
    PassageShown,
    Retrieved,
    Sample,
    Score,
    Status,
)
from loragraft.experiment.run_numbers import LARGEST, numbers_in

LONGEST_TEXT = 1_000_000
"""Characters of an answer that are kept: no model of ours writes so many, and a line of a file
must fit into what is read at once."""
CLIPPED = "clipped"
"""What ``extra`` says of an answer of which only the beginning was kept."""

T = TypeVar("T")


def sample_json(sample: Sample) -> dict[str, Any]:
    """Return JSON values of which :func:`parse_sample` makes the sample again.

    Half characters, which no text of a file can hold, become U+FFFD; numbers that are not finite
    become null, in ``extra`` their names.
    """
    values = asdict(_clipped(sample))
    for name in _NUMBERS:
        values[name] = _finite_or_none(values[name])
    whole: dict[str, Any] = _whole(plain(values))
    return whole


def score_json(score: Score) -> dict[str, Any]:
    """Return JSON values of which :func:`parse_score` makes the score again."""
    whole: dict[str, Any] = _whole(plain(asdict(score)))
    return whole


def _clipped(sample: Sample) -> Sample:
    texts = {name: getattr(sample, name) for name in ("raw", "thinking", "answer", "error")}
    if all(len(text) <= LONGEST_TEXT for text in texts.values()):
        return sample
    cut = {name: text[:LONGEST_TEXT] for name, text in texts.items()}
    return replace(sample, **cut, extra={**sample.extra, CLIPPED: True})


def _finite_or_none(value: Any) -> Any:  # noqa: ANN401
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _whole(value: Any) -> Any:  # noqa: ANN401
    """Replace half surrogates in all texts of JSON values."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value


def whole_text(text: str) -> str:
    """Return a text that UTF-8 can spell: half a character becomes U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def parse_sample(values: Mapping[str, Any]) -> Sample:
    """Make a sample of JSON values; keys that it does not know are passed over.

    Raises:
        InputError: If a field is missing or is not what it should be, as a sentence.
    """
    read = _Fields(values)
    simple: dict[str, Any] = {
        **{name: read.text(name) for name in _TEXTS},
        **{name: read.number(name) for name in _NUMBERS},
        **{name: read.optional(name, int) for name in ("seed", "prompt_tokens", "tokens")},
        **{name: read.count(name) for name in ("repeat", "attempts", "tries")},
    }
    return Sample(
        **simple,
        paper_id=read.optional("paper_id", str),
        status=read.one_of("status", get_args(Status)),
        finish=read.one_of("finish", (*get_args(Finish), None)),
        messages=read.items("messages", _message),
        retrieved=read.items("retrieved", lambda item: Retrieved(**_fitting(item, Retrieved))),
        shown=read.items("shown", lambda item: PassageShown(**_fitting(item, PassageShown))),
        citations=read.items("citations", _citation),
        extra=read.mapping("extra"),
    )


def parse_score(values: Mapping[str, Any]) -> Score:
    """Make a score of JSON values.

    Raises:
        InputError: If a field is missing or is not what it should be, as a sentence.
    """
    read = _Fields(values)
    score = Score(
        read.text("question_id"),
        read.count("repeat"),
        read.text("metric"),
        read.one_of("status", get_args(Status)),
        read.number("value"),
        read.mapping("detail"),
    )
    if (score.status == "ok") != (score.value is not None):
        raise InputError(f"A score with the status {score.status} has the value {score.value}.")
    return score


_TEXTS = ("experiment", "question_id", "task_type", "raw", "thinking", "answer", "error", "record")
_NUMBERS = ("parsed", "first_seconds", "seconds", "cost")


class _Fields:
    """Fields of one object, each checked."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def _refuse(self, name: str, expected: str) -> InputError:
        found = repr(self._values[name])[:60] if name in self._values else "missing"
        return InputError(f'The field "{name}" is {found}; expected {expected}.')

    def text(self, name: str) -> str:
        value = self._values.get(name)
        if not isinstance(value, str):
            raise self._refuse(name, "a text")
        return value

    def count(self, name: str) -> int:
        value = self._values.get(name)
        if type(value) is not int or not 0 <= value < UNCOUNTABLE:
            raise self._refuse(name, "a number of things")
        return value

    def number(self, name: str) -> float | None:
        value = self._values.get(name)
        if value is None:
            return None
        number = _number(value)
        if number is None:
            raise self._refuse(name, "a number or null")
        return number

    def optional(self, name: str, kind: type[T]) -> T | None:
        value = self._values.get(name)
        if value is None:
            return None
        if type(value) is not kind or (isinstance(value, int) and abs(value) >= UNCOUNTABLE):
            raise self._refuse(name, f"{kind.__name__} or null")
        return value

    def one_of(self, name: str, known: tuple[Any, ...]) -> Any:  # noqa: ANN401
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            raise self._refuse(name, "a word")
        if value not in known:
            raise self._refuse(name, f"one of {', '.join(map(str, known))}")
        return value

    def items(self, name: str, make: Callable[[Any], T]) -> tuple[T, ...]:
        value = self._values.get(name)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._refuse(name, "a list of objects")
        try:
            return tuple(make(item) for item in value)
        except (TypeError, KeyError) as error:
            raise self._refuse(name, f"other fields ({error})") from None

    def mapping(self, name: str) -> Mapping[str, Any]:
        value = self._values.get(name)
        if not isinstance(value, dict):
            raise self._refuse(name, "an object")
        if _holds_endless(value):
            raise self._refuse(name, "an object without endless numbers")
        return value


def _message(item: Mapping[str, Any]) -> Message:
    role, content = item["role"], item["content"]
    if not isinstance(role, str) or not isinstance(content, str):
        raise TypeError("role and content are texts")
    return {"role": role, "content": content}


def _holds_endless(values: Mapping[str, Any]) -> bool:
    """Whether a whole number lies among values, however deep, that no computation takes."""
    return any(isinstance(one, int) and abs(one) > LARGEST for _, one in numbers_in(values))


def _citation(item: Mapping[str, Any]) -> Mapping[str, Any]:
    if _holds_endless(item):
        raise TypeError("an endless number")
    return dict(item)


def _fitting(item: Mapping[str, Any], kind: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the values of a record's fields, each of the type that its annotation names."""
    fields = {}
    for name, wanted in kind.__annotations__.items():
        value = item[name]
        allowed = {"str": (str,), "int": (int,), "float": (int, float)}[wanted]
        number = _number(value) if wanted != "str" else None
        if type(value) not in allowed or (wanted != "str" and number is None):
            raise TypeError(f"{name} is {value!r}"[:60])
        fields[name] = number if wanted == "float" else value
    return fields


def _number(value: object) -> float | None:
    """Return a finite number; None of anything else, and of a whole one that no float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int) and abs(value) >= UNCOUNTABLE:
        return None
    return float(value) if math.isfinite(value) else None
