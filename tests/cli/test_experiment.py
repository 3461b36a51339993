"""``loragraft experiment``: as a person or a script uses it."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loragraft.cli.main import main
from loragraft.experiment.run_info import read_run
from tests.support.chat_dialects import Said
from tests.support.chat_server import Json, chat_server
from tests.support.series import embedding_series, qa_series

COUNT = 21
HEAVY = ("torch", "transformers", "numpy", "faiss", "llama_cpp", "sklearn", "scipy", "pydantic",
         "rouge_score", "sacrebleu", "httpx", "rich")  # fmt: skip


@pytest.fixture
def path(tmp_path: Path, static_folder: Path) -> Path:
    """A series of two experiments."""
    return embedding_series(tmp_path, static_folder, COUNT)


@pytest.fixture
def command(path: Path) -> Callable[..., Result]:
    """Run a command of the group on that series."""
    return lambda name, *more: CliRunner().invoke(main, ["experiment", name, str(path), *more])


def test_help_is_light() -> None:
    for arguments in (["experiment", "--help"], ["experiment", "run", "--help"],
                      ["experiment", "status", "--help"], ["experiment", "report", "--help"],
                      ["experiment", "predictions", "--help"]):  # fmt: skip
        code = (
            "import sys\n"
            "from loragraft.cli.main import main\n"
            "try:\n"
            f"    main({arguments!r})\n"
            "except SystemExit as end:\n"
            "    assert end.code == 0\n"
            f"found = {set(HEAVY)!r} & set(sys.modules)\n"
            "assert not found, found\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_series_is_run_looked_at_reported_and_submitted(
    command: Callable[..., Result], tmp_path: Path
) -> None:
    before = command("status")
    assert "not started" in before.stdout
    assert before.stdout.endswith("The series is not complete.\n")

    ran = command("run")
    assert ran.exit_code == 0, ran.output
    assert f"{COUNT} ok" in ran.stdout
    assert f"Results: {tmp_path / 'outputs' / 'pairs'}" in ran.stdout
    told = json.loads(command("run", "--json").stdout)
    assert [arm["state"] for arm in told["experiments"]] == ["kept", "kept"]
    assert told["failed"] is False

    assert command("status").stdout.endswith("The series is complete.\n")
    status = json.loads(command("status", "--json").stdout)
    assert [arm["done"] for arm in status["arms"]] == [COUNT, COUNT]

    shown = command("report", "-o", str(tmp_path / "new" / "report.md"))
    assert shown.exit_code == 0, shown.output
    assert f"100.0 % (n={COUNT})" in shown.stdout
    assert "| roc_auc ↑ |" in (tmp_path / "new" / "report.md").read_text(encoding="utf-8")
    report = json.loads(command("report", "--json").stdout)
    auc = next(one for one in report["metrics"] if one["name"] == "roc_auc")
    assert auc["of"]["first"]["value"] == 1.0
    assert {one["metric"] for one in report["against_baseline"]} >= {"roc_auc", "spearman"}

    file = tmp_path / "predictions.csv"
    written = command("predictions", "--only", "base", "--csv", str(file))
    assert written.stdout == f"{COUNT} predictions of first: {file}\n"
    with file.open(newline="") as rows:
        assert len(list(csv.reader(rows))) == COUNT + 1


def test_a_dry_run_asks_and_writes_nothing(tmp_path: Path) -> None:
    path = qa_series(tmp_path, "http://127.0.0.1:9", 5)
    more = ["--set", "experiments.shaky.engine.input_price=2",
            "--set", "experiments.shaky.engine.output_price=10"]  # fmt: skip
    shown = CliRunner().invoke(main, ["experiment", "run", str(path), "--dry-run", *more])
    assert shown.exit_code == 0, shown.output
    assert "5 of 5" in shown.stdout
    assert "How many stones has the house number 0?" in shown.stdout
    assert "at most $0.00" in shown.stdout
    assert shown.stdout.endswith("Nothing was asked.\n")
    told = json.loads(
        CliRunner().invoke(main, ["experiment", "run", str(path), "--dry-run", "--json"]).stdout
    )
    plan = told["experiments"][0]
    assert (plan["waiting"], plan["most_tokens"], plan["cost"]) == (5, 80, None)
    assert plan["prompt_tokens"] > 5
    assert told["power"] is None  # nobody retrieves: nothing is promoted
    assert not (tmp_path / "outputs").exists()
    rule = ["--set", "promotion.grounding=null"]
    shown = CliRunner().invoke(main, ["experiment", "run", str(path), "--dry-run", *rule])
    assert "5 questions of one paper can show no difference at all" in shown.stdout
    assert shown.stdout.endswith("Nothing was asked.\n")


def test_a_failed_experiment_gives_status_1_and_the_others_are_done(
    command: Callable[..., Result],
) -> None:
    ran = command("run", "--set", "experiments.first.engine.model=/nowhere")
    assert ran.exit_code == 1
    assert "Note: first: " in ran.stderr
    assert "done" in ran.stdout


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--limit", "0"], "--limit"),
        (["--only", "third"], "There are: first, second, base"),
        (["--set", "sampling.temprature=1"], "Did you mean 'temperature'?"),
        (["--set", "data.files=[missing.jsonl]"], "missing.jsonl does not exist"),
        (["--set", "series=judge/x"], "series is 'judge/x'"),
        (["--set", "experiments.judge={average: [first]}"], "no name for an experiment"),
        (["--set", "experiments.FIRST={average: [second]}"], "differ in capitals alone"),
        (["--set", "judge={engine: {kind: llama, model: x}}"], "no texts to compare"),
    ],
)
def test_what_cannot_be_run_is_refused_in_words(
    command: Callable[..., Result], more: list[str], words: str
) -> None:
    ran = command("run", *more)
    assert ran.exit_code == 2
    assert words in ran.stderr
    assert "Traceback" not in ran.output


def test_a_series_is_not_after_itself(command: Callable[..., Result], path: Path) -> None:
    ran = command("run", "--set", f"after=[{path}]")
    assert ran.exit_code == 2
    assert "itself" in ran.stderr


def test_outputs_that_cannot_be_written_are_named(
    command: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    ran = command("run", "--set", f"outputs={tmp_path / 'file'}")
    assert ran.exit_code == 2
    assert "no folder that results can lie in" in ran.stderr


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a file system without new folders")
def test_outputs_where_no_folder_can_be_made_are_named(command: Callable[..., Result]) -> None:
    ran = command("run", "--set", "outputs=/proc/loragraft")
    assert ran.exit_code == 1
    assert "Nothing can be written into" in ran.stderr


def test_a_report_before_any_run_says_not_run(command: Callable[..., Result]) -> None:
    shown = command("report")
    assert shown.exit_code == 0, shown.output
    assert "not started" in shown.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path, number: int) -> None:
    seen = threading.Event()

    def answer(body: Json) -> Said:
        if seen.is_set():
            time.sleep(0.2)
        seen.set()
        return Said("12 stones")

    with chat_server(answer) as server:
        path = qa_series(tmp_path, server.url, COUNT)
        process = subprocess.Popen(
            [sys.executable, "-m", "loragraft", "experiment", "run", str(path), "--only", "steady"],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        samples = tmp_path / "outputs" / "houses" / "steady" / "samples.jsonl"
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if samples.exists() and samples.read_bytes().count(b"\n") > 1:
                break  # with two lines the first surely was counted
            time.sleep(0.01)
        process.send_signal(number)
        _out, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Every answer that was given is kept: the same command goes on from there." in errors
    info = read_run(samples.parent)
    assert info is not None
    assert info.state == "interrupted"
    assert 0 < sum(info.counts.values()) < COUNT
