"""``loragraft doctor`` as a user calls it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loragraft.cli.main import main
from tests.doctor.support import everything, leave_unfinished


@pytest.fixture(autouse=True)
def _nothing_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cache", "tmp", "empty"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("LORAGRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LORAGRAFT_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path / "empty")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["doctor", *map(str, arguments)])


def test_report() -> None:
    result = run()
    assert result.exit_code == 0, result.output
    for code in ("system.python", "llama.library", "kernels.numba", "packages.core"):
        assert code in result.stdout


def test_report_as_json() -> None:
    result = run("--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["verdict"] in ("pass", "warn")
    assert report["seconds"] < 10
    codes = [finding["code"] for finding in report["findings"]]
    assert len(codes) == len(set(codes))
    assert all(finding["measured"] and finding["expected"] for finding in report["findings"])


def test_something_essential_that_is_broken_is_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(tmp_path))
    result = run("--json")
    assert result.exit_code == 1
    failures = [f for f in json.loads(result.stdout)["findings"] if f["severity"] == "fail"]
    assert [failure["code"] for failure in failures] == ["llama.library"]
    assert failures[0]["next_step"]


def test_usage(tmp_path: Path) -> None:
    assert run("--yes").exit_code == 2
    assert run(tmp_path / "none").exit_code == 2
    (tmp_path / "file").touch()
    assert run(tmp_path / "file").exit_code == 2


def test_without_a_terminal_nothing_is_removed_unless_told(tmp_path: Path) -> None:
    leave_unfinished(tmp_path / "o")
    before = everything(tmp_path / "o")
    result = run("--clean", tmp_path / "o")
    assert result.exit_code == 0, result.output
    assert "unfinished work" in result.stdout
    assert "--clean --yes" in result.stderr
    assert everything(tmp_path / "o") == before

    result = run("--clean", "--yes", "--json", tmp_path / "o")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["clean"]["freed"] >= 100_000
    assert everything(tmp_path / "o") == {".x.lock"}
    assert "Nothing of loragraft's" in run("--clean", tmp_path / "o").stdout


@pytest.mark.parametrize(("answers", "left"), [("n\ny\n", 4), ("y\nn\n", 1)])
def test_in_a_terminal_it_asks_for_each_kind(tmp_path: Path, answers: str, left: int) -> None:
    leave_unfinished(tmp_path / "o")
    (tmp_path / "o" / ".x.staging" / "weights").unlink()
    (tmp_path / "cache" / "hashes.json").write_text("{}")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "loragraft", "doctor", "--clean", str(tmp_path / "o")]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs) as child:
        os.write(ours, answers.encode())
        assert child.stdout is not None
        said = child.stdout.read().decode()
        assert child.wait() == 0
    os.close(ours)
    os.close(theirs)
    assert "Remove unfinished work: 1" in said
    assert "Removed 1 of 1" in said
    assert len(everything(tmp_path / "o")) == left
    assert (tmp_path / "cache" / "hashes.json").exists() is (left == 1)


def test_names_of_others_cannot_draw_on_the_terminal(tmp_path: Path) -> None:
    strange = tmp_path / "a\x1b[31m\nb"
    leave_unfinished(strange)
    result = run("--clean", strange)
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output


def test_it_ends_in_time_and_imports_no_torch() -> None:
    start = time.monotonic()
    code = (
        "import sys\n"
        "from loragraft.cli.main import main\n"
        "try:\n    main(['doctor'])\nexcept SystemExit as done:\n    assert not done.code\n"
        "assert not {'torch', 'transformers', 'numba', 'llama_cpp'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    assert time.monotonic() - start < 15
