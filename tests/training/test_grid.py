"""A grid: every combination once, however often it is interrupted, and the best by validation."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loragraft.artifact.checksums import check_checksums
from loragraft.artifact.lock import hold_lock
from loragraft.artifact.metadata import read_metadata
from loragraft.errors import BundleError, CheckFailedError, InputError, LockedError
from loragraft.training.config import TrainConfig, load_config
from loragraft.training.grid import GridOutcome, plan_grid, run_grid
from loragraft.training.grid_cells import make_cells, short_rate
from loragraft.training.run import train
from loragraft.training.saving import WEIGHTS_NAME
from loragraft.training.spelling import spell_config
from tests.support.training import Heard, conversations, small_config, write_rows

ROOT = Path(__file__).resolve().parents[2]
TWO = {"r": (2, 4), "learning_rate": (5e-3,), "epochs": (1,)}
LOW, HIGH = "small_r2_lr5e-3_e1", "small_r4_lr5e-3_e1"

pytestmark = pytest.mark.usefixtures("one_thread")


def config(folder: Path, **more: Any) -> TrainConfig:  # noqa: ANN401
    """Two runs of three steps."""
    optimiser = {"batch": 6, "accumulation": 1, **more.pop("optimiser", {})}
    return small_config(folder / "data", optimiser=optimiser, **{"grid": TWO, **more})


def run(wanted: TrainConfig, folder: Path, base: Path, **more: Any) -> GridOutcome:  # noqa: ANN401
    """Run a grid into a folder."""
    return run_grid(wanted, folder / "out", base=str(base), **more)


def state(folder: Path) -> dict[str, int]:
    """Return when each weights file of a folder was written, in nanoseconds."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob(f"*/{WEIGHTS_NAME}")}


def test_runs_are_named_by_their_values_and_alpha_goes_with_the_rank(tmp_path: Path) -> None:
    wanted = small_config(
        tmp_path, lora={"r": 8, "alpha": 12},
        grid={"r": [4, 16], "learning_rate": [1e-4, 2.5e-5], "epochs": [2, 1.5]},
    )  # fmt: skip
    cells = make_cells(wanted)
    assert [cell.id for cell in cells][:3] == [
        "small_r4_lr1e-4_e2", "small_r4_lr1e-4_e1.5", "small_r4_lr2.5e-5_e2",
    ]  # fmt: skip
    assert len({cell.id for cell in cells}) == 8
    assert {(c.config.lora.r, c.config.lora.alpha) for c in cells} == {(4, 6), (16, 24)}
    rooted = small_config(tmp_path, lora={"r": 8, "alpha": 12, "rslora": True}, grid={"r": [4, 16]})
    assert {cell.config.lora.alpha for cell in make_cells(rooted)} == {12}


@pytest.mark.parametrize(
    ("rate", "words"), [(1e-4, "1e-4"), (0.5, "5e-1"), (1, "1e0"), (3.14159e-7, "3.14159e-7")]
)
def test_rates_are_spelled_briefly(rate: float, words: str) -> None:
    assert short_rate(rate) == words


def test_values_that_are_all_but_equal_are_refused(tmp_path: Path) -> None:
    wanted = small_config(tmp_path, grid={"learning_rate": [1e-4, 1.0000001e-4]})
    with pytest.raises(InputError, match="further apart"):
        make_cells(wanted)


def test_a_name_that_gets_too_long_is_refused(tmp_path: Path) -> None:
    long = small_config(tmp_path).model_copy(update={"experiment_id": "x" * 195})
    with pytest.raises(InputError, match="--id"):
        make_cells(long)


