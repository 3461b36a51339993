"""``experiment report`` and ``compare`` on a series that was run, as a person uses them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from loragraft.cli.main import main
from loragraft.experiment.run_info import read_run, write_run
from tests.support.series import embedding_series, embedding_values, write_config, write_pairs

COUNT = 20
HOSTILE = "</script><script>alert(1)</script>"


def invoke(*words: object) -> Result:
    """Run a command of the group."""
    return CliRunner().invoke(main, ["experiment", *map(str, words)])


@pytest.fixture(scope="module")
def ran(static_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a series of two embedders that was run."""
    folder = tmp_path_factory.mktemp("series")
    path = embedding_series(folder, static_folder, COUNT)
    done = invoke("run", path)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def series(ran: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(ran, tmp_path / "copy"))


def report_of(folder: Path) -> dict[str, Any]:
    """Return the JSON of a report."""
    values: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return values


def test_a_report_is_a_page_its_data_and_markdown(series: Path) -> None:
    shown = invoke("report", series / "series.yaml")
    assert shown.exit_code == 0, shown.output
    folder = series / "outputs" / "pairs" / "report"
    assert shown.stdout.rstrip().endswith(f"The page: {folder / 'index.html'}")
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "report.json",
                                                              "report.md"]  # fmt: skip
    values = report_of(folder)
    assert values["series"] == "pairs"
    assert values["experiments"]["second"]["counts"] == {"ok": COUNT}
    assert values["experiments"]["second"]["provenance"]["key"]
    assert [one["decision"] for one in values["verdicts"]] == ["not a candidate"] * 2
    assert "pair-007" in (folder / "index.html").read_text()
    assert (folder / "report.md").read_text().startswith("# pairs, small\n")
    again = invoke("report", series / "series.yaml")
    assert again.exit_code == 0
    assert {**report_of(folder), "created": ""} == {**values, "created": ""}


def test_a_report_goes_where_it_is_asked_to(series: Path, tmp_path: Path) -> None:
    shown = invoke("report", series / "series.yaml", "--output", tmp_path / "here", "--json")
    assert shown.exit_code == 0, shown.output
    assert (
        json.loads(shown.stdout)["analysis"]["verdicts"] == report_of(tmp_path / "here")["verdicts"]
    )
    assert not (series / "outputs" / "pairs" / "report").exists()
    (tmp_path / "file").write_text("")
    refused = invoke("report", series / "series.yaml", "--output", tmp_path / "file" / "below")
    assert refused.exit_code == 2
    assert "cannot be written" in refused.stderr


def test_fewer_questions_than_were_asked_are_all_that_counts(series: Path, tmp_path: Path) -> None:
    shown = invoke("report", series / "series.yaml", "--limit", "5", "-o", tmp_path, "--json")
    assert shown.exit_code == 0, shown.output
    values = report_of(tmp_path)
    found = {(one["count"], one["of"]) for one in values["figures"] if one["value"] is not None}
    assert found == {(5, 5)}
    assert {one["questions"] for one in values["slices"]} <= set(range(1, 6))


def test_a_limit_leaves_the_whole_series_its_scores_and_its_report(series: Path) -> None:
    folder = series / "outputs" / "pairs"
    whole = invoke("report", series / "series.yaml", "--json").stdout
    page = (folder / "report" / "index.html").read_bytes()
    for arm in ("first", "second"):
        (folder / arm / "scores.jsonl").unlink()
    few = invoke("report", series / "series.yaml", "--limit", "5")
    assert few.exit_code == 0, few.output
    assert (folder / "report" / "limit-5" / "index.html").is_file()
    assert (folder / "report" / "index.html").read_bytes() == page
    again = json.loads(invoke("report", series / "series.yaml", "--json").stdout)
    assert again["analysis"]["figures"] == json.loads(whole)["analysis"]["figures"]


