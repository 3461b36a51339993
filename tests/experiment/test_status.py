"""How far a series is, and what has changed since: told without a model."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from loragraft.artifact.lock import hold_lock
from loragraft.errors import InputError
from loragraft.experiment.compare import check_comparable
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.facts import changed, unreachable
from loragraft.experiment.run import RunRequest, run_series
from loragraft.experiment.run_info import RunInfo, read_run, utc_now, write_run
from loragraft.experiment.status import ArmStatus, series_status
from loragraft.experiment.store import lock_path
from tests.support.series import embedding_series, loaded, write_pairs
from tests.support.small_index import build_static

COUNT = 12


@pytest.fixture
def config(tmp_path: Path) -> SeriesConfig:
    """A series of two experiments, complete."""
    build_static(tmp_path / "embedder")
    config = loaded(embedding_series(tmp_path, tmp_path / "embedder", COUNT))
    run_series(config, RunRequest(score=False))
    return config


@pytest.fixture
def folder(config: SeriesConfig) -> Path:
    """The first experiment's."""
    return config.outputs / config.series / "first"


def first(config: SeriesConfig) -> ArmStatus:
    """Return how far the first experiment is."""
    return series_status(config).arms[0]


def info_of(folder: Path) -> RunInfo:
    """Return what a run says of itself."""
    info = read_run(folder)
    assert info is not None
    return info


def test_a_complete_series_says_so(config: SeriesConfig) -> None:
    status = series_status(config)
    assert status.complete
    assert [(arm.state, arm.done, arm.total, arm.stale) for arm in status.arms] == [
        ("complete", COUNT, COUNT, ())
    ] * 2


def test_nothing_is_there_before_the_first_run(tmp_path: Path, static_folder: Path) -> None:
    config = loaded(embedding_series(tmp_path, static_folder, COUNT))
    status = series_status(config)
    assert [arm.state for arm in status.arms] == ["not started"] * 2
    assert not status.complete
    assert not (tmp_path / "outputs").exists()


def test_touching_a_model_is_no_change_and_another_model_is(
    config: SeriesConfig, tmp_path: Path
) -> None:
    weights = tmp_path / "embedder" / "model.safetensors"
    os.utime(weights, ns=(1, 1))
    assert first(config).stale == ()
    build_static(tmp_path / "embedder", seed=1)
    assert first(config).stale == ("model",)
    assert run_series(config, RunRequest(only=["first"], score=False)).arms[0].state == "done"
    assert first(config).stale == ()


def test_a_model_that_is_gone_is_not_stale_but_unseen(config: SeriesConfig, tmp_path: Path) -> None:
    (tmp_path / "embedder").rename(tmp_path / "moved")
    status = first(config)
    assert (status.stale, status.unseen) == ((), ("model",))
    assert run_series(config, RunRequest(score=False)).arms[0].state == "kept"


def test_other_questions_and_another_configuration_are_stale(
    config: SeriesConfig, tmp_path: Path
) -> None:
    assert first(loaded(tmp_path / "series.yaml", "seed=3")).stale == ("configuration",)
    write_pairs(tmp_path / "pairs.jsonl", COUNT + 1)
    assert first(config).stale == ("questions",)


def test_a_series_is_what_it_was_from_any_folder_and_after_a_move(
    config: SeriesConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first(config).stale == ()
    monkeypatch.chdir(tmp_path)
    assert first(loaded(Path("series.yaml"))).stale == ()
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("series.yaml", "pairs.jsonl", "outputs", "embedder"):
        (tmp_path / name).rename(moved / name)
    text = (moved / "series.yaml").read_text(encoding="utf-8")
    (moved / "series.yaml").write_text(text.replace(str(tmp_path / "embedder"), "./embedder"))
    monkeypatch.chdir(moved)
    for path in (Path("series.yaml"), moved / "series.yaml"):
        status = first(loaded(path))
        assert (status.state, status.stale, status.unseen) == ("complete", (), ())


@pytest.fixture
def running(folder: Path) -> Iterator[None]:
    """The first experiment at work in this process, for a while already, with some answers."""
    info = info_of(folder)
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "samples.jsonl").write_text("\n".join(lines[:8]) + "\n", encoding="utf-8")
    began = utc_now().replace("Z", "+00:00")
    session = {"began": began.replace(began[:4], str(int(began[:4]) - 1)), "done": 2}
    write_run(folder, replace(info, state="running", session=session, samples={}))
    with hold_lock(lock_path(folder)):
        yield


