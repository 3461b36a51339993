"""Which files and records a run learns from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from loragraft.artifact.hashing import sha256_file
from loragraft.dataset.records import Qa, Score
from loragraft.dataset.split.write import plan_split, write_split
from loragraft.errors import InputError
from loragraft.training.config import DataConfig, TrainConfig
from loragraft.training.records import chosen, data_files, read_kind

SEED = 20251101


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


def test_a_split_gives_train_and_validation_and_never_test(tmp_path: Path) -> None:
    source = write(tmp_path / "all.jsonl", [qa(f"q{n}") for n in range(40)])
    write_split(plan_split(source, seed=SEED), tmp_path / "splits", "t")
    data = DataConfig(tag="t", splits=tmp_path / "splits")
    (test,) = (tmp_path / "splits").glob("t_test*")
    test.unlink()  # what is not there cannot have been opened
    names = [file.name for part in ("train", "validation") for file in data_files(data, part)]
    assert names == ["t_train.jsonl", "t_val.jsonl"]


def test_without_validation_there_is_no_file(tmp_path: Path) -> None:
    data = DataConfig(train=(write(tmp_path / "a.jsonl", [qa("q")]),))
    assert data_files(data, "validation") == ()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.jsonl is no file"):
        data_files(DataConfig(train=(tmp_path / "gone.jsonl",)), "train")


def test_a_choice_depends_on_the_seed_and_the_names_only() -> None:
    names = [f"r{n}" for n in range(50)]
    first = chosen(names, 10, SEED, key=str)
    assert first == sorted(first, key=names.index)
    assert set(chosen([*reversed(names)], 10, SEED, key=str)) == set(first)
    assert set(chosen(names, 10, SEED + 1, key=str)) != set(first)
    assert set(chosen(names, 20, SEED, key=str)) > set(first)
    assert chosen(names, None, SEED, key=str) == chosen(names, 50, SEED, key=str) == names


def test_records_of_other_kinds_are_counted(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [score("a"), qa("q"), score("b", 0.0), score("c")])
    read = read_kind(config(train=(file,), max_train=2), "train", Score)
    assert len(read.records) == 2
    assert read.facts["left_out"] == {"kind qa": 1, "beyond the most": 1}
    assert read.facts["task_types"] == {"t": 2}
    size = file.stat().st_size
    assert read.facts["files"] == [{"name": "a.jsonl", "sha256": sha256_file(file), "bytes": size}]


def test_data_of_another_task_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [score("a")])
    with pytest.raises(InputError, match=r"no records of the kind qa \(1 of the kind score\)"):
        read_kind(config(train=(file,)), "train", Qa)


def test_an_id_in_two_files_is_refused(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{n}.jsonl", [score("same"), score(n)]) for n in "ab"]
    with pytest.raises(InputError, match="both hold a record with the id 'same'"):
        read_kind(config(train=tuple(files)), "train", Score)
