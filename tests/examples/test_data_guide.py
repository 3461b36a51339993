"""What docs/data.md says that a command prints is what it prints."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from loragraft.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "data.md"
LEFT_OUT = ("dataset collect", "planted_train.jsonl")
"""What needs a server, or records that are planted; the tests of these rooms run it."""


def shown() -> Iterator[tuple[list[str], str]]:
    """Yield the guide's commands and what they print."""
    for block in re.findall(r"(?ms)^```\n(\$ .*?)^```$", GUIDE.read_text(encoding="utf-8")):
        for part in re.split(r"(?m)^\$ ", block)[1:]:
            command, _, output = re.sub(r"\\\n\s*", "", part).partition("\n")
            if command.startswith("loragraft ") and not any(text in command for text in LEFT_OUT):
                yield shlex.split(command)[1:], output


def lines(text: str) -> list[str]:
    """Return the lines that are not blank, without blanks at their ends."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def test_the_guide_shows_what_its_commands_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("configs", "examples/science"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FINETUNE_SPLIT_SEED", raising=False)
    found = list(shown())
    assert [command[1] for command, _ in found] == [
        "show", "curate", "review", "review", "split", "split", "leaks",
    ]  # fmt: skip
    for command, output in found:
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
        printed = {*lines(result.stdout), *lines(result.stderr)}
        assert [line for line in lines(output) if line not in {*printed, "..."}] == [], command
