"""Metadata as plain JSON: whatever a file says about itself, bounded."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any

from loragraft.rag.corpus.extracted import tidy

_MOST_VALUES = 2_000
"""Values in one document's metadata; aliases of YAML can mean billions."""

_DEEPEST = 8


class _TooMuch(Exception):
    """There are more values than anyone would write."""


def plain_metadata(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return values that JSON and a database can hold; nothing at all if they are endless."""
    budget = [_MOST_VALUES]
    try:
        found = _plain(values, 0, budget)
    except _TooMuch:
        return {}
    return found if isinstance(found, dict) else {}


def _plain(value: Any, depth: int, budget: list[int]) -> Any:  # noqa: ANN401
    budget[0] -= 1
    if budget[0] < 0 or depth > _DEEPEST:
        raise _TooMuch
    if value is None or isinstance(value, (bool, int)):
        return value if not isinstance(value, int) or abs(value) < 2**63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {tidy(str(k)): _plain(v, depth + 1, budget) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, depth + 1, budget) for item in value]
    return tidy(str(value))
