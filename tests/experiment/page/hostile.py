"""Texts that try to leave their place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

HOSTILE = (
    '"\'><script>window.broken = 1; alert(1)</script><img src=x onerror="alert(2)">'
    "</script></style><!--<script>&lt;b&gt;{{ 7 * 7 }}{% raw %}\x1b\u202e]]>"
)
_KEPT = frozenset(
    {"ok", "timeout", "missing", "win", "loss", "tie", "ungrounded", "fabricated citation", "share",
     "count", "seconds", "higher", "lower", "main", "diagnostic", "sanity", "promote", "reject",
     "undecided", "not a candidate", "blocked", "yes", "no", "open", "gating", "exploratory",
     "grounding_coverage", "task type", "paper", "paper in training", "t over papers"}
)  # fmt: skip
"""What the program itself says."""
_OPEN = ("experiments", "metrics", "missing", "passages", "scores", "values", "answers", "refused",
         "questions")  # fmt: skip
"""Fields whose keys come from outside."""


def hostile(value: Any, field: str = "") -> Any:  # noqa: ANN401 - dataclasses of any kind
    """Return the same with a hostile end on every text that comes from outside."""
    if isinstance(value, str):
        return value if not value or value in _KEPT else value + HOSTILE
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [one.name for one in dataclasses.fields(value)]
        return type(value)(**{name: hostile(getattr(value, name), name) for name in names})
    if isinstance(value, Mapping):
        keys = {key: hostile(key) if field in _OPEN else key for key in value}
        return {keys[key]: hostile(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(hostile(item) for item in value)
    return value
