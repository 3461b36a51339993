"""Which engine merges, and what the stream engine says it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import UnsupportedError
from loragraft.export.engine import EngineChoice, choose_engine
from loragraft.export.request import ExportRequest
from tests.adapter.builders import PREFIX, write_adapter, write_base


def choose(folder: Path, engine: str, **config: object) -> EngineChoice:
    adapter = write_adapter(folder / "adapter", **config)
    return choose_for(folder, engine, adapter)


def choose_for(folder: Path, engine: str, adapter: Path | None) -> EngineChoice:
    adapters = ((adapter, 1.0),) if adapter is not None else ()
    options: dict[str, Any] = {"engine": engine}
    base = write_base(folder / "base")
    with Checkpoint(base) as checkpoint:
        return choose_engine(
            ExportRequest(base, adapters, folder / "out", "model", **options), checkpoint
        )


@pytest.mark.parametrize("engine", ["auto", "stream"])
def test_plain_lora_is_streamed(tmp_path: Path, engine: str) -> None:
    assert choose(tmp_path, engine).engine == "stream"
    assert choose_for(tmp_path, engine, None).engine == "stream"


def test_peft_merges_what_it_is_asked_to(tmp_path: Path) -> None:
    assert choose(tmp_path, "peft") == EngineChoice("peft", "asked for by --engine peft")
    assert choose_for(tmp_path, "peft", None).engine == "stream"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"peft_type": "LOHA"}, "is of type LOHA, not LORA"),
        ({"init_lora_weights": "pissa"}, "was initialised as pissa"),
        ({"layer_replication": [[0, 1]]}, "repeats layers of the base"),
    ],
)
def test_what_cannot_be_streamed_goes_to_peft_or_is_refused(
    tmp_path: Path, config: dict[str, object], reason: str
) -> None:
    choice = choose(tmp_path, "auto", **config)
    assert choice.engine == "peft"
    assert reason in choice.reason
    with pytest.raises(UnsupportedError, match=rf"cannot take this: .*{reason}.*--engine peft"):
        choose(tmp_path, "stream", **config)


def test_dora_on_an_embedding_needs_whole_matrices(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", use_dora=True)
    path, stem = adapter / "adapter_model.safetensors", f"{PREFIX}model.embed_tokens"
    parts = {
        f"{stem}.lora_embedding_A": np.ones((4, 128), np.float32),
        f"{stem}.lora_embedding_B": np.ones((64, 4), np.float32),
        f"{stem}.lora_magnitude_vector": np.ones(64, np.float32),
    }
    save_file({**load_file(path), **parts}, path)
    assert json.loads((adapter / "adapter_config.json").read_text())["use_dora"] is True
    assert choose_for(tmp_path, "auto", adapter).engine == "peft"
    with pytest.raises(UnsupportedError, match=r"has DoRA on the embedding model\.embed_tokens"):
        choose_for(tmp_path, "stream", adapter)
