"""What a training leaves is recognised by its name, and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loragraft.adapter import leftovers
from loragraft.adapter.leftovers import by_kind, find_leftovers

KINDS = {
    "train.jsonl": "data", "val.json": "data", "fold1-test.json": "data", "data.txt": "data",
    "rules.parquet": "data", "validation_split.json": "data", "test.zip": "data",
    "trainer_state.json": "trainer state", "training_args.bin": "trainer state",
    "optimizer.pt": "optimizer state", "rng_state_0.pth": "optimizer state",
    "mp_rank_00_optim_states.pt": "optimizer state", "training.log": "log",
    "events.out.tfevents.1741064767.host": "log", "train.py": "script", "run.ipynb": "script",
    "model-00001-of-00002.safetensors": "model", "merged.gguf": "model", "head.pth": "pickle",
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_files_are_recognised(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("xyz")
    (found,) = find_leftovers(tmp_path)
    assert (found.kind, found.name, found.size) == (KINDS[name], name, 3)


def test_an_adapters_own_files_are_none(tmp_path: Path) -> None:
    for name in (
        "adapter_model.safetensors", "adapter_config.json", "README.md", "tokenizer.json",
        "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "vocab.json",
        "merges.txt", "added_tokens.json", "chat_template.jinja", "checksums.txt", ".gitattributes",
        "generation_config.json", "config.json", "LICENSE",
    ):  # fmt: skip
        (tmp_path / name).write_text("x")
    assert find_leftovers(tmp_path) == ()


def test_folders_and_what_is_in_them(tmp_path: Path) -> None:
    for name in ("checkpoint-10/adapter_model.safetensors", "fold_2/a.txt", "runs/x/y/z/deep.log",
                 "other/train.csv"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("x")
    assert by_kind(find_leftovers(tmp_path)) == {
        "adapter": ("checkpoint-10/adapter_model.safetensors",),
        "checkpoint": ("checkpoint-10/",),
        "data": ("other/train.csv",),
        "fold": ("fold_2/",),
        "log": ("runs/",),
    }


def test_other_folds_beside_a_fold(tmp_path: Path) -> None:
    for name in ("fold-1", "fold-2", "fold-3", "notes"):
        (tmp_path / name).mkdir()
    assert by_kind(find_leftovers(tmp_path / "fold-2")) == {"fold": ("../fold-1", "../fold-3")}


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    os.symlink(tmp_path, tmp_path / "a" / "loop")
    assert find_leftovers(tmp_path) == ()


def test_a_huge_folder_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "MAX_ENTRIES", 5)
    for number in range(20):
        (tmp_path / f"{number:02}.csv").write_text("x")
    assert len(find_leftovers(tmp_path)) == 5
    assert find_leftovers(tmp_path / "none") == ()
