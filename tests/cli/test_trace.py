"""``loragraft trace``: the verdict first, exit codes, JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loragraft.cli import main as cli
from tests.trace.editing import edit_gguf


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {**cli.GROUPS, "trace": ("loragraft.cli.trace:trace", "Trace.")}
    monkeypatch.setattr(cli, "GROUPS", groups)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.main, ["trace", *map(str, arguments)])


@pytest.fixture(scope="module")
def base(talking: Callable[[str], Path]) -> Path:
    return talking("qwen3")


@pytest.fixture(scope="module")
def bundle(talking_bundle: Callable[[str], Path]) -> Path:
    return talking_bundle("qwen3")


def test_help_names_the_stages() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert "Name the stage where a fine-tune goes wrong" in result.stdout


def test_a_healthy_chain(base: Path, bundle: Path) -> None:
    result = run(base, "-", bundle, "--no-build", "--threads", "1", "--tokens", "8")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("nothing parts: base, quantized GGUF agree")
    assert "not asked for (--ollama TAG)" in result.stdout
    assert "'All is well.<|im_end|>'" in result.stdout


def test_a_fault_is_the_first_line_and_the_exit_code(
    base: Path, bundle: Path, tmp_path: Path
) -> None:
    source = next(bundle.glob("*.gguf"))
    path = edit_gguf(source, tmp_path / "m.gguf", {"qwen3.rope.freq_base": 77.0})
    result = run(base, "-", path, "--no-build", "--threads", "1", "--tokens", "2")
    assert result.exit_code == 1, result.output
    first, second = result.stdout.splitlines()[:2]
    assert first.startswith("parts at: quantized GGUF: the rope theta is wrong (qwen3.rope")
    assert second.startswith("fix: Set qwen3.rope.freq_base to ")
    result = run(base, "-", path, "--no-build", "--threads", "1", "--tokens", "2", "--json")
    report = json.loads(result.stdout)
    assert (report["parts_at"], report["cause"]["code"]) == ("quantized", "rope_theta")
    assert report["healthy"] is False
    assert report["stages"][0]["compared"]["text"] == {"verdict": "first", "detail": ""}


@pytest.mark.parametrize("place", [0, 2])
def test_what_is_not_there(base: Path, bundle: Path, tmp_path: Path, place: int) -> None:
    paths: list[Path | str] = [base, "-", bundle]
    paths[place] = tmp_path / "gone"
    result = run(*paths)
    assert result.exit_code == 2
    assert "gone" in result.stderr
