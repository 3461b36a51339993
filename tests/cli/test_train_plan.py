"""``loragraft train plan``: reports, requests, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loragraft.cli.main import main
from loragraft.errors import InputError
from loragraft.training.spelling import spell_config
from tests.support.training import small_config

ROOT = Path(__file__).resolve().parents[2]
REPLIES = str(ROOT / "configs" / "training" / "replies.yaml")
Talking = Callable[[str], Path]


def plan(*arguments: str | Path) -> Result:
    from loragraft.cli.train_plan import plan as command

    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)


def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(spell_config(small_config(tmp_path / "data")), encoding="utf-8")
    return path


def test_a_table_as_wide_as_the_terminal_is_not_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from loragraft.cli.output import print_table

    monkeypatch.setenv("COLUMNS", "80")
    widths = (15, 22, 14, 7, 7)  # with blanks and rules: one more than the terminal is wide
    print_table("Wide", ["-" * width for width in widths], [["x" * width for width in widths]])
    assert capsys.readouterr().out.count("x") == sum(widths)


def test_a_published_base_is_planned_by_its_name() -> None:
    done = plan(REPLIES)
    assert done.exit_code == 0
    for words in ("7,615,616,512 parameters", "published sizes", "activations", "together",
                  "T4: fits as configured.", "four bits (nf4)"):  # fmt: skip
        assert words in done.stdout
    assert "is no folder here" in done.stderr


def test_a_base_that_is_here_is_planned_by_its_data(tmp_path: Path, talking: Talking) -> None:
    done = plan(small(tmp_path), "--base", talking("llama"), "--json")
    found = json.loads(done.stdout)
    assert found["batch"]["measured"]
    assert found["batch"]["rows"] == 3
    assert found["steps"] == 12
    assert found["base"]["source"] == "files"
    assert found["seconds_here"] > 0
    assert found["notes"] == []
    assert found["memory"]["total"] == sum(found["memory"]["parts"].values())
    assert [m["name"] for m in found["machines"]][1:] == ["T4", "P100"]
    assert all(len(m["ways"]) == 4 for m in found["machines"])
    assert found["request"] is None


def test_data_that_are_not_there_are_assumed_and_told(tmp_path: Path, talking: Talking) -> None:
    path = small(tmp_path)
    (tmp_path / "data" / "train.jsonl").unlink()
    done = plan(path, "--base", talking("llama"))
    assert done.exit_code == 0
    assert "The data were not read" in done.stderr
    assert "train.jsonl" in done.stderr
    assert "assumed" in done.stdout


def test_a_request_is_drafted_once(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "compute_requests.md"
    first = plan(REPLIES, "--request", "--request-file", path)
    assert "Request written" in first.stdout
    text = path.read_text(encoding="utf-8")
    assert "lora_replies_7b" in text
    assert "GPU hours" in text


def test_a_processor_too_small_is_told_how_the_c_library_takes_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from loragraft.training import machine, outlook

    small_one = machine.Machine("this processor", "cpu", False, 8 << 30)
    monkeypatch.setattr(outlook, "this_machine", lambda: small_one)
    monkeypatch.setattr("sys.platform", "linux")
    done = plan(str(ROOT / "configs" / "training" / "science.yaml"))
    assert "MALLOC_MMAP_THRESHOLD_=1048576" in done.stdout
    assert "This processor: fits with --set" in done.stdout


def test_values_can_be_changed() -> None:
    done = plan(REPLIES, "--set", "optimiser.batch=1", "--set", "quantization=none", "--json")
    found = json.loads(done.stdout)
    assert found["batch"]["rows"] == 1
    assert found["memory"]["quantization"] == "none"
    assert found["machines"][1]["fits"] is False
    assert "quantization=nf4" in found["machines"][1]["changes_to_fit"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--base", "nobody/knows"], "nobody/knows"),
        (["--set", "optimiser.bach=1"], "batch"),
        (["--set", "task=embedding"], "--dry-run"),
        (["--set", "lora.targets=[query]"], "Its linear modules"),
    ],
)
def test_refusals_name_the_next_step(arguments: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan(REPLIES, *arguments)


def test_help_is_light() -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom loragraft.cli.main import main\n"
        "try:\n    main(['train', 'plan', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'peft', 'numpy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--request" in done.stdout


def test_the_group_knows_the_command() -> None:
    done = CliRunner().invoke(main, ["train", "--help"])
    assert "plan" in done.output
