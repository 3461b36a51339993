"""Raw rows for curation: invented posts and replies, some of which every rule drops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_THINGS = ("lantern", "harbour", "glacier", "orchard", "violin", "compass", "meadow", "kiln",
           "satellite", "reef", "anvil", "telescope", "quarry", "beehive", "windmill")  # fmt: skip
_DEEDS = ("measures", "carries", "hides", "repairs", "follows", "paints", "weighs", "answers",
          "crosses", "remembers", "opens", "counts", "lifts", "sharpens")  # fmt: skip
_ENDS = ("before the frost arrives", "while nobody counts the hours", "as the river bends north",
         "under a sky without clouds", "because the old map was wrong", "after the bell is heard",
         "until the last boat comes home", "where three roads meet")  # fmt: skip


def sentence(number: int) -> str:
    """Return a sentence of its own for every number below 1,680 squared."""
    first, rest = number % 1680, number // 1680
    parts = []
    for value in (first, (rest * 611 + first * 7) % 1680):
        thing, deed = _THINGS[value % 15], _DEEDS[value // 15 % 14]
        parts.append(f"the {thing} {deed} the {_THINGS[value * 7 % 15]} {_ENDS[value // 210]}")
    return f"In year {1000 + number} {parts[0]}, and {parts[1]}."


def make_row(number: int) -> dict[str, Any]:
    """Return a row that most rules let through; some numbers are broken in one way each."""
    row: dict[str, Any] = {
        "id": f"r{number}",
        "text": sentence(number),
        "likes": 5 + number % 90,
        "author": f"writer-{number % 40}",
    }
    if number % 11 == 3:
        row["text"] = sentence(number - 3).upper()
    if number % 13 == 5:
        del row["likes"]
    if number % 17 == 7:
        row["text"] = "so true"
    if number % 19 == 9:
        row["id"] = f"r{number - 9}"
    return row


def write_rows(path: Path, count: int, first: int = 0) -> Path:
    """Write a raw file."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(first, first + count):
            file.write(json.dumps(make_row(number), ensure_ascii=False) + "\n")
    return path


RULES = """
rules:
  - {kind: length, field: text, min: 20}
  - {kind: range, field: likes, min: 10}
  - {kind: per_author, field: author, max: 12}
  - {kind: exact_duplicates, field: text}
record: {kind: reply, id: id, task_type: {text: reply}, prompt: text, reply: text}
review: {sample: 5, seed: 3}
"""


def write_rules(path: Path, text: str = RULES) -> Path:
    """Write a rules file."""
    path.write_text(text, encoding="utf-8")
    return path
