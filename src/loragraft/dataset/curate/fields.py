"""What stands at a dotted path of a row, read as text, number, time, truth or list.

Every reader returns None for what is missing or is nothing of its kind; it never fails, whatever
a scraper wrote.
"""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

_MONTHS = {name: number for number, name in enumerate(
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
)}  # fmt: skip
"""Not strptime's, which reads the names of the machine's language."""

_NUMBER = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,18})(?P<part>\.[0-9]{1,18})?"
    r"(?:\s?(?P<unit>[KkMmBb]))?",
    re.ASCII,
)
"""``1,234``, ``1.2K``, ``-3.5``: a comma divides thousands and nothing else. ``1,23`` and
``1.234.567`` are numbers of other countries, or none: they are not guessed."""
_UNITS = {"": 0, "k": 3, "m": 6, "b": 9}

_ISO = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ](?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)"
    r"(?P<part>[.,][0-9]{1,9})?\s?(?P<zone>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?",
    re.ASCII,
)
_TWITTER = re.compile(
    r"[A-Za-z]{3} (?P<month>[A-Za-z]{3}) (?P<day>[0-9]{1,2}) (?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2}) "
    r"(?P<zone>[+-][0-9]{4}) (?P<year>[0-9]{4})",
    re.ASCII,
)
"""``Wed Oct 10 20:19:24 +0000 2018``."""

_EARLIEST, _LATEST = 315_532_800.0, 4_102_444_800.0
"""1980 to 2100, in seconds since 1970: a number outside is no time that anybody posted at."""
_TIME_UNITS = (1.0, 1e3, 1e6)
"""Seconds, milliseconds, microseconds; their ranges of years do not overlap."""

_TRUE = frozenset({"true", "yes", "1"})
_FALSE = frozenset({"false", "no", "0"})
_LONGEST_PLAIN = 64
"""Characters of a text that may be a number or a time."""


def read(values: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return what stands at a dotted path, or None.

    A name that holds dots itself comes first; a number is a place in a list (``items.0.text``).
    """
    if path in values:
        return values[path]
    found: Any = values
    for name in path.split("."):
        if isinstance(found, Mapping):
            found = found.get(name)
        elif isinstance(found, list) and name.isdecimal() and name.isascii() and len(name) < 10:
            place = int(name)
            found = found[place] if place < len(found) else None
        else:
            return None
    return found


def read_texts(values: Mapping[str, Any], path: str) -> Sequence[str] | None:
    """Return the text at a path, or the texts of a list; None if there is none that says anything.

    A list counts where each of its items is a text.
    """
    found = read(values, path)
    if isinstance(found, str):
        return (found,) if found.strip() else None
    if isinstance(found, list) and found and all(isinstance(item, str) for item in found):
        return found if any(item.strip() for item in found) else None
    return None


def read_text(values: Mapping[str, Any], path: str) -> str | None:
    """Return the text at a path, those of a list as lines."""
    texts = read_texts(values, path)
    return None if texts is None else "\n".join(texts)


def read_key(values: Mapping[str, Any], path: str) -> str | None:
    """Return a name or a number as a text, to be compared; None for what is neither."""
    found = read(values, path)
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, int | float):
        whole = isinstance(found, float) and found.is_integer() and abs(found) < 1e15
        return str(int(found)) if whole else str(found)
    return (found.strip() or None) if isinstance(found, str) else None


def read_number(values: Mapping[str, Any], path: str) -> int | float | None:
    """Return the number at a path, also one that is spelled: ``1,234``, ``1.2K``, ``3M``."""
    return number_of(read(values, path))


def number_of(value: Any) -> int | float | None:  # noqa: ANN401
    """Return a value as a number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not isinstance(value, str) or len(value) > _LONGEST_PLAIN:
        return None
    match = _NUMBER.fullmatch(value.strip())
    return None if match is None else _spelled(match)


def _spelled(match: re.Match[str]) -> int | float:
    """Return a number exactly, as an integer where it is one."""
    digits, part = match["whole"].replace(",", ""), (match["part"] or ".")[1:]
    places = len(part) - _UNITS[(match["unit"] or "").lower()]
    whole, scale = int(match["sign"] + digits + part), int(10 ** abs(places))
    if places <= 0:
        return whole * scale
    return whole // scale if whole % scale == 0 else whole / scale


def read_flag(values: Mapping[str, Any], path: str) -> bool | None:
    """Return whether something is so; a list or an object is if it holds anything.

    So ``media: []`` says no, and ``media: [{...}]`` yes.
    """
    found = read(values, path)
    if isinstance(found, bool):
        return found
    if isinstance(found, list | dict):
        return bool(found)
    if isinstance(found, int | float):
        return bool(found) if found in (0, 1) else None
    word = found.strip().lower() if isinstance(found, str) and len(found) < 10 else ""
    return True if word in _TRUE else False if word in _FALSE else None


def read_seconds(values: Mapping[str, Any], path: str) -> float | None:
    """Return the time at a path in seconds since 1970.

    ISO 8601 (UTC where no zone is said), seconds, milliseconds or microseconds since 1970, and
    Twitter's ``Wed Oct 10 20:19:24 +0000 2018``.
    """
    return seconds_of(read(values, path))


def seconds_of(value: Any) -> float | None:  # noqa: ANN401
    """Return a value as a time."""
    if isinstance(value, str) and len(value) <= _LONGEST_PLAIN:
        text = value.strip()
        if match := _ISO.fullmatch(text):
            seconds = _of_parts(match["date"].split("-"), match["time"] or "00:00", match["zone"])
            part = float("0." + match["part"][1:]) if match["part"] else 0.0
            return None if seconds is None else seconds + part
        if match := _TWITTER.fullmatch(text):
            month = _MONTHS.get(match["month"].lower(), 0)
            date = (match["year"], str(month), match["day"])
            return _of_parts(date, match["time"], match["zone"])
        value = number_of(text) if "," not in text else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if abs(value) > _LATEST * _TIME_UNITS[-1]:
        return None
    found = (value / unit for unit in _TIME_UNITS)
    return next((seconds for seconds in found if _EARLIEST <= seconds <= _LATEST), None)


def _of_parts(date: Sequence[str], time: str, zone: str | None) -> float | None:
    year, month, day = map(int, date)
    hour, minute, second = (*map(int, time.split(":")), 0)[:3]
    in_month = year > 0 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]
    if not in_month or hour > 23 or minute > 59 or second > 60:
        return None
    seconds = calendar.timegm((year, month, day, hour, minute, second))
    digits = (zone or "Z").replace(":", "")
    if digits in "Zz":
        return float(seconds)
    hours, minutes = int(digits[1:3]), int(digits[3:] or 0)
    away = hours * 3600 + minutes * 60
    return None if hours > 23 or minutes > 59 else float(seconds - int(digits[0] + "1") * away)
