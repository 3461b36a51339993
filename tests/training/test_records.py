"""Records of one kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from loragraft.artifact.hashing import sha256_file
from loragraft.dataset.records import Qa, Score
from loragraft.errors import InputError
from loragraft.training.config import DataConfig, TrainConfig
from loragraft.training.records import data_facts, read_kind


def score(name: str, label: float = 1.0) -> dict[str, Any]:
    return {"kind": "score", "id": name, "task_type": "t", "fields": {"body": name}, "label": label}


def qa(name: str) -> dict[str, Any]:
    return {"kind": "qa", "id": name, "task_type": "q", "question": f"{name}?", "answers": ["a"]}


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config(**data: Any) -> TrainConfig:  # noqa: ANN401
    return TrainConfig(
        experiment_id="x", task="sequence-classification", base="b", data=DataConfig(**data)
    )


def test_records_of_other_kinds_are_counted(tmp_path: Path) -> None:
    talk = {"messages": [{"role": "assistant", "content": "Hello."}]}
    file = write(tmp_path / "a.jsonl", [score("a"), qa("q"), score("b", 0.0), talk])
    read = read_kind(config(train=(file,)), "train", Score)
    assert [record.id for record in read.records] == ["a", "b"]
    assert read.facts["left_out"] == {"conversations": 1, "kind qa": 1}
    assert read.facts["task_types"] == {"t": 2}
    told = data_facts({"train": read}, read.records)
    digest = sha256_file(file)
    assert told["files"] == [{"part": "train", "name": "a.jsonl", "sha256": digest, "rows": 4}]
    other = data_facts({"train": read}, read.records[:1])
    assert told["examples_sha256"] != other["examples_sha256"]


def test_a_limit_is_told(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [score(f"r{n}") for n in range(9)])
    read = read_kind(config(train=(file,), max_train=2), "train", Score)
    assert read.facts["records"] == len(read.records) == 2
    assert read.facts["left_out"] == {"beyond the most": 7}


def test_no_validation_is_no_record(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [score("a")])
    assert read_kind(config(train=(file,)), "validation", Score).records == ()


def test_data_of_another_task_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [score("a")])
    with pytest.raises(InputError, match=r"no records of the kind qa \(kind score: 1\)"):
        read_kind(config(train=(file,)), "train", Qa)
