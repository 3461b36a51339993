"""Numbers of a ``run.json``: finite and within bounds, or refused by the name of their field."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loragraft.errors import InputError
from loragraft.experiment.records import MOST_REPEATS, UNCOUNTABLE

LARGEST = 2**64
"""No whole number of a run is larger: seeds and sizes of files have 64 bits."""
_SHOWN = 40
_STEP = (
    "Put the file back from a copy, or ask everything anew: loragraft experiment run CONFIG "
    "--restart."
)


def check_numbers(path: Path, values: Mapping[str, Any]) -> None:
    """Refuse a run that holds a number with which nothing can be computed.

    Args:
        path: The file, for messages.
        values: What it holds.

    Raises:
        InputError: Naming file, field, what was found and what is expected.
    """
    for name, number in numbers_in(values):
        if not math.isfinite(number) if isinstance(number, float) else abs(number) > LARGEST:
            raise _refused(path, name, number, "a finite number of at most 64 bits")
    if not 1 <= values["repeats"] <= MOST_REPEATS:
        raise _refused(path, "repeats", values["repeats"], f"1 to {MOST_REPEATS}")
    if values["total"] < 0:
        raise _refused(path, "total", values["total"], "0 or more")
    for key, value in values["load"].items():
        if value is None and key == "peak_bytes":  # of a server nobody knows
            continue
        if type(value) not in (int, float) or not 0 <= value < UNCOUNTABLE:
            raise _refused(path, f"load.{key}", value, "a finite number, 0 or more")


def numbers_in(values: Mapping[str, Any]) -> Iterator[tuple[str, int | float]]:
    """Yield all numbers with the names of their fields, however deep they lie."""
    waiting: list[tuple[str, Any]] = [("", values)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{name}.{key}" if name else key, item) for key, item in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{name}[{at}]", item) for at, item in enumerate(value)]
        elif isinstance(value, int | float):
            yield name, value


def _refused(path: Path, name: str, found: object, expected: str) -> InputError:
    text = repr(found)
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return InputError(f"{path}: the field {name[:200]} is {shown}; expected {expected}. {_STEP}")
