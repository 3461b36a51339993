"""Checkpoint folders: shards that agree with their index, and folders that are none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from loragraft.checkpoint.model import Checkpoint, read_json
from loragraft.errors import CheckpointError

SHARDS = {"model-1.safetensors": ("a", "b"), "model-2.safetensors": ("c",)}
VALUES = np.arange(4, dtype=np.float32).reshape(2, 2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of two shards with an index, all of it sound."""
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "x": 1}')
    for file, names in SHARDS.items():
        save_file({name: VALUES.copy() for name in names}, tmp_path / file)
    write_index(tmp_path, {name: file for file, names in SHARDS.items() for name in names})
    return tmp_path


def write_index(folder: Path, weight_map: object) -> None:
    text = json.dumps({"metadata": {}, "weight_map": weight_map})
    (folder / "model.safetensors.index.json").write_text(text)


def test_healthy_shards_are_one_checkpoint(folder: Path) -> None:
    with Checkpoint(folder) as checkpoint:
        assert set(checkpoint.tensors) == {"a", "b", "c"}
        assert [path.name for path in checkpoint.files] == list(SHARDS)
        np.testing.assert_array_equal(checkpoint.array("c"), VALUES)
        np.testing.assert_array_equal(checkpoint.rows("a", 1, 2), VALUES[1:])
        with pytest.raises(CheckpointError, match="holds no tensor 'd'"):
            checkpoint.array("d")


def test_one_file_needs_no_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").unlink()
    save_file({"a": VALUES}, folder / "model.safetensors")
    with Checkpoint(folder) as checkpoint:
        assert set(checkpoint.tensors) == {"a"}


def test_a_nested_text_configuration_is_laid_over(folder: Path) -> None:
    config = {"architectures": ["A"], "x": 1, "text_config": {"x": 2, "architectures": ["B"]}}
    (folder / "config.json").write_text(json.dumps(config))
    with Checkpoint(folder) as checkpoint:
        assert checkpoint.config["x"] == 2
        assert checkpoint.config["architectures"] == ["A"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, r"config\.json does not exist"),
        ("{", r"config\.json is not readable as JSON"),
        ("[" * 100_000, r"config\.json is not readable as JSON"),
        ("[1]", r"config\.json holds list, expected a JSON object"),
        ('{"architectures": 5}', "'architectures' is 5, expected a list of names"),
        ('{"architectures": "Llama"}', "'architectures' is 'Llama', expected a list"),
        ('{"architectures": [5]}', r"'architectures' is \[5\], expected a list"),
    ],
)
def test_a_broken_configuration_is_refused(folder: Path, text: str | None, words: str) -> None:
    (folder / "config.json").unlink()
    if text is not None:
        (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=words):
        Checkpoint(folder)


def test_bytes_that_are_no_text_are_no_json(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match=r"x\.json is not readable as JSON"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("weight_map", "words"),
    [
        (None, "has no 'weight_map'"),
        ({}, "has no 'weight_map'"),
        (["a"], "has no 'weight_map'"),
        ({"a": 3}, "puts 'a' into 3"),
        ({"a": "../model-1.safetensors"}, r"puts 'a' into '\.\./model-1"),
        ({"a": "model-3.safetensors"}, r"model-3\.safetensors is missing, but the index names it"),
        ({"a": "model-1.safetensors"}, r"0 tensors are missing \(\), 1 are not in the index \(b\)"),
        (
            {"a": "model-2.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"},
            r"1 tensors are missing \(a\), 0 are not in the index",
        ),
        (
            {"a": "model-1.safetensors", "b": "model-1.safetensors", "d": "model-1.safetensors"},
            r"1 tensors are missing \(d\)",
        ),
    ],
)
def test_an_index_that_lies_is_refused(folder: Path, weight_map: object, words: str) -> None:
    write_index(folder, weight_map)
    with pytest.raises(CheckpointError, match=words):
        Checkpoint(folder)


def test_a_tensor_in_two_shards_is_refused(folder: Path) -> None:
    save_file({"a": VALUES, "c": VALUES}, folder / "model-2.safetensors")
    with pytest.raises(CheckpointError, match="'a' stands in two shards"):
        Checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pytorch_model-1.bin", r"only pickled weights \(pytorch_model-1\.bin\)"),
        ("adapter_config.json", "is an adapter, not a base"),
        ("model.Q4_K_M.gguf", "holds a GGUF file"),
        ("README.md", "it is not a checkpoint folder"),
    ],
)
def test_a_folder_of_something_else_is_named(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(CheckpointError, match=words):
        Checkpoint(tmp_path)


def test_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(CheckpointError, match=r"is no folder\. Give a checkpoint"):
            Checkpoint(path)
