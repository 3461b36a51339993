"""Opening what can be served: bundles, bare files, and what people give instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragraft.artifact.checksums import write_checksums
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.metadata import write_metadata
from loragraft.checkpoint.bundle import check_model, open_model
from loragraft.errors import BundleError


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "science"
    folder.mkdir()
    for name in ("b.Q8_0.gguf", "a.Q4_K_M.gguf", "Modelfile"):
        (folder / name).write_text(name)
    files = [{"name": "b.Q8_0.gguf", "quant": "Q8_0"}, {"name": "a.Q4_K_M.gguf", "quant": "Q4_K_M"}]
    write_metadata(folder, {"name": "science-lora", "files": files, "stops": ["</s>", 3]})
    write_checksums(folder, {p.name: sha256_file(p) for p in sorted(folder.iterdir())})
    return folder


def test_the_first_file_exported_is_taken_and_another_by_its_quantization(bundle: Path) -> None:
    model = open_model(bundle)
    assert (model.gguf, model.name) == (bundle / "b.Q8_0.gguf", "science-lora")
    assert model.stops == ("</s>",)
    assert model.digests["b.Q8_0.gguf"] == sha256_file(bundle / "b.Q8_0.gguf")
    assert open_model(bundle, "q4_k_m").gguf.name == "a.Q4_K_M.gguf"
    with pytest.raises(BundleError, match="no Q2_K, but Q8_0, Q4_K_M"):
        open_model(bundle, "Q2_K")
    check_model(model)


def test_a_bare_file_is_a_model_without_checksums(bundle: Path) -> None:
    model = open_model(bundle / "a.Q4_K_M.gguf")
    assert (model.name, model.folder, model.stops) == ("a.Q4_K_M", None, ())
    check_model(model)


def test_every_altered_missing_or_added_file_is_named(bundle: Path) -> None:
    (bundle / "Modelfile").write_text("changed")
    (bundle / "a.Q4_K_M.gguf").unlink()
    (bundle / "more.txt").write_text("more")
    with pytest.raises(BundleError, match=r"(?s)Modelfile.*more\.txt|a\.Q4_K_M") as failure:
        check_model(open_model(bundle))
    assert all(name in str(failure.value) for name in ("Modelfile", "a.Q4_K_M", "more.txt"))


def test_a_file_that_is_listed_but_not_there_is_said(bundle: Path) -> None:
    (bundle / "b.Q8_0.gguf").unlink()
    with pytest.raises(BundleError, match="listed but not there"):
        open_model(bundle)


def test_only_files_of_the_checksum_list_are_taken(bundle: Path) -> None:
    names = ["../../etc/passwd", ["x"], {}, None, "a.Q4_K_M.gguf"]
    write_metadata(bundle, {"files": [*({"name": name, "quant": []} for name in names), 7]})
    assert open_model(bundle).gguf.name == "a.Q4_K_M.gguf"
    assert open_model(bundle).name == "science"


@pytest.mark.parametrize(
    ("name", "words"),
    [("adapter_config.json", "It is an adapter"), ("config.json", "It is a checkpoint"),
     ("m.gguf", "Give the file itself"), ("x", "makes bundles")],
)  # fmt: skip
def test_another_folder_is_told_apart(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(BundleError, match=words):
        open_model(tmp_path)


@pytest.mark.parametrize("name", ["a\nb\x1b[31m", "../up", "", 7, None])
def test_a_name_that_is_none_gives_way_to_the_folder_s(bundle: Path, name: object) -> None:
    write_metadata(bundle, {"name": name, "files": []})
    assert open_model(bundle).name == "science"


def test_a_bundle_without_any_model_is_refused(tmp_path: Path) -> None:
    write_metadata(tmp_path, {"files": "none"})
    write_checksums(tmp_path, {})
    with pytest.raises(BundleError, match="lists no GGUF file"):
        open_model(tmp_path)


def test_paths_that_are_not_there_or_no_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not there"):
        open_model(tmp_path / "nothing.gguf")
    for impossible in ("a" * 300 + ".gguf", "a\0.gguf"):
        with pytest.raises(BundleError, match=r"is no path|is not there"):
            open_model(tmp_path / impossible)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(BundleError, match=r"neither a bundle's folder nor a \.gguf file"):
        open_model(tmp_path / "notes.txt")
