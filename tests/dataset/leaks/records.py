"""Invented records, and splits of them that are clean."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def qa(name: str, question: str, *answers: str, evidence: Sequence[str] = ()) -> Row:
    """Return a question with its answers."""
    return {
        "id": name,
        "kind": "qa",
        "task_type": "fact",
        "question": question,
        "answers": list(answers) or ["yes"],
        "evidence": list(evidence),
    }


def reply(name: str, prompt: str, text: str) -> Row:
    """Return a post with its reply."""
    return {"id": name, "kind": "reply", "task_type": "chat", "prompt": prompt, "reply": text}


def score(name: str, label: float, **fields: str) -> Row:
    """Return fields with a label."""
    return {"id": name, "kind": "score", "task_type": "rule", "fields": fields, "label": label}


def pair(name: str, a: str, b: str) -> Row:
    """Return two texts that belong together."""
    return {"id": name, "kind": "embedding", "task_type": "pair", "a": a, "b": b, "label": 1.0}


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    """Write JSON lines."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def write_splits(folder: Path, splits: Mapping[str, Sequence[Row]]) -> dict[str, Path]:
    """Write a file for each split."""
    folder.mkdir(parents=True, exist_ok=True)
    return {name: write_rows(folder / f"{name}.jsonl", rows) for name, rows in splits.items()}


TRAIN = (
    qa("t1", "At which temperature does the alloy velorin melt?", "412 K", "412 kelvin"),
    qa("t2", "Which instrument did the Orsk expedition bring to lake Tamber?", "Halden sonde"),
    qa("t3", "Is tessarite softer than chalk?", "no"),
    qa("t4", "How many nests of the blue marsh warbler stood on Skerry isle in spring?", "4,312"),
    qa("t5", "Who first drew a map of the caves below Brannock?", "Ilse Maren Dovrey"),
    qa("t6", "What colour has a solution of kestrite in water?", "pale green"),
)
VAL = (
    qa("v1", "Which gas leaves the vents of mount Orrun at night?", "hydrogen sulphide"),
    qa("v2", "Does the fern Lomaria vessa grow in the shade of its own leaves?", "yes"),
)
TEST = (
    qa("x1", "How long does a queen of the amber wasp live in captivity?", "31 months"),
    qa("x2", "Which resin seals the hull of the research ship Nerine?", "Tolvane pitch"),
    qa("x3", "Does pressure change how fast brinestone dissolves?", "no"),
    qa("x4", "From which valley come the seeds that Dr. Aumont planted?", "the valley of Sorrel"),
)
"""Three splits that give nothing away of each other."""


def planted(**more: Row) -> dict[str, list[Row]]:
    """Return the clean splits, each with a row more where one is given."""
    clean = {"train": TRAIN, "val": VAL, "test": TEST}
    return {name: [*rows, *([more[name]] if name in more else [])] for name, rows in clean.items()}