@pytest.mark.usefixtures("running")
def test_a_run_at_work_tells_how_far_and_how_long(config: SeriesConfig) -> None:
    status = first(config)
    assert (status.state, status.done) == ("running", 8)
    assert status.rate is not None
    assert status.seconds_left == pytest.approx((COUNT - 8) / status.rate)


def test_a_run_without_any_answer_has_failed(config: SeriesConfig, folder: Path) -> None:
    write_run(folder, replace(info_of(folder), counts={"timeout": COUNT}, message="No answer."))
    status = series_status(config)
    assert not status.complete
    assert (status.arms[0].state, status.arms[0].message) == ("failed", "No answer.")


def test_a_run_whose_process_is_gone_is_interrupted(config: SeriesConfig, folder: Path) -> None:
    write_run(folder, replace(info_of(folder), state="running", counts={}))
    owner = lock_path(folder).with_name(lock_path(folder).name + ".owner")
    owner.write_text('{"pid": 999999999, "host": "elsewhere", "since": "then"}')
    assert first(config).state == "running"
    owner.write_text(f'{{"pid": 999999999, "host": "{socket.gethostname()}", "since": ""}}')
    status = first(config)
    assert (status.state, status.done) == ("interrupted", COUNT)
    assert "the same command goes on" in status.message


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema_version": 1}', "\0" * 9, '{"a": ' * 90_000]
)
def test_a_run_file_that_says_nothing_counts_as_none(folder: Path, text: str) -> None:
    (folder / "run.json").write_text(text)
    assert read_run(folder) is None


def test_runs_of_other_questions_sizes_or_indexes_are_not_compared(folder: Path) -> None:
    info = info_of(folder)
    check_comparable(info, info)
    with pytest.raises(InputError, match="size 'small' against '3B'"):
        check_comparable(info, replace(info, size="3B"))
    with pytest.raises(InputError, match=r"split 'pairs\.jsonl .* against 'other"):
        check_comparable(info, replace(info, source={**info.source, "name": "other"}))
    fewer = replace(info, questions="f", source={**info.source, "questions": 5})
    with pytest.raises(InputError, match=r"other questions \(12 against 5\)"):
        check_comparable(info, fewer)


def test_two_indexes_are_told_apart_only_where_both_were_searched(folder: Path) -> None:
    info = info_of(folder)
    one, two = (
        replace(info, retrieves=True, inputs={"arm": {"index": {"files": {"vectors": name}}}})
        for name in ("a" * 64, "b" * 64)
    )
    with pytest.raises(InputError, match=r"index [0-9a-f]{12} against [0-9a-f]{12}"):
        check_comparable(one, two)
    check_comparable(one, replace(two, retrieves=False))


def test_facts_of_a_corpus_compare_the_sources_that_are_still_there() -> None:
    file = {"files": {"a.md": [1, 2, "hash"]}}
    before = {"corpus": {"sources": {"a": file, "b": file}}}
    assert changed(before, {"corpus": {"sources": {"a": file}}}) == []
    other = {"files": {"a.md": [1, 3, "other"]}}
    assert changed(before, {"corpus": {"sources": {"a": other}}}) == ["corpus"]
    assert changed({"model": None}, {"model": file}) == []
    assert unreachable({"model": file, "index": None}, {"model": None, "index": None}) == ["model"]
