"""A small series on a real embedder: pairs of texts, answered in a moment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from loragraft.artifact.jsonl import write_jsonl
from loragraft.experiment.config import SeriesConfig, load_series
from tests.support.small_index import WORDS


def pair(number: int, label: float | None = None) -> dict[str, Any]:
    """Return a record of the kind ``embedding``; those of even numbers are alike."""
    a = f"the {WORDS[number % 10]} of {WORDS[number // 10 % 10]} {number}"
    b = a if number % 2 == 0 else f"a {WORDS[(number + 5) % 10]} without it"
    value = float(number % 2 == 0) if label is None else label
    return {"kind": "embedding", "id": f"pair-{number:03d}", "task_type": "pairs", "a": a, "b": b,
            "label": value, "paper_id": f"paper-{number // 10}"}  # fmt: skip


def write_pairs(path: Path, count: int) -> Path:
    """Write so many pairs."""
    write_jsonl(path, map(pair, range(count)))
    return path


def write_config(folder: Path, values: Mapping[str, Any]) -> Path:
    """Write a series' configuration."""
    path = folder / "series.yaml"
    path.write_text(yaml.safe_dump(dict(values), sort_keys=False), encoding="utf-8")
    return path


def embedding_values(embedder: Path, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the values of a series with one embedder in two experiments."""
    engine = {"kind": "embedder", "model": str(embedder)}
    experiments = {name: {"task": "embedding", "engine": engine} for name in ("first", "second")}
    return {"series": "pairs", "size": "small", "data": {"files": ["pairs.jsonl"]},
            "experiments": experiments, "baseline": "first", "aliases": {"base": "first"},
            "outputs": "outputs", **changes}  # fmt: skip


def embedding_series(folder: Path, embedder: Path, count: int, **changes: Any) -> Path:  # noqa: ANN401
    """Write pairs and a series over them; return its configuration's path."""
    write_pairs(folder / "pairs.jsonl", count)
    return write_config(folder, embedding_values(embedder, **changes))


def loaded(path: Path, *changes: str) -> SeriesConfig:
    """Return a series."""
    return load_series(path, changes)


def question(number: int) -> dict[str, Any]:
    """Return a record of the kind ``qa``."""
    return {"kind": "qa", "id": f"q-{number:03d}", "task_type": "numeric",
            "question": f"How many stones has the house number {number}?",
            "answers": [f"{number} stones"], "paper_id": f"paper-{number // 5}"}  # fmt: skip


def qa_series(folder: Path, url: str, count: int, **changes: Any) -> Path:  # noqa: ANN401
    """Write questions and a series of two experiments on an endpoint; return its path."""
    write_jsonl(folder / "questions.jsonl", map(question, range(count)))
    engine = {"kind": "openai", "url": f"{url}/v1", "key": None, "timeout": 0.5, "retries": 0}
    experiments = {
        name: {"task": "qa", "engine": {**engine, "model": name}} for name in ("steady", "shaky")
    }
    return write_config(
        folder,
        {"series": "houses", "data": {"files": ["questions.jsonl"]}, "experiments": experiments,
         "baseline": "steady", "sampling": {"max_tokens": 16}, "outputs": "outputs",
         "metrics": {"groups": ["sanity"]}, **changes},
    )  # fmt: skip