def test_a_report_takes_no_other_files_place(series: Path, tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("# My project\n")
    refused = invoke("report", series / "series.yaml", "--output", file)
    assert refused.exit_code == 2
    assert "no report of this series" in refused.stderr
    assert file.read_text() == "# My project\n"
    for _ in range(2):  # its own it replaces
        made = invoke("report", series / "series.yaml", "--output", tmp_path / "pairs.md")
        assert made.exit_code == 0, made.output


def test_before_any_run_there_is_no_page(tmp_path: Path, static_folder: Path) -> None:
    path = embedding_series(tmp_path, static_folder, 3)
    shown = invoke("report", path)
    assert shown.exit_code == 0, shown.output
    assert "Nothing was run yet" in shown.stderr
    assert not (tmp_path / "outputs").exists()


def test_one_experiment_that_cannot_be_read_does_not_hide_the_others(series: Path) -> None:
    second = series / "outputs" / "pairs" / "second"
    values = json.loads((second / "run.json").read_text())
    (second / "run.json").write_text(json.dumps({**values, "schema_version": 99}))
    shown = invoke("report", series / "series.yaml")
    assert shown.exit_code == 0, shown.output
    assert "second is left out:" in shown.stderr
    assert "100.0 % (n=20)" in shown.stdout


def test_an_experiment_without_answers_yet_says_so(series: Path) -> None:
    second = series / "outputs" / "pairs" / "second"
    for name in ("samples.jsonl", "scores.jsonl"):
        (second / name).write_text("")
    info = read_run(second)
    assert info is not None
    write_run(second, info.__class__(**{**info.__dict__, "state": "interrupted", "counts": {},
                                        "samples": {}, "scores": {}}))  # fmt: skip
    shown = invoke("report", series / "series.yaml", "--json")
    assert shown.exit_code == 0, shown.output
    figures = json.loads(shown.stdout)["analysis"]["figures"]
    found = {one["metric"]: one["reason"] for one in figures if one["experiment"] == "second"}
    assert found["output"] == "no answers yet"
    assert any(text.startswith("second is interrupted") for text in
               json.loads(shown.stdout)["analysis"]["warnings"])  # fmt: skip


def test_nothing_hostile_in_records_leaves_its_place(tmp_path: Path, static_folder: Path) -> None:
    lines = write_pairs(tmp_path / "pairs.jsonl", 4).read_text().splitlines()
    values = [json.loads(line) for line in lines]
    for number, one in enumerate(values):
        one |= {"id": f"{HOSTILE}{number}", "a": HOSTILE, "task_type": f"| {HOSTILE}",
                "paper_id": HOSTILE}  # fmt: skip
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in values))
    path = write_config(tmp_path, embedding_values(static_folder))
    assert invoke("run", path).exit_code == 0
    shown = invoke("report", path)
    assert shown.exit_code == 0, shown.output
    folder = tmp_path / "outputs" / "pairs" / "report"
    page = (folder / "index.html").read_text()
    assert "alert(1)" in page
    assert HOSTILE not in page
    assert "<script>alert" not in page
    assert "<script>alert" not in (folder / "report.md").read_text().replace("\\<", "")


def test_runs_are_compared_by_their_folders_alone(series: Path, tmp_path: Path) -> None:
    runs = series / "outputs" / "pairs"
    (series / "series.yaml").unlink()
    shown = invoke("compare", runs / "first", runs / "second", "-o", tmp_path / "page")
    assert shown.exit_code == 0, shown.output
    assert "The page:" in shown.stdout
    values = report_of(tmp_path / "page")
    assert (values["baseline"], values["title"]) == ("first", "first and second")
    assert {one["experiment"] for one in values["figures"]} == {"first", "second"}
    told = json.loads(invoke("compare", runs / "first", runs / "second", "--json").stdout)
    assert told["figures"] == values["figures"]


def test_runs_that_cannot_be_compared_are_refused(series: Path) -> None:
    runs = series / "outputs" / "pairs"
    assert invoke("compare", runs / "first").exit_code == 2
    for names, said in (
        (("first", "nowhere"), "holds no run that can be read"),
        (("first", "second", "--metric", "factuality"), "no metric 'factuality'"),
    ):
        refused = invoke("compare", *(runs / n if n in ("first", "second", "nowhere") else n
                                      for n in names))  # fmt: skip
        assert refused.exit_code == 2
        assert said in refused.stderr
    info = read_run(runs / "second")
    assert info is not None
    write_run(runs / "second", info.__class__(**{**info.__dict__, "size": "7B"}))
    refused = invoke("compare", runs / "first", runs / "second")
    assert refused.exit_code == 2
    assert "cannot be compared: size 'small' against '7B'" in refused.stderr
    (runs / "second" / "scores.jsonl").unlink()
    assert "Measure its answers first" in invoke("compare", runs / "second",
                                                 runs / "first").stderr  # fmt: skip


def test_a_copy_of_a_run_is_not_compared_with_it(series: Path) -> None:
    first = series / "outputs" / "pairs" / "first"
    copy = shutil.copytree(first, series / "copy")
    refused = invoke("compare", first, copy)
    assert refused.exit_code == 2
    assert f"{copy} holds the very answers of {first}" in refused.stderr


def test_what_somebody_has_changed_or_named_twice_is_not_compared(series: Path) -> None:
    first, second = (series / "outputs" / "pairs" / name for name in ("first", "second"))
    twice = invoke("compare", first, second, first / ".." / "second")
    assert twice.exit_code == 2
    assert "is named twice" in twice.stderr
    for name, step in (("scores.jsonl", "experiment report"), ("samples.jsonl", "experiment run")):
        path = second / name
        whole = path.read_bytes()
        path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
        refused = invoke("compare", first, second)
        assert refused.exit_code == 2
        assert f"{name} is not the file that" in refused.stderr
        assert step in refused.stderr
        path.write_bytes(whole)
    assert invoke("compare", first, second).exit_code == 0
