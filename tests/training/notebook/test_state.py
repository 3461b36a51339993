"""The state of a run that is stopped on one machine and goes on on another."""

from __future__ import annotations

import shutil
import tarfile
import threading
from pathlib import Path

import pytest

from loragraft.artifact.checksums import write_checksums
from loragraft.errors import AdapterError, OutOfSpaceError
from loragraft.training.notebook import state
from loragraft.training.notebook.state import (
    choose_size,
    forget_unfinished,
    keeping,
    pack_unfinished,
    restore_unfinished,
)

SIZES = {"T4": {"batch": 2, "fits": True}, "P100": {"batch": 4, "fits": True}}
OWN = {"batch": 1, "fits": True}


def checkpoint(outputs: Path, step: int, *, whole: bool = True, name: str = "run") -> Path:
    """Leave what a run leaves at a step."""
    staging = outputs / f".{name}.staging"
    folder = staging / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "optimizer.pt").write_bytes(bytes([step]) * 5000)
    (outputs / f".{name}.journal").write_text("key\n")
    (staging / "log.jsonl").write_text(f"{step}\n")
    if whole:
        write_checksums(folder, {})
    return folder


def content(outputs: Path) -> dict[str, bytes]:
    return {path.relative_to(outputs).as_posix(): path.read_bytes()
            for path in outputs.rglob("*") if path.is_file()}  # fmt: skip


def test_an_unfinished_run_goes_on_elsewhere(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    assert pack_unfinished(here, "run", tmp_path) is None
    checkpoint(here, 2)
    packed = pack_unfinished(here, "run", tmp_path)
    assert packed is not None
    there.mkdir()
    assert restore_unfinished(there, "run", [tmp_path / "empty", tmp_path]) == packed.path
    assert content(there) == content(here)
    (there / ".run.journal").write_text("further\n")
    assert restore_unfinished(there, "run", [tmp_path]) is None  # its own state is newer
    assert (there / ".run.journal").read_text() == "further\n"


def test_a_checkpoint_that_is_being_written_stays_behind(tmp_path: Path) -> None:
    checkpoint(tmp_path, 2, whole=False)
    assert pack_unfinished(tmp_path, "run", tmp_path) is None
    checkpoint(tmp_path, 4)
    packed = pack_unfinished(tmp_path, "run", tmp_path)
    assert packed is not None
    with tarfile.open(packed.path) as archive:
        names = archive.getnames()
    assert not [name for name in names if "checkpoint-2" in name]
    assert ".run.staging/checkpoints/checkpoint-4/optimizer.pt" in names
    assert names[-1] == ".run.journal"


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    checkpoint(tmp_path / "here", 2)
    pack_unfinished(tmp_path / "here", "run", tmp_path)
    (tmp_path / "there" / "run").mkdir(parents=True)
    assert restore_unfinished(tmp_path / "there", "run", [tmp_path]) is None
    forget_unfinished("run", tmp_path)
    forget_unfinished("run", tmp_path)
    assert restore_unfinished(tmp_path / "new", "run", [tmp_path]) is None


def test_a_broken_state_restores_nothing(tmp_path: Path) -> None:
    checkpoint(tmp_path / "here", 2)
    packed = pack_unfinished(tmp_path / "here", "run", tmp_path)
    assert packed is not None
    packed.path.write_bytes(packed.path.read_bytes()[:3000])
    with pytest.raises(AdapterError, match="broken or cut off"):
        restore_unfinished(tmp_path / "there", "run", [tmp_path])
    with tarfile.open(packed.path, "w") as archive:
        link = tarfile.TarInfo(".run.staging")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    with pytest.raises(AdapterError, match="holds the link"):
        restore_unfinished(tmp_path / "there", "run", [tmp_path])
    assert not (tmp_path / "there" / ".run.journal").exists()


def test_a_run_keeps_its_division_on_another_gpu(tmp_path: Path) -> None:
    assert choose_size(tmp_path, "run", SIZES, "Tesla T4", OWN) == SIZES["T4"]
    assert choose_size(tmp_path, "run", SIZES, "NVIDIA L4", OWN) == OWN  # nothing has begun
    assert choose_size(tmp_path, "run", SIZES, "Tesla P100-PCIE-16GB", OWN) == SIZES["P100"]
    checkpoint(tmp_path, 2)
    assert choose_size(tmp_path, "run", SIZES, "Tesla T4", OWN) == SIZES["P100"]
    pack_unfinished(tmp_path, "run", tmp_path)
    restore_unfinished(tmp_path / "there", "run", [tmp_path])
    assert choose_size(tmp_path / "there", "run", SIZES, "Tesla T4", OWN) == SIZES["P100"]


def test_checkpoints_are_copied_while_a_run_goes_on(tmp_path: Path) -> None:
    outputs, stays = tmp_path / "outputs", tmp_path / "stays"
    stays.mkdir()
    archive = stays / "run_unfinished.tar"
    with keeping(outputs, "run", stays, seconds=0.01):
        checkpoint(outputs, 2)
        for _ in range(6000):
            if archive.exists():
                break
            threading.Event().wait(0.01)
        shutil.rmtree(outputs / ".run.staging" / "checkpoints" / "checkpoint-2")
        checkpoint(outputs, 4)
    with tarfile.open(archive) as file:
        steps = {name.split("/")[2] for name in file.getnames() if "optimizer" in name}
    assert steps == {"checkpoint-4"}


def test_what_stays_by_itself_is_not_copied(tmp_path: Path) -> None:
    outputs = tmp_path / "adapters"
    with keeping(outputs, "run", tmp_path, seconds=0.01):
        checkpoint(outputs, 2)
    assert not list(tmp_path.glob("*.tar"))


def test_a_run_outlives_a_drive_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: object) -> None:
        raise OutOfSpaceError("The disk filled up.")

    monkeypatch.setattr(state, "write_tar", full)
    with keeping(tmp_path / "outputs", "run", tmp_path / "stays", seconds=600):
        checkpoint(tmp_path / "outputs", 2)
        (tmp_path / "stays").mkdir()
    assert "could not be copied" in capsys.readouterr().out
    assert not list((tmp_path / "stays").iterdir())


def test_a_checkpoint_that_goes_while_it_is_packed_is_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint(tmp_path, 2)
    real = state.write_tar

    def rotate(*arguments: object) -> None:
        if not (tmp_path / ".run.staging" / "checkpoints" / "checkpoint-4").exists():
            checkpoint(tmp_path, 4)
            shutil.rmtree(tmp_path / ".run.staging" / "checkpoints" / "checkpoint-2")
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(state, "write_tar", rotate)
    packed = pack_unfinished(tmp_path, "run", tmp_path)
    assert packed is not None
    with tarfile.open(packed.path) as archive:
        assert any("checkpoint-4" in name for name in archive.getnames())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".run.journal", ".run.staging", "run_unfinished.tar",
    ]  # fmt: skip
