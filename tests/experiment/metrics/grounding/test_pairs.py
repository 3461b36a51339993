"""The labelled pairs, and that the test is as good on those it never saw as the docs say."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from loragraft.errors import InputError
from loragraft.experiment.metrics.grounding.opening import open_support
from loragraft.experiment.metrics.grounding.overlap import OverlapSupport

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parents[4] / "benchmarks/grounding/pairs.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]
NEAR_MISSES = {
    "number", "entity", "unit", "negation", "antonym", "roles", "hedging", "cause", "scope",
}  # fmt: skip
LEAST_BY_WORDS = 0.68
"""Of the held-out half, without an embedder: 71 % when this was written (docs/grounding.md)."""


def name(row: dict[str, str]) -> str:
    """Return the name of a pair's passage."""
    return row["id"].rpartition("-")[0]


def test_there_are_enough() -> None:
    """200 pairs, 60 near misses, both labels, no pair twice."""
    assert len(ROWS) >= 200
    assert len({row["id"] for row in ROWS}) == len(ROWS)
    assert len({(row["sentence"], row["passage"]) for row in ROWS}) == len(ROWS)
    assert sum(row["kind"] in NEAR_MISSES for row in ROWS) >= 60
    assert not any(row["supported"] for row in ROWS if row["kind"] in NEAR_MISSES)
    assert min(Counter(row["supported"] for row in ROWS).values()) > 150


def test_halves_follow_from_the_names() -> None:
    """A passage is in one half; nobody chose which. What was added later is in the tune half."""
    first = [row for row in ROWS if row.get("round", 1) == 1]
    order = sorted(
        {name(row) for row in first}, key=lambda one: hashlib.sha256(one.encode()).digest()
    )
    halves = {one: ("tune", "held_out")[number % 2] for number, one in enumerate(order)}
    assert all(row["half"] == halves[name(row)] for row in first)
    assert all(count > 200 for count in Counter(row["half"] for row in first).values())
    added = [row for row in ROWS if row.get("round", 1) == 2]
    assert len(added) >= 120
    assert {row["half"] for row in added} == {"tune"}
    assert not {name(row) for row in added} & {name(row) for row in first}


def test_accuracy_on_pairs_that_no_threshold_saw() -> None:
    """By words alone, which is the weaker of both ways."""
    held_out = [row for row in ROWS if row["half"] == "held_out"]
    judged = OverlapSupport().supported([(row["sentence"], row["passage"]) for row in held_out])
    right = sum(found.supported is row["supported"]
                for found, row in zip(judged, held_out, strict=True))  # fmt: skip
    assert right / len(held_out) >= LEAST_BY_WORDS


def test_opening() -> None:
    """Each kind opens its own, and says what is missing."""
    assert open_support("overlap").name == "overlap"
    judge = OverlapSupport()
    assert open_support("judge", judge=lambda: judge) is judge
    with pytest.raises(InputError, match="nli"):
        open_support("nli")
    with pytest.raises(InputError, match="judge"):
        open_support("judge")
