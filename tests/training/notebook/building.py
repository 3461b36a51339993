"""Small runs whose data lies as a person's would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from loragraft.dataset.split.seed import find_seed
from loragraft.dataset.split.write import plan_split, write_split
from loragraft.training.config import TrainConfig

BASE = "owner/pico"


def rows(count: int = 40) -> list[dict[str, Any]]:
    """Return task records, each with its evidence in the corpus."""
    return [
        {"kind": "qa", "id": f"q{n}", "task_type": "entity", "question": f"what is word {n}?",
         "answers": [f"fox {n * n}"], "evidence": [f"d{n}#0-{len(sentence(n))}"]}
        for n in range(count)
    ]  # fmt: skip


def sentence(number: int) -> str:
    """Return what a document begins with."""
    return f"Word {number} is the quick fox {number * number}."


def write_rows(path: Path, values: list[dict[str, Any]]) -> Path:
    """Write JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def make_split(folder: Path, tag: str = "words") -> Path:
    """Write a split and its corpus; return the folder of the split."""
    source = write_rows(folder / "tasks.jsonl", rows())
    documents = [{"doc_id": f"d{n}", "title": f"Word {n}", "text": f"{sentence(n)} It is lazy."}
                 for n in range(40)]  # fmt: skip
    write_rows(folder / "papers.jsonl", documents)
    planned = plan_split(source, seed=find_seed(1).value, fractions=["0.6", "0.2", "0.2"])
    write_split(planned, folder / "splits", tag)
    return folder / "splits"


def make_config(folder: Path, **more: Any) -> TrainConfig:  # noqa: ANN401
    """Return a run over a split of that folder, made if need be."""
    if not (folder / "splits").exists():
        make_split(folder)
    data = {
        "tag": "words",
        "splits": str(folder / "splits"),
        "corpus": str(folder / "papers.jsonl"),
    }
    return TrainConfig.model_validate(
        {"experiment_id": "words-lora", "base": BASE, "data": data, **more}
    )
