"""Which embedder a name opens, and what is no embedder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from loragraft.embedding.identity import folder_hash
from loragraft.embedding.opening import open_embedder, shown_name
from loragraft.embedding.spec import EmbedderSpec, spec_from_json
from loragraft.embedding.static import StaticEmbedder
from loragraft.errors import CheckpointError, InputError, UnavailableError, UnsupportedError

WORDS = ["the river", "a violin and the ferry", ""]


def test_a_static_model_is_found_out(static_folder: Path) -> None:
    embedder = open_embedder(EmbedderSpec(str(static_folder)))
    assert isinstance(embedder, StaticEmbedder)
    assert embedder.name == static_folder.name
    assert embedder.identity["kind"] == "model2vec"
    heard: list[int] = []
    vectors = embedder.embed(WORDS, on_done=heard.append)
    assert vectors.dtype == np.float32
    assert sum(heard) == 3
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 0], atol=1e-6)
    np.testing.assert_array_equal(vectors[1], embedder.embed([WORDS[1]], query=True)[0])
    assert embedder.dimensions == vectors.shape[1]
    assert embedder.count_tokens(WORDS) == [2, 5, 0]
    embedder.close()


def test_the_default_is_read_from_an_installed_package() -> None:
    notes: list[str] = []
    embedder = open_embedder(EmbedderSpec(), notes.append)
    assert embedder.name == "all-MiniLM-L6-v2"
    assert embedder.max_tokens == 254
    assert len(notes) == 1
    assert "is read from" in notes[0]
    again = open_embedder(spec_from_json(EmbedderSpec().to_json()))
    assert again.identity == embedder.identity


def test_nothing_is_downloaded_in_silence() -> None:
    notes: list[str] = []
    with pytest.raises(UnavailableError, match="could not be downloaded"):
        open_embedder(EmbedderSpec("nobody/nothing"), notes.append)
    assert "downloaded from the Hub" in notes[0]


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        (EmbedderSpec("./nothing"), InputError, "does not exist"),
        (EmbedderSpec("no such thing"), InputError, "does not exist"),
        (EmbedderSpec(""), InputError, "no name"),
        (EmbedderSpec("openai:x"), InputError, "has the URL None"),
        (EmbedderSpec("openai:x", url="ftp://x"), InputError, "has the URL"),
        (EmbedderSpec("openai:x", url="http://me:key@host/v1"), InputError, "holds a key"),
        (EmbedderSpec("ollama:x", adapter="a"), InputError, "An adapter goes onto"),
    ],
)
def test_refuses_names_that_name_nothing(
    spec: EmbedderSpec, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        open_embedder(spec)
    assert "me:key" not in str(caught.value)


def test_refuses_folders_without_an_embedder(tmp_path: Path, static_folder: Path) -> None:
    with pytest.raises(UnsupportedError, match="holds no embedder"):
        open_embedder(EmbedderSpec(str(tmp_path)))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is no folder"):
        open_embedder(EmbedderSpec(str(tmp_path / "file")))
    with pytest.raises(InputError, match="static model"):
        open_embedder(EmbedderSpec(str(static_folder), adapter="a"))
    broken = tmp_path / "broken"
    shutil.copytree(static_folder, broken)
    (broken / "model.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="cannot load"):
        open_embedder(EmbedderSpec(str(broken))).embed(["a"])


def test_identity_is_of_contents_not_of_places(static_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(static_folder, copy)
    assert folder_hash(copy) == folder_hash(static_folder)
    (copy / "README.md").write_text("another card")
    assert folder_hash(copy) == folder_hash(static_folder)
    (copy / "tokenizer.json").write_text((copy / "tokenizer.json").read_text() + " ")
    assert folder_hash(copy) != folder_hash(static_folder)
    with pytest.raises(CheckpointError, match="holds no model"):
        folder_hash(tmp_path / "nothing")


def test_names_hold_no_path(tmp_path: Path) -> None:
    assert shown_name("owner/model", tmp_path) == "owner/model"
    assert shown_name("/data/models/mine", Path("/data/models/mine")) == "mine"
    cached = Path("/x/hub/models--owner--model/snapshots/0123")
    assert shown_name(str(cached), cached) == "owner/model"


def test_an_index_names_paths_that_hold_elsewhere(
    static_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(static_folder.parent)
    value = EmbedderSpec(static_folder.name, batch=8).to_json()
    assert value == {"name": str(static_folder), "batch": 8}
    assert EmbedderSpec().to_json() == {"name": "all-MiniLM-L6-v2"}


@pytest.mark.parametrize(
    "value",
    [{"nme": "x"}, {"name": 3}, {"kind": "magic"}, {"batch": "1"}, {"tokenizer": 5},
     {"adapter": []}, {"kind": []}, {"max_tokens": "x"}],
)  # fmt: skip
def test_refuses_a_strange_spec_of_an_index(value: dict) -> None:
    with pytest.raises(InputError, match="--embedder"):
        spec_from_json(value)
