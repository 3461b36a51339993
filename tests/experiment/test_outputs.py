"""What lies where runs should is told, not waited for and not taken for no run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loragraft.cli.main import main
from loragraft.errors import InputError
from loragraft.experiment.run_info import read_run
from tests.support.series import embedding_series

piped = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of Unix")
barred = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() == 0, reason="root may look everywhere"
)


def invoke(*words: object) -> Result:
    """Run a command of the group."""
    return CliRunner().invoke(main, ["experiment", *map(str, words)])


@pytest.fixture(scope="module")
def ran(static_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a series that was run."""
    folder = tmp_path_factory.mktemp("series")
    assert invoke("run", embedding_series(folder, static_folder, 4)).exit_code == 0
    return folder


@pytest.fixture
def series(ran: Path, tmp_path: Path) -> Path:
    """The configuration of a copy that a test may change."""
    return Path(shutil.copytree(ran, tmp_path / "copy")) / "series.yaml"


@piped
@pytest.mark.parametrize("name", ["run.json", "samples.jsonl", "scores.jsonl"])
def test_a_pipe_in_place_of_a_file_keeps_nobody_waiting(series: Path, name: str) -> None:
    runs = series.parent / "outputs" / "pairs"
    (runs / "second" / name).unlink()
    os.mkfifo(runs / "second" / name)
    compared = invoke("compare", runs / "first", runs / "second")
    assert compared.exit_code == 2, compared.output
    report = invoke("report", series)
    assert report.exit_code == 0, report.output
    assert ("is no regular file" in report.stderr) == (name != "scores.jsonl")  # made anew
    invoke("status", series)
    promoted = invoke("promote", series)
    assert isinstance(promoted.exception, SystemExit | None), promoted.exception


@pytest.mark.parametrize("command", ["status", "report", "run"])
def test_outputs_that_are_no_folder_are_refused(series: Path, command: str) -> None:
    loop = series.parent / "loop"
    loop.symlink_to(loop)
    below = series.parent / "below"
    below.mkdir()
    (below / "pairs").write_text("")
    for outputs in (series, series / "below", Path(os.devnull), loop, below):
        refused = invoke(command, series, "--set", f"outputs={outputs}")
        assert refused.exit_code == 2, (outputs, refused.output)
        assert "is no folder" in refused.stderr


def test_outputs_that_are_not_there_yet_are_none(series: Path) -> None:
    shown = invoke("status", series, "--set", f"outputs={series.parent / 'new' / 'one'}")
    assert shown.exit_code in (0, 1), shown.output
    assert "is no folder" not in shown.output


@barred
def test_outputs_that_nobody_may_look_into_are_refused(series: Path) -> None:
    outputs = series.parent / "outputs"
    outputs.chmod(0)
    try:
        refused = invoke("report", series)
    finally:
        outputs.chmod(0o755)
    assert refused.exit_code == 2, refused.output
    assert "is no folder that results can lie in" in refused.stderr


def test_only_what_is_not_there_is_no_run(tmp_path: Path) -> None:
    assert read_run(tmp_path) is None
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is no folder"):
        read_run(tmp_path / "file")
    (tmp_path / "run.json").mkdir()
    with pytest.raises(InputError, match=r"run\.json cannot be read"):
        read_run(tmp_path)
