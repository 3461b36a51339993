"""Where an adapter is found, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from loragraft.adapter.locate import locate_adapter
from loragraft.errors import AdapterError, UnsupportedError

NOBODY = 65534
Make = Callable[..., Path]


def test_a_peft_folder_is_found(make_adapter: Make) -> None:
    folder = make_adapter()
    found = locate_adapter(folder)
    assert (found.folder, found.weights) == (folder, folder / "adapter_model.safetensors")
    assert (found.format, found.notes) == ("peft", ())


def test_a_file_may_be_given_directly(make_adapter: Make) -> None:
    folder = make_adapter()
    assert locate_adapter(folder / "adapter_model.safetensors").folder == folder
    assert locate_adapter(folder / "adapter_config.json").folder == folder


def test_adapter_safetensors_is_taken_after_the_usual_name(make_adapter: Make) -> None:
    folder = make_adapter()
    usual = folder / "adapter_model.safetensors"
    (folder / "adapter.safetensors").write_bytes(usual.read_bytes())
    found = locate_adapter(folder)
    assert found.weights == usual
    assert "adapter.safetensors beside it is not" in found.notes[0]
    usual.unlink()
    assert locate_adapter(folder).weights == folder / "adapter.safetensors"


def test_the_last_checkpoint_counts_by_number(make_adapter: Make, tmp_path: Path) -> None:
    for step in (9, 100, 20):
        make_adapter(name=f"run/checkpoint-{step}")
    (tmp_path / "run/checkpoint-200").mkdir()  # killed while saving
    found = locate_adapter(tmp_path / "run")
    assert found.folder.name == "checkpoint-100"
    assert "its checkpoint-100 is used" in found.notes[0]
    assert "checkpoint-200 without one" in found.notes[0]


def test_an_adapter_in_the_folder_goes_before_its_checkpoints(make_adapter: Make) -> None:
    folder = make_adapter(name="run")
    make_adapter(name="run/checkpoint-10")
    assert locate_adapter(folder).folder == folder


def test_one_sub_folder_is_taken_and_two_are_not(make_adapter: Make, tmp_path: Path) -> None:
    make_adapter(name="out/default")
    found = locate_adapter(tmp_path / "out")
    assert found.folder.name == "default"
    assert "sub-folder default" in found.notes[0]
    make_adapter(name="out/other")
    with pytest.raises(AdapterError, match="2 adapters: default, other"):
        locate_adapter(tmp_path / "out")


class _Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(Path(os.environ["PAYLOAD"])),))


@pytest.mark.parametrize("given", ["folder", "file", "checkpoint"])
def test_pickles_are_refused_and_never_run(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYLOAD", str(tmp_path / "ran"))
    folder = tmp_path / "run" / "checkpoint-3"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(_Payload()))
    paths = {
        "folder": folder,
        "file": folder / "adapter_model.bin",
        "checkpoint": tmp_path / "run",
    }
    with pytest.raises(UnsupportedError, match="weights_only=True"):
        locate_adapter(paths[given])
    assert not (tmp_path / "ran").exists()


def test_safetensors_go_before_a_pickle(make_adapter: Make) -> None:
    folder = make_adapter()
    (folder / "adapter_model.bin").write_bytes(b"")
    assert "adapter_model.bin beside it is not" in locate_adapter(folder).notes[0]


def test_mlx_adapters_are_recognised(tmp_path: Path) -> None:
    (tmp_path / "adapters.safetensors").write_bytes(b"")
    config = {"fine_tune_type": "lora", "lora_parameters": {"rank": 8, "scale": 20.0}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    assert locate_adapter(tmp_path).format == "mlx"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "is empty"),
        (["README.md", "notes.txt"], "Found: README.md, notes.txt"),
        (["model.safetensors", "config.json"], "whole model"),
        (["adapter_config.json"], "the weights are missing"),
        (["adapter_model.safetensors"], "adapter_config.json does not exist"),
    ],
)
def test_what_is_there_instead_is_said(files: list[str], message: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(AdapterError, match=message):
        locate_adapter(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.gguf", "GGUF"), ("a.tar.gz", "archive"), ("a.pt", "pickle"), ("a.txt", "safetensors")],
)
def test_other_files_are_refused_with_the_reason(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises((AdapterError, UnsupportedError), match=message):
        locate_adapter(tmp_path / name)


def test_a_missing_path_is_said(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="does not exist"):
        locate_adapter(tmp_path / "nowhere")
    with pytest.raises(AdapterError, match="Cannot read"):
        locate_adapter(Path("null\0byte"))


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_to_itself_is_said(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(AdapterError, match=r"leads back to itself|symbolic links"):
        locate_adapter(loop)
    inner = tmp_path / "folder"
    inner.mkdir()
    (inner / "adapter_model.safetensors").symlink_to(inner / "adapter_model.safetensors")
    with pytest.raises(AdapterError):
        locate_adapter(inner)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
def test_a_forbidden_folder_is_said(make_adapter: Make) -> None:
    folder = make_adapter()
    folder.chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything: look as somebody else
        os.seteuid(NOBODY)
    try:
        with pytest.raises(AdapterError, match="Cannot read"):
            locate_adapter(folder)
    finally:
        if user == 0:
            os.seteuid(user)
        folder.chmod(0o755)


@pytest.mark.parametrize("text", ["{", "[]", "null", '"x"', "\udcff", "[" * 100_000])
def test_a_broken_configuration_is_said(text: str, make_adapter: Make) -> None:
    folder = make_adapter()
    (folder / "adapter_config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(AdapterError, match=r"adapter_config\.json"):
        locate_adapter(folder)
