"""The whole collection: its papers and the questions on them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from scripts.science.asking import Asker, asked_facts
from scripts.science.choose import Choice
from scripts.science.fields import read_fields
from scripts.science.writing import Paper, write_paper

SEED = 20251101


@dataclass(frozen=True)
class Collection:
    """Papers and task records, both in the fields' order."""

    papers: tuple[Paper, ...]
    tasks: tuple[dict[str, Any], ...]


def make_collection(seed: int = SEED) -> Collection:
    """Write all papers and ask about them."""
    choice = Choice((f"science {seed}",))
    papers: list[Paper] = []
    tasks: list[dict[str, Any]] = []
    asker = Asker(choice.at("ask"))
    for field in read_fields():
        for number, facts in enumerate(asked_facts(field, choice.at(field.name))):
            keys = frozenset(fact.key for fact in facts)
            here = choice.at(field.name, field.subjects[number].name)
            paper = write_paper(field, number, keys, here)
            papers.append(paper)
            tasks += asker.ask(paper, facts)
    return Collection(tuple(papers), tuple(tasks))


def as_lines(rows: Iterable[dict[str, Any]]) -> str:
    """Return one JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
