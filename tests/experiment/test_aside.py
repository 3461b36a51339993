"""What somebody does to a run's folder is noticed, said, and loses nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.run import RunRequest, run_series
from loragraft.experiment.run_info import read_run
from loragraft.experiment.scoring import read_scores
from loragraft.experiment.status import series_status
from loragraft.experiment.store import read_samples
from tests.support.series import embedding_series, loaded

COUNT = 6
FIRST = RunRequest(only=["first"])


@pytest.fixture
def series(tmp_path: Path, static_folder: Path) -> Path:
    """A series of which the first experiment is complete."""
    path = embedding_series(tmp_path, static_folder, COUNT)
    run_series(loaded(path), FIRST)
    return path


@pytest.fixture
def config(series: Path) -> SeriesConfig:
    """The series as it stands in its file."""
    return loaded(series)


@pytest.fixture
def folder(config: SeriesConfig) -> Path:
    """The first experiment's."""
    return config.outputs / config.series / "first"


def edit(path: Path, old: str, new: str) -> None:
    """Replace the first occurrence of a text in a file."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_configuration_that_comes_back_takes_its_run_back(series: Path, folder: Path) -> None:
    kept = read_samples(folder)
    run_series(loaded(series, "seed=7"), FIRST)
    [outcome] = run_series(loaded(series), FIRST).arms
    assert read_samples(folder) == kept
    assert any("taken back" in note for note in outcome.notes)
    [other] = folder.parent.glob("first.previous-*")
    assert (read_run(other) or pytest.fail("no run")).inputs["seed"] == 7
    [restarted] = run_series(loaded(series), RunRequest(only=["first"], restart=True)).arms
    assert not any("taken back" in note for note in restarted.notes)
    assert len(list(folder.parent.glob("first.previous-*"))) == 2


def test_an_unfinished_run_that_is_taken_back_goes_on(series: Path, folder: Path) -> None:
    few = read_samples(folder)
    run_series(loaded(series, "seed=7"), FIRST)
    lines = next(folder.parent.glob("first.previous-*")) / "samples.jsonl"
    lines.write_bytes(b"".join(lines.read_bytes().splitlines(keepends=True)[:2]))
    [outcome] = run_series(loaded(series), FIRST).arms
    assert outcome.counts == {"ok": COUNT}
    after = read_samples(folder)
    assert [after[key] for key in list(few)[:2]] == [few[key] for key in list(few)[:2]]


@pytest.mark.parametrize("harm", [
    lambda path: path.write_bytes(b""),
    lambda path: path.unlink(),
    lambda path: edit(path, '"parsed": 1', '"parsed": 0'),
], ids=["emptied", "gone", "edited"])  # fmt: skip
def test_answers_that_somebody_changed_are_stale(
    config: SeriesConfig, folder: Path, harm: Callable[[Path], object]
) -> None:
    assert series_status(config).arms[0].stale == ()
    harm(folder / "samples.jsonl")
    assert series_status(config).arms[0].stale == ("answers",)
    [outcome] = run_series(config, FIRST).arms
    assert any("somebody else has changed it" in note for note in outcome.notes)
    [arm, _] = series_status(config).arms
    assert (arm.stale, arm.done) == ((), COUNT)
    assert any("somebody else has changed it" in note for note in arm.notes)


def test_scores_that_somebody_changed_are_measured_again(
    config: SeriesConfig, folder: Path
) -> None:
    true = list(read_scores(folder))
    for old, new in (('"value": ', '"value": 9'), ('"metric"', "{")):
        edit(folder / "scores.jsonl", old, new)
        run_series(config, FIRST)
        assert list(read_scores(folder)) == true


def test_damaged_samples_are_kept_each_time(config: SeriesConfig, folder: Path) -> None:
    path = folder / "samples.jsonl"
    for junk in (b"\x00one\n", b"\x00two\n"):
        path.write_bytes(path.read_bytes() + junk)
        run_series(config, FIRST)
    kept = sorted(folder.glob("samples.jsonl.damaged*"))
    assert [junk in one.read_bytes() for one, junk in zip(kept, (b"one", b"two"), strict=True)]


def test_answers_without_their_run_file_are_told_before_they_are_moved(
    config: SeriesConfig, folder: Path
) -> None:
    (folder / "run.json").write_bytes(b"\xff")
    arm = series_status(config).arms[0]
    assert (arm.state, arm.done) == ("not started", 0)
    assert "run.json cannot be read" in arm.message
    assert "Put it back from a copy" in arm.message


def test_a_limit_that_is_another_is_told(config: SeriesConfig) -> None:
    few = config.model_copy(update={"data": config.data.model_copy(update={"limit": 2})})
    assert series_status(few).arms[0].stale == ("questions (limit none, now 2)",)


def _folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def _nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere/at/all")


def _itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


@pytest.mark.parametrize("harm", [_folder, _nowhere, _itself])
@pytest.mark.parametrize("name", ["samples.jsonl", "scores.jsonl"])
def test_what_is_no_file_is_an_error_that_names_it(
    config: SeriesConfig, folder: Path, name: str, harm: Callable[[Path], None]
) -> None:
    harm(folder / name)
    [arm] = run_series(config, FIRST).arms
    assert arm.state in ("failed", "done", "kept")
    assert arm.state != "failed" or name in arm.message
    shutil.rmtree(folder)
    assert run_series(config, FIRST).arms[0].counts == {"ok": COUNT}
