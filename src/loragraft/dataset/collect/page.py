"""Items of one page as lines of a file: each record once, without secrets."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from loragraft.dataset.tweets import IDS, look_up, read_id

_NO_RECORD = frozenset({"noResults", "demo"})
"""Fields by which tweet scrapers say that they found nothing, as an item of the data set."""


class Added(NamedTuple):
    """What became of a page.

    Attributes:
        records: New ones, written.
        taken: Items that were looked at; fewer than given where the limit was reached.
    """

    records: int
    taken: int


class Page:
    """Lines of one page and the ids behind them.

    Attributes:
        data: The lines.
        ids: What tells their records from others.
        taken: Items that were looked at.
        again: Those that were there already.
        empty: Those that were no records.
    """

    def __init__(self, known: Callable[[str], bool], hide: Callable[[str], str]) -> None:
        """Begin without lines.

        Args:
            known: Whether a record of an id was written before.
            hide: Takes secrets out of a text.
        """
        self._known, self._hide = known, hide
        self.data = bytearray()
        self.ids: list[str] = []
        self._here: set[str] = set()
        self.taken = self.again = self.empty = 0

    def take(self, items: Sequence[Any], limit: int | None = None) -> None:
        """Take items until there are so many new records."""
        for item in items:
            if limit is not None and len(self.ids) >= limit:
                return
            self.taken += 1
            if isinstance(item, dict) and item.keys() - _NO_RECORD:
                self._add(item)
            else:
                self.empty += 1

    def _add(self, item: Mapping[str, Any]) -> None:
        line = self._line(item)
        one = self._identify(item, line)
        if one in self._here or self._known(one):
            self.again += 1
            return
        self._here.add(one)
        self.ids.append(one)
        self.data += line

    def _line(self, item: Mapping[str, Any]) -> bytes:
        text = json.dumps(_finite(item), ensure_ascii=False, allow_nan=False)
        return self._hide(_whole(text)).encode() + b"\n"

    def _identify(self, item: Mapping[str, Any], line: bytes) -> str:
        """Return what tells a record from others: its id, or the hash of its line."""
        for path in IDS["id"]:
            if (found := read_id(look_up(item, path))) is not None:
                return self._hide(_whole(found))
        return "sha256:" + sha256(line)


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value with null for what JSON has no number for, though some servers send it."""
    if isinstance(value, dict):
        return {name: _finite(below) for name, below in value.items()}
    if isinstance(value, list):
        return [_finite(below) for below in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _whole(text: str) -> str:
    """Return a text in which halves of characters, which no file can hold, are marked as lost."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def sha256(data: bytes | bytearray) -> str:
    """Return the hash of some bytes."""
    return hashlib.sha256(data).hexdigest()
