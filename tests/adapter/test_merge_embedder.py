"""Merged SentenceTransformers: proven before they get their name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from loragraft.adapter import merge_embedder as module
from loragraft.adapter.embedder import (
    embed,
    encoder_folder,
    get_encoder,
    load_embedder,
    set_encoder,
)
from loragraft.adapter.merge_embedder import TOLERANCE, merge_embedder
from loragraft.adapter.peft_loading import attach_strictly, quiet
from loragraft.artifact.checksums import check_checksums
from loragraft.artifact.metadata import read_metadata
from loragraft.errors import (
    AdapterError,
    BundleError,
    CheckFailedError,
    CheckpointError,
    NonFiniteError,
    UnsupportedError,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")
OTHER_SENTENCES = ["Bread rises because of yeast.", "It rained all week.", "x" * 3000]


def test_it_embeds_as_the_adapted_model(
    minilm_folder: Path, minilm_adapter: Path, tmp_path: Path
) -> None:
    report = merge_embedder(minilm_folder, minilm_adapter, tmp_path / "merged")
    assert report.folder == tmp_path / "merged"
    assert report.largest_difference <= TOLERANCE
    with quiet():
        adapted = load_embedder(minilm_folder)
        wrapped = attach_strictly(get_encoder(adapted), minilm_adapter, minilm_adapter).model
        set_encoder(adapted, wrapped)
        theirs = embed(adapted, OTHER_SENTENCES)
        ours = embed(load_embedder(report.folder), OTHER_SENTENCES)
        plain = embed(load_embedder(minilm_folder), OTHER_SENTENCES)
    assert np.abs(ours - theirs).max() <= 1e-5
    assert np.abs(ours - plain).max() > 1e-2
    assert check_checksums(report.folder) == []
    assert report.bytes <= sum(f.stat().st_size for f in report.folder.rglob("*") if f.is_file())
    metadata = read_metadata(report.folder)
    assert metadata["kind"] == "merged-embedder"
    assert metadata["proof"]["largest_difference"] == report.largest_difference
    json.dumps(report.to_json(), allow_nan=False)
    with pytest.raises(BundleError):
        merge_embedder(minilm_folder, minilm_adapter, tmp_path / "merged")
    merge_embedder(minilm_folder, minilm_adapter, tmp_path / "merged", replace=True)
    assert sorted(path.name for path in tmp_path.iterdir() if "lock" not in path.name) == ["merged"]


def test_keys_of_another_level_are_merged_with_a_note(
    minilm_folder: Path, edited: Callable[..., Path], tmp_path: Path
) -> None:
    adapter = edited(lambda k, v: (k.replace("model.enc", "model.0.auto_model.enc"), v))
    report = merge_embedder(minilm_folder, adapter, tmp_path / "merged")
    assert report.change > 1e-2
    assert "0.auto_model." in report.notes[0]


def test_what_does_not_agree_is_not_published(
    minilm_folder: Path, minilm_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOLERANCE", 0.0)  # float32 rounds once: no merge is exact
    with pytest.raises(CheckFailedError, match="was not published"):
        merge_embedder(minilm_folder, minilm_adapter, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    assert not (tmp_path / ".merged.staging").exists()


def test_an_adapter_without_effect_is_not_published(
    minilm_folder: Path, edited: Callable[..., Path], tmp_path: Path
) -> None:
    adapter = edited(lambda key, v: (key, v * ("lora_B" not in key)))
    with pytest.raises(CheckFailedError, match="changes nothing"):
        merge_embedder(minilm_folder, adapter, tmp_path / "merged")


def test_nan_is_refused(minilm_folder: Path, edited: Callable[..., Path], tmp_path: Path) -> None:
    adapter = edited(lambda key, v: (key, v * np.float32("nan")))
    with pytest.raises(NonFiniteError):
        merge_embedder(minilm_folder, adapter, tmp_path / "merged")


def test_keys_that_fit_nowhere_are_refused(
    minilm_folder: Path, edited: Callable[..., Path], tmp_path: Path
) -> None:
    adapter = edited(lambda k, v: (k.replace("attention.self.query", "self_attn.q_proj"), v))
    with pytest.raises(AdapterError, match="do not match the base"):
        merge_embedder(minilm_folder, adapter, tmp_path / "merged")


def test_a_language_model_is_refused(
    make_base: Callable[..., Path], minilm_adapter: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedError, match="export merge"):
        merge_embedder(make_base(), minilm_adapter, tmp_path / "merged")


@pytest.mark.parametrize("text", ["", "[]", "{}", '[{"path": "../.."}]', "[[]]"])
def test_a_broken_list_of_modules_is_said(text: str, tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(text)
    with pytest.raises(CheckpointError):
        encoder_folder(tmp_path)
