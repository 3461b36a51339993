"""The notebook's cells on Colab and Kaggle: their folders, their secrets, their limits.

Only what these platforms alone have stands in here: their modules, and where they keep files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import nbformat
import pytest

from loragraft.artifact.checksums import write_checksums
from loragraft.artifact.hashing import sha256_file
from loragraft.training import notebook
from loragraft.training.notebook.write import NotebookRequest, write_notebook
from tests.adapter.builders import write_adapter
from tests.training.notebook.building import make_config
from tests.training.notebook.test_state import checkpoint

ID = "words-lora"
TOKEN = "hf_" + "s" * 34


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A notebook with its data beside it."""
    config = make_config(tmp_path / "data", optimiser={"batch": 2, "accumulation": 4})
    request = NotebookRequest(config, tmp_path / "notebooks", install="", data="beside")
    return write_notebook(request).path


@pytest.fixture
def run_cells(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Run cells as Jupyter would, with the platform's folders below a temporary one."""
    for name in ("CUDA_VISIBLE_DEVICES", "WANDB_MODE", "TOKENIZERS_PARALLELISM", "HF_TOKEN"):
        monkeypatch.setenv(name, "before")  # what the cells set is taken back
    monkeypatch.chdir(tmp_path)

    def run(*names: str, **namespace: Any) -> dict[str, Any]:  # noqa: ANN401
        book = nbformat.read(path, as_version=4)
        sources = {cell.id: cell.source for cell in book.cells}
        for name in names:
            source = sources[name]
            for folder in ("/content", "/kaggle"):
                source = source.replace(f'"{folder}', f'"{tmp_path}{folder}')
            exec(source, namespace)
        return namespace

    return run


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Colab's own modules; what was asked of them."""
    asked = SimpleNamespace(mounted=[], downloaded=[])

    def mount(folder: str) -> None:
        (Path(folder) / "MyDrive").mkdir(parents=True)
        asked.mounted.append(folder)

    module: Any = ModuleType("google.colab")
    module.drive = SimpleNamespace(mount=mount)
    module.userdata = SimpleNamespace(get={"HF_TOKEN": TOKEN}.__getitem__)
    module.files = SimpleNamespace(download=asked.downloaded.append)
    monkeypatch.setitem(sys.modules, "google.colab", module)
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab")
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    return asked


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kaggle's own module, which has no secret."""

    class Secrets:
        def get_secret(self, name: str) -> str:
            raise ValueError(f"no secret {name}")

    module: Any = ModuleType("kaggle_secrets")
    module.UserSecretsClient = Secrets
    monkeypatch.setitem(sys.modules, "kaggle_secrets", module)
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)


def training(monkeypatch: pytest.MonkeyPatch, code: int, effect: Callable[[], object]) -> list[Any]:
    """Let the run be done at once; return what it was asked."""
    asked: list[Any] = []

    def run(command: list[str], hours: float | None = None) -> int:
        asked.append((command, hours, os.environ["HF_TOKEN"]))
        if "train" in command:
            effect()
            return code
        return 0

    monkeypatch.setattr(notebook, "run_command", run)
    return asked


def test_colab_keeps_the_adapter_on_the_drive(
    run_cells: Callable[..., dict[str, Any]],
    path: Path,
    tmp_path: Path,
    colab: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = run_cells("settings", "machine")
    drive, outputs = tmp_path / "content" / "drive" / "MyDrive", tmp_path / "content" / "adapters"
    assert colab.mounted == [str(tmp_path / "content" / "drive")]
    assert (names["WORK"], names["OUTPUTS"]) == (drive / "loragraft", outputs)
    (path.parent / f"{ID}_data.zip").rename(drive / "loragraft" / f"{ID}_data.zip")

    def publish() -> None:
        folder = write_adapter(outputs / ID)
        write_checksums(folder, {file.name: sha256_file(file) for file in folder.iterdir()})

    asked = training(monkeypatch, 0, publish)
    names = run_cells("install", "data", "train", "pack", **names)
    command, hours, token = asked[0]
    assert command[1:6] == ["-m", "loragraft", "train", "run", str(names["CONFIG"])]
    assert "optimiser.accumulation=4" in command
    assert (hours, token) == (None, TOKEN)
    archive = drive / "loragraft" / f"{ID}.tar.gz"
    assert archive.is_file()
    assert colab.downloaded == [str(archive)]
    assert TOKEN not in capsys.readouterr().out
    # The next session has only the drive.
    names = run_cells("train", "pack", **names)
    assert len([c for c, *_ in asked if "train" in c]) == 1
    assert "It is trained" in capsys.readouterr().out


def test_kaggle_stops_in_time_and_goes_on_from_its_output(
    run_cells: Callable[..., dict[str, Any]],
    path: Path,
    tmp_path: Path,
    kaggle: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    uploaded = tmp_path / "kaggle" / "input" / "datasets" / "someone" / "words"
    uploaded.mkdir(parents=True)
    (path.parent / f"{ID}_data.zip").rename(uploaded / f"{ID}_data.zip")
    outputs = tmp_path / "kaggle" / "temp" / "adapters"
    working = tmp_path / "kaggle" / "working"  # where Kaggle runs notebooks
    working.mkdir()
    monkeypatch.chdir(working)
    asked = training(monkeypatch, 130, lambda: checkpoint(outputs, 2, name=ID))
    names = run_cells("settings", "machine", "install", "data", "train", "look", "pack")
    assert asked[0][1:] == (11, "before")
    assert names["DONE"] is False
    assert "Stopped in time" in capsys.readouterr().out
    assert [file.name for file in working.iterdir()] == [f"{ID}_unfinished.tar"]

    earlier = tmp_path / "kaggle" / "input" / "notebooks" / "someone" / "version-1"
    earlier.mkdir(parents=True)
    (working / f"{ID}_unfinished.tar").rename(earlier / f"{ID}_unfinished.tar")
    for file in sorted(outputs.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    seen: list[bool] = []
    training(monkeypatch, 130, lambda: seen.append((outputs / f".{ID}.journal").exists()))
    run_cells("settings", "machine", "install", "data", "train")
    assert seen == [True]
    assert f"Going on from {earlier}" in capsys.readouterr().out


def test_a_batch_that_does_not_divide_the_step_is_refused(
    run_cells: Callable[..., dict[str, Any]], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    names = run_cells("settings", "machine", "install", "data")
    with pytest.raises(ValueError, match="BATCH is 3; expected a number that divides 8"):
        run_cells("train", **{**names, "BATCH": 3})


def test_a_run_that_fails_stops_the_notebook(
    run_cells: Callable[..., dict[str, Any]], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    training(monkeypatch, 2, lambda: None)
    names = run_cells("settings", "machine", "install", "data")
    with pytest.raises(RuntimeError, match="exit code 2"):
        run_cells("train", **names)
