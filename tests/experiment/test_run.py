"""A series is run whole, resumed, kept, moved aside; one experiment's failure is its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from loragraft.artifact.lock import hold_lock
from loragraft.errors import InputError
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.run import RunRequest, ordered, run_series
from loragraft.experiment.run_info import read_run, write_run
from loragraft.experiment.store import lock_path, read_samples
from tests.support.series import embedding_series, loaded, pair, write_config, write_pairs

COUNT = 25


@pytest.fixture
def series(tmp_path: Path, static_folder: Path) -> Path:
    """A series of two experiments on 25 pairs."""
    return embedding_series(tmp_path, static_folder, COUNT)


def folder_of(config: SeriesConfig, name: str = "first") -> Path:
    """Return an experiment's folder."""
    return config.outputs / config.series / name


def lines_of(folder: Path) -> list[str]:
    """Return the lines of an experiment's samples."""
    return (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()


def answers_of(folder: Path) -> list[dict[str, object]]:
    """Return an experiment's samples without their times, by question."""
    samples = [json.loads(line) for line in lines_of(folder)]
    told = [{k: v for k, v in one.items() if k != "seconds"} for one in samples]
    return sorted(told, key=lambda one: str(one["question_id"]))


def test_every_question_is_answered_once_and_measured(series: Path) -> None:
    config = loaded(series)
    outcome = run_series(config)
    assert [(arm.name, arm.state, arm.counts) for arm in outcome.arms] == [
        ("first", "done", {"ok": COUNT}), ("second", "done", {"ok": COUNT}),
    ]  # fmt: skip
    samples = read_samples(folder_of(config))
    assert list(samples) == [(f"pair-{n:03d}", 0) for n in range(COUNT)]
    assert samples["pair-000", 0].parsed == pytest.approx(1.0)
    info = read_run(folder_of(config))
    assert info is not None
    assert (info.state, info.total, info.task) == ("complete", COUNT, "embedding")
    assert info.scores["metrics"]
    assert (folder_of(config) / "scores.jsonl").stat().st_size


def test_a_finished_run_is_left_as_it_is_and_loads_nothing(series: Path) -> None:
    config = loaded(series)
    run_series(config)
    before = {path: path.stat().st_mtime_ns for path in config.outputs.rglob("*") if path.is_file()}
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from loragraft.experiment.config import load_series\n"
        "from loragraft.experiment.run import run_series\n"
        f"arms = run_series(load_series(Path({str(series)!r}))).arms\n"
        "assert [arm.state for arm in arms] == ['kept', 'kept'], arms\n"
        "heavy = {'torch', 'transformers', 'numpy', 'faiss', 'llama_cpp', 'sklearn', 'scipy',"
        " 'rouge_score', 'sacrebleu', 'httpx', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_larger_limit_keeps_what_a_smaller_one_has_answered(series: Path) -> None:
    config = loaded(series)
    run_series(config, RunRequest(only=["first"], limit=7))
    few = read_samples(folder_of(config))
    run_series(config, RunRequest(only=["first"], limit=12))
    more = read_samples(folder_of(config))
    assert (len(few), len(more)) == (7, 12)
    assert all(more[key] == sample for key, sample in few.items())


def test_fewer_questions_than_there_are_answers_need_no_model(series: Path) -> None:
    config = loaded(series)
    run_series(config, RunRequest(only=["first"]))
    for limit in (7, None, 12):
        [arm] = run_series(config, RunRequest(only=["first"], limit=limit)).arms
        assert (arm.state, arm.total) == ("kept", limit or COUNT)
        info = read_run(folder_of(config))
        assert info is not None
        assert (info.total, info.source["limit"], info.counts) == (
            limit or COUNT, limit, {"ok": limit or COUNT},
        )  # fmt: skip
    assert len(read_samples(folder_of(config))) == COUNT


def test_an_alias_means_its_experiment_and_an_unknown_name_is_refused(series: Path) -> None:
    config = loaded(series)
    assert ordered(config, ["base"]) == ["first"]
    with pytest.raises(InputError, match=r"'third'.*There are: first, second, base"):
        ordered(config, ["third"])


def test_another_configuration_moves_the_old_run_aside(series: Path) -> None:
    config = loaded(series)
    run_series(config, RunRequest(only=["first"]))
    old = lines_of(folder_of(config))
    outcome = run_series(loaded(series, "seed=7"), RunRequest(only=["first"]))
    [moved] = (config.outputs / config.series).glob("first.previous-*")
    assert lines_of(moved) == old
    [note] = outcome.arms[0].notes
    assert "first that was there is another: seed" in note
    assert str(moved) in note


def test_restart_asks_everything_anew(series: Path) -> None:
    config = loaded(series)
    run_series(config, RunRequest(only=["first"]))
    outcome = run_series(config, RunRequest(only=["first"], restart=True))
    assert outcome.arms[0].state == "done"
    assert "was not to be kept" in outcome.arms[0].notes[0]
    assert len(list((config.outputs / config.series).glob("first.previous-*"))) == 1


def test_a_changed_record_alone_is_asked_again(series: Path) -> None:
    config = loaded(series)
    run_series(config, RunRequest(only=["first"]))
    before = read_samples(folder_of(config))
    changed = [pair(n) if n != 3 else {**pair(n), "a": "another text"} for n in range(COUNT)]
    text = "".join(json.dumps(one) + "\n" for one in changed)
    (series.parent / "pairs.jsonl").write_text(text, encoding="utf-8")
    outcome = run_series(config, RunRequest(only=["first"]))
    after = read_samples(folder_of(config))
    assert {key for key in after if after[key] != before[key]} == {("pair-003", 0)}
    assert "1 questions of first are not what they were" in outcome.arms[0].notes[0]
    [replaced] = (folder_of(config) / "replaced.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(replaced)["record"] == before["pair-003", 0].record


def test_what_a_killed_process_left_is_mended_and_finished(series: Path) -> None:
    config = loaded(series)
    run_series(config, RunRequest(only=["first"]))
    folder, whole = folder_of(config), lines_of(folder_of(config))
    answers = answers_of(folder)
    half = "\n".join(whole[:10]) + "\n" + whole[10][:40]
    (folder / "samples.jsonl").write_text(half, encoding="utf-8")
    outcome = run_series(config, RunRequest(only=["first"]))
    assert outcome.arms[0].state == "done"
    assert answers_of(folder) == answers
    assert lines_of(folder)[:10] == whole[:10]
    assert not list(folder.glob("*.damaged"))


def test_lines_that_are_no_samples_are_asked_again_and_kept_aside(series: Path) -> None:
    config = loaded(series)
    run_series(config, RunRequest(only=["first"]))
    folder, whole = folder_of(config), lines_of(folder_of(config))
    answers = answers_of(folder)
    spoilt = [*whole[:4], "\0" * 30, '{"question_id": 3}', *whole[6:], whole[0]]
    (folder / "samples.jsonl").write_text("\n".join(spoilt) + "\n", encoding="utf-8")
    outcome = run_series(config, RunRequest(only=["first"]))
    assert answers_of(folder) == answers
    assert "2 lines of" in outcome.arms[0].notes[0]
    assert (folder / "samples.jsonl.damaged").read_text(encoding="utf-8").splitlines() == spoilt


def test_a_broken_run_file_moves_the_folder_aside(series: Path) -> None:
    config = loaded(series)
    run_series(config, RunRequest(only=["first"]))
    (folder_of(config) / "run.json").write_text("{", encoding="utf-8")
    outcome = run_series(config, RunRequest(only=["first"]))
    assert outcome.arms[0].state == "done"
    assert "could not be read" in outcome.arms[0].notes[0]
    assert len(lines_of(folder_of(config))) == COUNT


def test_results_of_a_newer_loragraft_are_left_alone(series: Path) -> None:
    config = loaded(series)
    run_series(config, RunRequest(only=["first"]))
    folder = folder_of(config)
    values = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps({**values, "schema_version": 99}))
    outcome = run_series(config)
    assert [arm.state for arm in outcome.arms] == ["failed", "done"]
    assert "schema version 99" in outcome.arms[0].message


def test_another_process_at_the_same_experiment_fails_it_alone(series: Path) -> None:
    config = loaded(series)
    (config.outputs / config.series).mkdir(parents=True)
    with hold_lock(lock_path(folder_of(config))):
        outcome = run_series(config)
    assert [arm.state for arm in outcome.arms] == ["failed", "done"]
    assert "is held by process" in outcome.arms[0].message
    assert outcome.failed


def test_one_experiment_that_cannot_be_opened_does_not_stop_the_others(
    tmp_path: Path, static_folder: Path
) -> None:
    path = embedding_series(tmp_path, static_folder, COUNT)
    config = loaded(path, "experiments.first.engine.model=/nowhere/at/all")
    outcome = run_series(config)
    assert [arm.state for arm in outcome.arms] == ["failed", "done"]
    assert "/nowhere/at/all" in outcome.arms[0].message


def test_a_series_waits_for_those_before_it(tmp_path: Path, static_folder: Path) -> None:
    before = embedding_series(tmp_path, static_folder, COUNT)
    later = tmp_path / "later"
    later.mkdir()
    write_pairs(later / "pairs.jsonl", COUNT)
    values = {"extends": "../series.yaml", "series": "large", "size": "large",
              "after": ["../series.yaml"]}  # fmt: skip
    path = write_config(later, values)
    run_series(loaded(before), RunRequest(only=["first"]))
    with pytest.raises(InputError, match=r"second is not complete\. Run first: .* run .*series"):
        run_series(loaded(path))
    run_series(loaded(before))
    assert not run_series(loaded(path)).failed


def test_an_average_comes_behind_its_parts(tmp_path: Path, static_folder: Path) -> None:
    path = embedding_series(tmp_path, static_folder, COUNT)
    both = '{"task": "embedding", "average": ["first", "second"]}'
    config = loaded(path, f"experiments.both={both}")
    waiting = run_series(config, RunRequest(only=["both"]))
    assert "averages first, which is not complete" in waiting.arms[0].message
    outcome = run_series(config)
    assert [(arm.name, arm.state) for arm in outcome.arms][-1] == ("both", "done")
    one, mean = (read_samples(folder_of(config, name)) for name in ("first", "both"))
    assert mean["pair-001", 0].parsed == pytest.approx(one["pair-001", 0].parsed)


def test_outputs_that_are_all_the_same_stop_an_experiment_with_the_causes(
    tmp_path: Path, static_folder: Path
) -> None:
    path = embedding_series(tmp_path, static_folder, 60)
    same = [{**pair(n), "b": pair(n)["a"]} for n in range(60)]
    text = "".join(json.dumps(one) + "\n" for one in same)
    (tmp_path / "pairs.jsonl").write_text(text, encoding="utf-8")
    config = loaded(path)
    outcome = run_series(config, RunRequest(only=["first"]))
    [arm] = outcome.arms
    assert arm.state == "stopped"
    assert outcome.failed
    assert arm.message.count("Likely causes:") == 1
    assert "monitor.stop=false" in arm.message
    assert 20 <= sum(arm.counts.values()) < 60
    again = run_series(config, RunRequest(only=["first"])).arms[0]
    assert (again.state, again.counts) == ("stopped", arm.counts)
    whole = run_series(loaded(path, "monitor.stop=false"), RunRequest(only=["first"])).arms[0]
    assert (whole.state, whole.counts) == ("done", {"ok": 60})


def test_a_run_that_says_nothing_true_of_its_file_goes_on(series: Path) -> None:
    config = loaded(series)
    run_series(config, RunRequest(only=["first"]))
    folder = folder_of(config)
    info, whole = read_run(folder), answers_of(folder)
    assert info is not None
    (folder / "samples.jsonl").unlink()
    write_run(folder, info)
    assert run_series(config, RunRequest(only=["first"])).arms[0].state == "done"
    assert answers_of(folder) == whole


def test_a_full_disk_keeps_what_was_answered_and_the_run_goes_on_later(series: Path) -> None:
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from loragraft.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))\n"
        f"main(['experiment', 'run', {str(series)!r}, '--only', 'first'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "may not grow further" in done.stderr
    config = loaded(series)
    kept = read_samples(folder_of(config))
    assert 0 < len(kept) < COUNT
    assert run_series(config, RunRequest(only=["first"])).arms[0].counts == {"ok": COUNT}
    after = read_samples(folder_of(config))
    assert all(after[key] == sample for key, sample in kept.items())
