"""all-MiniLM-L6-v2 for real, alone and with an adapter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from loragraft.adapter.embedder import PROBE_SENTENCES, embed, load_embedder
from loragraft.embedding.opening import open_embedder
from loragraft.embedding.protocol import Embedder
from loragraft.embedding.spec import EmbedderSpec
from loragraft.errors import AdapterError, CheckpointError, UnsupportedError
from tests.adapter.builders import write_encoder_adapter
from tests.support.shared import build_once


@pytest.fixture(scope="session")
def minilm(minilm_folder: Path) -> Embedder:
    return open_embedder(EmbedderSpec(str(minilm_folder), batch=4))


@pytest.fixture(scope="session")
def adapter(minilm_folder: Path, shared_folder: Path) -> Path:
    def write(folder: Path) -> Path:
        return write_encoder_adapter(minilm_folder, folder)

    return build_once(shared_folder / "rag-minilm-adapter", write)


@pytest.mark.slow
def test_embeds_as_sentence_transformers_does(minilm: Embedder, minilm_folder: Path) -> None:
    heard: list[int] = []
    vectors = minilm.embed(PROBE_SENTENCES, on_done=heard.append)
    assert heard == [4, 4]
    right = embed(load_embedder(minilm_folder), PROBE_SENTENCES)
    np.testing.assert_allclose(vectors, right, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert minilm.dimensions == 384
    assert minilm.embed([]).shape[0] == 0


def test_tells_what_it_reads_without_loading(minilm_folder: Path, tmp_path: Path) -> None:
    embedder = open_embedder(EmbedderSpec(str(minilm_folder)))
    assert embedder.max_tokens == 254
    assert embedder.count_tokens(["The cat sleeps."]) == [4]
    copy = tmp_path / "copy"
    shutil.copytree(minilm_folder, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    settings = {"prompts": {"query": "query: ", "passage": "passage: "}}
    (copy / "config_sentence_transformers.json").write_text(json.dumps(settings))
    prompted = open_embedder(EmbedderSpec(str(copy)))
    assert prompted.max_tokens == 254 - 2
    assert json.loads(prompted.identity["prompts"])["document"] == "passage: "
    (copy / "sentence_bert_config.json").unlink()
    assert open_embedder(EmbedderSpec(str(copy))).max_tokens == 512 - 4
    (copy / "sentence_bert_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="Download it again"):
        _ = open_embedder(EmbedderSpec(str(copy))).max_tokens


@pytest.mark.slow
def test_an_adapter_changes_vectors_and_identity(
    minilm: Embedder, minilm_folder: Path, adapter: Path
) -> None:
    notes: list[str] = []
    tuned = open_embedder(EmbedderSpec(str(minilm_folder), adapter=str(adapter)), notes.append)
    cosines = (tuned.embed(PROBE_SENTENCES) * minilm.embed(PROBE_SENTENCES)).sum(axis=1)
    assert cosines.max() < 0.9999
    assert tuned.identity["model"] == minilm.identity["model"]
    assert tuned.identity != minilm.identity
    assert adapter.name in tuned.name
    assert f"cosine {cosines.min():.4f} of the base" in notes[-1]


def test_an_adapter_alone_is_no_embedder(
    minilm_folder: Path, adapter: Path, tmp_path: Path
) -> None:
    """What sentence-transformers saves of a model with an adapter that is not merged."""
    copy = tmp_path / "saved"
    shutil.copytree(minilm_folder, copy, ignore=shutil.ignore_patterns("model*", "config.json"))
    for file in adapter.iterdir():
        shutil.copy(file, copy / file.name)
    with pytest.raises(UnsupportedError, match="as the embedder and this folder as its adapter"):
        open_embedder(EmbedderSpec(str(copy)))
    assert open_embedder(EmbedderSpec(str(minilm_folder), adapter=str(copy))).identity["adapter"]


@pytest.mark.slow
def test_an_adapter_without_effect_is_refused(
    minilm_folder: Path, adapter: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    copy = tmp_path / "zero"
    shutil.copytree(adapter, copy)
    file = copy / "adapter_model.safetensors"
    arrays = load_file(file)
    save_file({k: v * (0 if "lora_B" in k else 1) for k, v in arrays.items()}, file)
    spec = EmbedderSpec(str(minilm_folder), adapter=str(copy))
    with pytest.raises(AdapterError, match="changes nothing"):
        open_embedder(spec).embed(["a"])
    save_file({k.replace("query", "quarry"): v for k, v in arrays.items()}, file)
    with pytest.raises(AdapterError, match="do not match"):
        open_embedder(spec).embed(["a"])
