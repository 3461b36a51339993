"""Which documents may answer: ``year>=2010``, ``author~smith``, one after the other."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loragraft.errors import InputError
from loragraft.rag.index.dense import Rows
from loragraft.rag.index.store import Index

_FORM = re.compile(r"(?P<key>[^=!<>~]*)(?P<operator>!=|>=|<=|=|<|>|~)(?P<value>.*)", re.DOTALL)
OPERATORS = ("=", "!=", ">=", "<=", ">", "<", "~")
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b, "<": lambda a, b: a < b,
}  # fmt: skip
_SHOWN_KEYS = 20
_DOC_ID, _TITLE = "doc_id", "title"
_PAGE, _LAST_PAGE = "page", "last_page"
_MOST_PAGES = 1000
"""Pages of one chunk; what says more is no chunk of ours."""


@dataclass(frozen=True)
class Filter:
    """One condition on a chunk's metadata, its document's id or title.

    Attributes:
        key: Of the metadata; a dot leads into objects; ``doc_id`` and ``title`` are there always.
        operator: ``=`` and ``!=`` compare without upper and lower case, numbers by their value;
            ``>=``, ``<=``, ``>`` and ``<`` numbers, or texts (dates) where the value is none;
            ``~`` finds the value inside.
        value: As it was written.
    """

    key: str
    operator: str
    value: str

    def __str__(self) -> str:
        """Return it as a person writes it."""
        return f"{self.key}{self.operator}{self.value}"

    def accepts(self, metadata: Mapping[str, Any]) -> bool:
        """Whether metadata fulfil it. Of a list one element is enough, but ``!=`` wants all."""
        values = list(_values(metadata, self.key))
        if self.operator == "!=":
            return not any(_equal(value, self.value) for value in values)
        return any(self._fits(value) for value in values)

    def _fits(self, value: object) -> bool:
        if self.operator == "=":
            return _equal(value, self.value)
        if self.operator == "~":
            return self.value.casefold() in _text(value).casefold()
        return _ordered(value, self.value, _ORDERS[self.operator])


def parse_filter(text: str) -> Filter:
    """Read a filter such as ``year>=2010``.

    Raises:
        InputError: If it has no key or no operator.
    """
    match = _FORM.fullmatch(text)
    if match is None or not match["key"].strip():
        raise InputError(
            f"{text[:80]!r} is no filter. Write KEY=VALUE, or one of "
            f"{', '.join(OPERATORS[1:])} instead of =, for instance 'year>=2010'."
        )
    return Filter(match["key"].strip(), match["operator"], match["value"].strip())


def _values(metadata: Mapping[str, Any], key: str) -> Iterator[object]:
    """Yield the values of a key, those of a list one by one."""
    value: Any = metadata.get(key)
    if value is None and "." in key:
        value = metadata
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, (list, tuple)):
        yield from value
    elif value is not None:
        yield value


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _equal(value: object, wanted: str) -> bool:
    if _text(value).casefold() == wanted.casefold():
        return True
    number = _number(value)
    return number is not None and number == _number(wanted)


def _ordered(value: object, wanted: str, order: Callable[[Any, Any], bool]) -> bool:
    limit = _number(wanted)
    if limit is None:
        return isinstance(value, str) and order(value.casefold(), wanted.casefold())
    number = _number(value)
    return number is not None and order(number, limit)


def matching_rows(index: Index, filters: Sequence[Filter]) -> Rows:
    """Return the rows of all chunks that fulfil every filter, rising.

    Raises:
        InputError: If no chunk has a key that a filter names; those that are known are named.
    """
    missing, known = {one.key for one in filters}, {_DOC_ID, _TITLE}
    rows, accepted, last = list[int](), False, None
    for row, doc_id, title, metadata in index.store.described():
        if metadata is not last:
            last, described = metadata, {_DOC_ID: doc_id, _TITLE: title, **_paged(metadata)}
            known |= metadata.keys()
            missing -= {key for key in missing if any(True for _ in _values(described, key))}
            accepted = all(one.accepts(described) for one in filters)
        if accepted:
            rows.append(row)
    if missing:
        raise _unknown(sorted(missing), known)
    return np.sort(np.asarray(rows, np.int64))


def _paged(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return metadata where a chunk that reaches over pages is on each of them."""
    first, end = metadata.get(_PAGE), metadata.get(_LAST_PAGE)
    if type(first) is int and type(end) is int and 0 < end - first <= _MOST_PAGES:
        return {**metadata, _PAGE: list(range(first, end + 1))}
    return metadata


def _unknown(missing: Sequence[str], known: Iterable[str]) -> InputError:
    names = sorted(known)
    close = difflib.get_close_matches(missing[0], names, 1)
    guess = f" Did you mean {close[0]}?" if close else ""
    more = ", …" if len(names) > _SHOWN_KEYS else ""
    return InputError(
        f"No document has the key {missing[0]!r} that a filter names.{guess} The index knows "
        f"{', '.join(names[:_SHOWN_KEYS])}{more}."
    )
