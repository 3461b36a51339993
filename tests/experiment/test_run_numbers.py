"""A number in ``run.json`` that cannot be is told by name, and no command dies of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from loragraft.cli.main import main
from loragraft.errors import InputError
from loragraft.experiment.run_info import read_run
from tests.support.series import embedding_series

COUNT = 4
LONG = 10**399
CASES: list[tuple[dict[str, Any], str]] = [
    ({"load": {"tokens": float("inf")}}, "load.tokens is inf"),
    ({"load": {"seconds": LONG}}, f"load.seconds is {str(LONG)[:40]}...; expected a finite"),
    ({"load": {"tokens": "x"}}, "load.tokens is 'x'; expected a finite number, 0 or more"),
    ({"load": {"tokens": -1}}, "load.tokens is -1"),
    ({"load": {"tokens": True}}, "load.tokens is True"),
    ({"load": {"wall_seconds": None}}, "load.wall_seconds is None"),
    ({"repeats": 10**9}, "repeats is 1000000000; expected 1 to 100"),
    ({"repeats": 0}, "repeats is 0"),
    ({"repeats": -1}, "repeats is -1"),
    ({"total": -1}, "total is -1; expected 0 or more"),
    ({"session": {"done": [LONG]}}, "session.done[0] is 1000"),
    ({"inputs": {"seed": float("nan")}}, "inputs.seed is nan"),
]


def invoke(*words: object) -> Result:
    """Run a command of the group."""
    return CliRunner().invoke(main, ["experiment", *map(str, words)])


@pytest.fixture
def series(tmp_path: Path, static_folder: Path) -> Path:
    """A series that was run."""
    path = embedding_series(tmp_path, static_folder, COUNT)
    assert invoke("run", path).exit_code == 0
    return path


def spoil(folder: Path, changes: dict[str, Any]) -> None:
    """Write values into a run's file."""
    values = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**values, **changes}))


@pytest.mark.parametrize(("changes", "said"), CASES)
def test_a_number_that_cannot_be_is_refused_by_name(
    series: Path, changes: dict[str, Any], said: str
) -> None:
    folder = series.parent / "outputs" / "pairs" / "second"
    spoil(folder, changes)
    with pytest.raises(InputError) as refused:
        read_run(folder)
    assert said in str(refused.value)
    assert str(folder / "run.json") in str(refused.value)
    assert "--restart" in str(refused.value)
    assert len(str(refused.value)) < 500 + len(str(folder))


def test_no_command_dies_of_it_and_a_restart_mends_it(series: Path) -> None:
    folder = series.parent / "outputs" / "pairs" / "second"
    for changes in ({"load": {"tokens": float("inf")}}, {"repeats": 10**9}):
        spoil(folder, changes)
        report = invoke("report", series)
        assert report.exit_code == 0, report.output
        assert "second is left out:" in report.stderr
        assert "expected" in report.stderr
    assert "expected a finite number" in invoke("status", series, "--json").output
    planned = invoke("run", series, "--dry-run")
    assert isinstance(planned.exception, SystemExit | None), planned.output
    assert invoke("run", series).exit_code != 0
    restart = invoke("run", series, "--only", "second", "--restart", "--dry-run")
    assert restart.exit_code == 0, restart.output
    assert invoke("run", series, "--only", "second", "--restart").exit_code == 0
    assert read_run(folder) is not None


def test_a_server_s_memory_may_be_unknown(series: Path) -> None:
    folder = series.parent / "outputs" / "pairs" / "second"
    spoil(folder, {"load": {"peak_bytes": None, "tokens": 0}})
    assert read_run(folder) is not None


def test_an_endless_schema_version_is_cut(series: Path) -> None:
    folder = series.parent / "outputs" / "pairs" / "second"
    spoil(folder, {"schema_version": LONG})
    with pytest.raises(InputError) as refused:
        read_run(folder)
    assert f"schema version {str(LONG)[:40]};" in str(refused.value)