def test_a_grid_without_validation_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="by its validation loss"):
        run(config(tmp_path, held=False), tmp_path, base)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def once(talking: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and the grid's results, trained once."""
    folder = tmp_path_factory.mktemp("grid")
    run(config(folder), folder, talking("llama"), threads=1)
    return folder


@pytest.fixture
def done(once: Path, base: Path, tmp_path: Path) -> GridOutcome:
    """The same in a folder of the test's own."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    return run(config(tmp_path), tmp_path, base)


def test_the_best_is_published_under_the_grids_name(done: GridOutcome, tmp_path: Path) -> None:
    losses = {line.id: line.validation_loss for line in done.report.lines}
    assert set(losses) == {LOW, HIGH}
    best = min(losses, key=lambda name: losses[name] or 0)
    assert done.report.to_json()["best"] == best
    out = tmp_path / "out"
    assert done.folder == out / "small"
    assert check_checksums(done.folder) == []
    same = (done.folder / WEIGHTS_NAME).read_bytes() == (out / best / WEIGHTS_NAME).read_bytes()
    assert same
    metadata = read_metadata(done.folder)
    assert (metadata["experiment_id"], metadata["grid"]["run"]) == ("small", best)
    assert metadata["evaluation_summary"]["validation_loss"] == losses[best]
    told = json.loads((done.folder / "grid.json").read_text())
    assert {line["id"]: line["validation_loss"] for line in told["runs"]} == losses
    assert "## Grid" in (done.folder / "README.md").read_text()
    assert (done.folder / "grid.png").read_bytes().startswith(b"\x89PNG")
    assert load_config(done.folder / "training_config.yaml").lora.r == int(best[7])


def test_a_grid_that_is_done_trains_nothing(done: GridOutcome, base: Path, tmp_path: Path) -> None:
    before, heard = state(tmp_path / "out"), Heard()
    again = run(config(tmp_path), tmp_path, base, progress=heard)
    assert state(tmp_path / "out") == before
    assert again.report == done.report
    assert "0 of 2 runs are left to do." in heard.notes


def test_a_wider_grid_trains_only_what_is_new(
    done: GridOutcome, base: Path, tmp_path: Path
) -> None:
    before = state(tmp_path / "out")
    wider = config(tmp_path, grid={**TWO, "r": (2, 4, 1)})
    plan = plan_grid(wider, tmp_path / "out", base=str(base))
    assert [line.state for line in plan.lines] == ["finished", "finished", "waiting"]
    after = run(wider, tmp_path, base)
    assert len(after.report.lines) == 3
    now = state(tmp_path / "out")
    assert {name: now[name] for name in (LOW, HIGH)} == {n: before[n] for n in (LOW, HIGH)}


def test_other_settings_or_data_need_to_replace(
    done: GridOutcome, base: Path, tmp_path: Path
) -> None:
    before = state(tmp_path / "out")
    other = config(tmp_path, lora={"dropout": 0.2})
    with pytest.raises(BundleError, match=rf"{LOW}, and 1 more is there.*lora\.dropout.*--replace"):
        run(other, tmp_path, base)
    assert state(tmp_path / "out") == before
    run(other, tmp_path, base, replace=True)
    assert load_config(tmp_path / "out" / LOW / "training_config.yaml").lora.dropout == 0.2

    write_rows(tmp_path / "data/train.jsonl", conversations(20))
    changed = other.model_copy()
    with pytest.raises(BundleError, match="it differs in the data"):
        run(changed, tmp_path, base)
    (tmp_path / "out" / LOW / WEIGHTS_NAME).write_bytes(b"broken")
    plan = plan_grid(changed, tmp_path / "out", base=str(base))
    assert [line.state for line in plan.lines] == ["other", "other"]
    assert "no whole result" in plan.lines[0].error


def test_a_single_runs_adapter_of_that_name_does_not_give_way(base: Path, tmp_path: Path) -> None:
    (tmp_path / "out/small").mkdir(parents=True)
    (tmp_path / "out/small/checksums.txt").touch()
    with pytest.raises(BundleError, match="--replace"):
        run(config(tmp_path), tmp_path, base)
    assert not state(tmp_path / "out")


def test_a_run_that_fails_is_told_and_the_others_go_on(base: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with hold_lock(tmp_path / "out" / f".{LOW}.lock"):
        outcome = run(config(tmp_path), tmp_path, base)
    assert [line.state for line in outcome.report.lines] == ["failed", "finished"]
    assert "is held by" in outcome.report.lines[0].error
    assert outcome.report.to_json()["best"] == HIGH
    assert "is held by" in (outcome.folder / "README.md").read_text()
    again = run(config(tmp_path), tmp_path, base)  # the grid's own result gives way
    assert [line.state for line in again.report.lines] == ["finished", "finished"]
    assert "is held by" not in (again.folder / "README.md").read_text()


def test_a_grid_of_which_nothing_worked_is_an_error(base: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    wanted = config(tmp_path, grid={**TWO, "r": (2,)})
    with (
        hold_lock(tmp_path / "out" / f".{LOW}.lock"),
        pytest.raises(CheckFailedError, match=f"None of the 1 runs.*{LOW}: "),
    ):
        run(wanted, tmp_path, base)
    assert not (tmp_path / "out/small").exists()


def test_two_of_the_same_grid_at_once_are_refused(base: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with hold_lock(tmp_path / "out/.small.lock"), pytest.raises(LockedError):
        run(config(tmp_path), tmp_path, base)


@pytest.mark.slow
def test_a_grid_that_is_killed_goes_on_to_the_same_result(
    done: GridOutcome, base: Path, tmp_path: Path
) -> None:
    """Killed in the second run: the first is not trained again, the second ends as if unbroken."""
    path, out = tmp_path / "grid.yaml", tmp_path / "killed"
    path.write_text(spell_config(config(tmp_path)))
    command = [sys.executable, "-m", "loragraft", "train", "grid", str(path), "--base", str(base),
               "-o", str(out), "--threads", "1"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    for line in first.stderr:
        if line.startswith("Run 2 of 2"):
            break
    while not (out / f".{HIGH}.staging").exists() and first.poll() is None:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stderr.close()
    before = state(out)
    assert set(before) == {LOW}
    second = run_grid(config(tmp_path), out, base=str(base))
    assert state(out)[LOW] == before[LOW]
    for name in (LOW, HIGH):
        there, unbroken = out / name / WEIGHTS_NAME, tmp_path / "out" / name / WEIGHTS_NAME
        assert there.read_bytes() == unbroken.read_bytes()
    assert second.report.to_json()["best"] == done.report.to_json()["best"]


@pytest.mark.slow
def test_runs_in_processes_of_their_own_give_the_same(
    done: GridOutcome, base: Path, tmp_path: Path
) -> None:
    heard = Heard()
    outcome = run(config(tmp_path), tmp_path / "apart", base, jobs=2, threads=1, progress=heard)
    assert {f"{name} is done." for name in (LOW, HIGH)} <= set(heard.notes)
    for name in (LOW, HIGH):
        there = tmp_path / "apart/out" / name / WEIGHTS_NAME
        assert there.read_bytes() == (tmp_path / "out" / name / WEIGHTS_NAME).read_bytes()
    assert outcome.report.to_json()["best"] == done.report.to_json()["best"]


def test_an_unfinished_run_of_the_grids_name_is_neither_lost_nor_published(
    base: Path, tmp_path: Path
) -> None:
    wanted = config(tmp_path, grid={**TWO, "r": (2,)}, evaluation={"every": 1, "samples": 0})

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(wanted, tmp_path / "out", base=str(base), progress=Heard(2, stop))
    with pytest.raises(BundleError, match="holds an unfinished run"):
        run(wanted, tmp_path, base)
    folder = run(wanted, tmp_path, base, replace=True).folder
    assert not (folder / "checkpoints").exists()
    assert {path.name for path in folder.iterdir()} == {
        path.name for path in (tmp_path / "out" / LOW).iterdir()
    } | {"grid.json", "grid.png"}
