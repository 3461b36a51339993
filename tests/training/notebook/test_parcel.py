"""What goes to a hosted machine, and arrives there."""

from __future__ import annotations

import base64
import shutil
import zipfile
from pathlib import Path

import pytest

from loragraft.dataset.split.load import find_split
from loragraft.errors import AdapterError, InputError
from loragraft.rag.corpus import read_corpus
from loragraft.training.config import TrainConfig, load_config
from loragraft.training.notebook.parcel import Packed, collect, write_parcel
from loragraft.training.notebook.unpack import unpack_data
from tests.training.notebook.building import make_config, rows, write_rows


def pack(config: TrainConfig, path: Path) -> Packed:
    return write_parcel(collect(config), path)


def bring(packed: Packed, folder: Path, *places: Path, inside: str | None = None) -> Path:
    return unpack_data(
        packed.path.name, packed.checksums_sha256, places or (packed.path.parent,), folder,
        content_bytes=packed.content_bytes, inside=inside,
    )  # fmt: skip


def test_a_split_arrives_without_its_test(tmp_path: Path) -> None:
    config = make_config(tmp_path / "here", lora={"r": 4})
    packed = pack(config, tmp_path / "run_data.zip")
    with zipfile.ZipFile(packed.path) as archive:
        assert sorted(archive.namelist()) == [
            "checksums.txt", "corpus/papers.jsonl", "splits/words_manifest.json",
            "splits/words_train.jsonl", "splits/words_val.jsonl", "training_config.yaml",
        ]  # fmt: skip
        held = b"".join(archive.read(name) for name in archive.namelist())
    for record in find_split("words", tmp_path / "here" / "splits").records("test"):
        assert record.question.encode() not in held  # type: ignore[union-attr]
    there = load_config(bring(packed, tmp_path / "there"))
    assert there.model_copy(update={"data": config.data}) == config
    split = find_split("words", there.data.splits, ("train", "val"))
    assert len(list(split.records("train"))) == 24
    assert there.data.corpus is not None
    assert len(list(read_corpus([there.data.corpus]))) == 40


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    first = pack(make_config(tmp_path / "one"), tmp_path / "a.zip")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    second = pack(make_config(tmp_path / "two"), tmp_path / "b.zip")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.checksums_sha256 == second.checksums_sha256


def test_files_of_one_name_stay_apart(tmp_path: Path) -> None:
    files = [write_rows(tmp_path / name / "rows.jsonl", rows()[at::2])
             for at, name in enumerate(("a", "b"))]  # fmt: skip
    data = {"train": [str(file) for file in files], "validation": str(files[0])}
    config = TrainConfig.model_validate({"experiment_id": "x", "base": "a/b", "data": data})
    there = load_config(bring(pack(config, tmp_path / "x.zip"), tmp_path / "there")).data
    assert [path.read_bytes() for path in there.train] == [file.read_bytes() for file in files]
    assert there.validation is not None
    assert there.validation.read_bytes() == files[0].read_bytes()


def test_documents_of_a_folder_keep_their_ids(tmp_path: Path) -> None:
    corpus = tmp_path / "my docs"
    for name in ("a.md", "deep/b.txt", "deep/.hidden.md", "notes.docx"):
        (corpus / name).parent.mkdir(parents=True, exist_ok=True)
        (corpus / name).write_text(f"# {name}\n\nSome words.\n", encoding="utf-8")
    (corpus / "link").symlink_to(corpus / "deep", target_is_directory=True)
    data = {"train": [str(write_rows(tmp_path / "t.jsonl", rows()))], "corpus": str(corpus)}
    config = TrainConfig.model_validate({"experiment_id": "x", "base": "a/b", "data": data})
    there = load_config(bring(pack(config, tmp_path / "x.zip"), tmp_path / "there")).data.corpus
    assert there is not None
    ids = [[item.doc_id for item in read_corpus([path]) if hasattr(item, "doc_id")]
           for path in (corpus, there)]  # fmt: skip
    assert ids[0] == ids[1] == ["my docs/a.md", "my docs/deep/b.txt"]


def test_data_is_found_as_it_was_uploaded(tmp_path: Path) -> None:
    packed = pack(make_config(tmp_path / "here"), tmp_path / "run_data.zip")
    inside = base64.b64encode(packed.path.read_bytes()).decode()
    config = bring(packed, tmp_path / "one", tmp_path / "nowhere", inside=inside).read_bytes()
    unpacked = tmp_path / "dataset" / "run_data"  # as Kaggle does with an archive
    with zipfile.ZipFile(packed.path) as archive:
        archive.extractall(unpacked)
    assert bring(packed, tmp_path / "two", tmp_path / "dataset").read_bytes() == config
    assert bring(packed, tmp_path / "three", unpacked).read_bytes() == config
    packed.path.unlink()
    assert bring(packed, tmp_path / "three").read_bytes() == config  # it is there already
    (tmp_path / "three" / "corpus" / "papers.jsonl").write_text("changed")
    with pytest.raises(InputError, match=r"run_data\.zip is not there.*Looked in"):
        bring(packed, tmp_path / "three")
    assert not list(tmp_path.glob(".run*"))


def test_other_data_is_refused(tmp_path: Path) -> None:
    packed = pack(make_config(tmp_path / "here"), tmp_path / "run_data.zip")
    other = pack(make_config(tmp_path / "here", seed=5), tmp_path / "other_data.zip")
    shutil.copy(other.path, packed.path)
    with pytest.raises(InputError, match="not the data that this notebook was written for"):
        bring(packed, tmp_path / "there")
    assert not (tmp_path / "there").exists()
    packed.path.write_bytes(packed.path.read_bytes()[:-200])
    with pytest.raises(AdapterError, match="broken or cut off"):
        bring(packed, tmp_path / "there")
    with zipfile.ZipFile(packed.path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("training_config.yaml", bytes(50_000_000))
    with pytest.raises(AdapterError, match="unpacks to more than"):
        bring(packed, tmp_path / "there")


def test_what_cannot_be_packed_is_named(tmp_path: Path) -> None:
    config = make_config(tmp_path / "here")
    missing = config.data.model_copy(update={"corpus": tmp_path / "gone.jsonl"})
    with pytest.raises(InputError, match=r"gone\.jsonl does not exist"):
        collect(config.model_copy(update={"data": missing}))
    odd = write_rows(tmp_path / "a:b?.jsonl", rows())
    data = {"train": [str(odd)]}
    named = TrainConfig.model_validate({"experiment_id": "x", "base": "a/b", "data": data})
    with pytest.raises(InputError, match="not every system takes"):
        collect(named)
    (tmp_path / "empty").mkdir()
    empty = config.data.model_copy(update={"corpus": tmp_path / "empty"})
    with pytest.raises(InputError, match="holds no documents"):
        collect(config.model_copy(update={"data": empty}))
    train = tmp_path / "here" / "splits" / "words_train.jsonl"
    train.write_text(train.read_text() + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="not the file that its manifest names"):
        collect(config)
