"""``loragraft train grid``: as a person or a script uses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loragraft.artifact.lock import hold_lock
from loragraft.cli.main import main
from loragraft.training.spelling import spell_config
from tests.support.training import small_config

LOW, HIGH = "small_r2_lr5e-3_e1", "small_r4_lr5e-3_e1"


@pytest.fixture
def grid(talking: Callable[[str], Path], tmp_path: Path) -> Callable[..., Result]:
    """Run the command on a grid of two short runs."""
    wanted = small_config(
        tmp_path / "data", optimiser={"batch": 6, "accumulation": 1},
        grid={"r": (2, 4), "learning_rate": (5e-3,), "epochs": (1,)},
    )  # fmt: skip
    path = tmp_path / "grid.yaml"
    path.write_text(spell_config(wanted))
    usual = [str(path), "--base", str(talking("llama")), "-o", str(tmp_path / "out"),
             "--threads", "1"]  # fmt: skip
    return lambda *more: CliRunner().invoke(main, ["train", "grid", *usual, *more])


def test_a_dry_run_lists_the_runs_and_trains_nothing(
    grid: Callable[..., Result], tmp_path: Path
) -> None:
    shown = grid("--dry-run")
    assert shown.exit_code == 0, shown.output
    assert LOW in shown.stdout
    assert "waiting" in shown.stdout
    assert shown.stdout.endswith("Nothing was trained.\n")
    told = json.loads(grid("--dry-run", "--json").stdout)
    assert [line["state"] for line in told["runs"]] == ["waiting", "waiting"]
    assert told["best"] is None
    assert not (tmp_path / "out").exists()


def test_a_grid_is_shown_and_told_to_programs(grid: Callable[..., Result], tmp_path: Path) -> None:
    first = grid()
    assert first.exit_code == 0, first.output
    assert "Best by validation loss: small_r" in first.stdout
    assert f"Adapter, report and picture: {tmp_path / 'out' / 'small'}" in first.stdout
    told = json.loads(grid("--json").stdout)
    assert told["best"] in (LOW, HIGH)
    assert {line["state"] for line in told["runs"]} == {"finished"}
    assert told["advice"]
    changed = grid("--set", "lora.dropout=0.3")
    assert changed.exit_code == 2
    assert "differs in lora.dropout" in changed.stderr


def test_a_run_that_failed_is_told_by_the_exit_code(
    grid: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    with hold_lock(tmp_path / "out" / f".{LOW}.lock"):
        result = grid()
    assert result.exit_code == 1, result.output
    assert f"Note: {LOW}: " in result.stderr
    assert "failed" in result.stdout
    assert f"Best by validation loss: {HIGH}" in result.stdout


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--jobs", "0"], "0 is not in the range"),
        (["--set", "grid.r=[4,4]"], "one or more values, each once"),
        (["--set", "grid.learning_rate=[0]"], "greater than 0"),
        (["--id", "a/b"], "holds '/'"),
    ],
)
def test_wrong_usage_is_explained(grid: Callable[..., Result], more: list[str], words: str) -> None:
    result = grid(*more)
    assert result.exit_code == 2
    assert words in result.stderr
