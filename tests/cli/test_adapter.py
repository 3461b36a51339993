"""``loragraft adapter``: verdicts as exit codes, the reason first, JSON for programs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loragraft.cli.main import main
from tests.adapter.builders import lora_arrays, write_adapter, write_base

COMMANDS = ["diagnose", "fetch", "inspect", "merge-embedder", "search", "survey", "verify"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["adapter", *(str(argument) for argument in arguments)])


def qwen_shaped(folder: Path) -> Path:
    """Write a base with the widths of Qwen2.5-0.5B and no more than a header's worth of weights."""
    return write_base(
        folder, layers=24, model_type="qwen2", architectures=["Qwen2ForCausalLM"],
        hidden_size=896, num_attention_heads=14, num_key_value_heads=2, intermediate_size=4864,
        vocab_size=151936,
    )  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_inspect_shows_what_an_adapter_is(example_adapter: Path) -> None:
    result = run("inspect", example_adapter)
    assert result.exit_code == 0, result.output
    for words in ("LORA", "q_proj", "SmolLM2-135M", "0-29", "sha256 adapter_model.safetensors"):
        assert words in result.output
    report = json.loads(run("inspect", example_adapter, "--json").stdout)
    assert report["ranks"] == [4]
    assert report["bytes"] == report["expected_bytes"]


def test_verify_passes_on_its_base(example_adapter: Path, smollm2_checkpoint: Path) -> None:
    result = run("verify", example_adapter, "--base", smollm2_checkpoint)
    assert result.exit_code == 0, result.output
    assert not result.stdout.startswith("FAIL")


def test_verify_fails_on_another_base_with_the_reason_first(
    example_adapter: Path, tmp_path: Path
) -> None:
    result = run("verify", example_adapter, "--base", qwen_shaped(tmp_path / "qwen"))
    assert result.exit_code == 1
    first = result.stdout.splitlines()[0]
    assert first.startswith("FAIL")
    assert "896" in first
    assert "576" in first


def test_strict_lets_a_warning_fail(tmp_path: Path) -> None:
    adapter, base = write_adapter(tmp_path / "adapter"), write_base(tmp_path / "base")
    arguments = ["verify", adapter, "--base", base, "--name", "pico", "--json"]
    report = json.loads(run(*arguments).stdout)
    assert report["counts"]["fail"] == 0
    strict = run(*arguments, "--strict")
    assert strict.exit_code == int(report["counts"]["warn"] > 0)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["verify", "nowhere/at/all"], 2, "does not exist"),
        (["verify", ".", "--probe"], 2, "--probe runs the model"),
        (["verify", "."], 1, "FAIL"),
        (["inspect", "."], 2, "is empty"),
        (["verify", ".", "--since", "yesterday"], 2, "does not match the format"),
        (["survey", "."], 2, "Missing option '--base'"),
        (["fetch", "nonsense:what", "-o", "out"], 2, "nonsense"),
        (["diagnose", "nowhere/at/all", "."], 2, "does not exist"),
        (["merge-embedder", "nowhere/at/all", ".", "-o", "x"], 2, "does not exist"),
    ],
)
def test_exit_codes(
    arguments: list[str], code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert words in result.output
    assert "Traceback" not in result.output


def test_survey_writes_page_and_json_and_says_what_fits_nothing(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    write_adapter(runs / "fits")
    write_adapter(runs / "deep", lora_arrays(layers=4))
    base, out = write_base(tmp_path / "base"), tmp_path / "out"
    result = run("survey", runs, "--base", base, "-o", out)
    assert result.exit_code == 1, result.output
    found = json.loads((out / "survey.json").read_text())
    assert found["fits_none"] == [f"{runs}/deep"]
    assert "<table>" in (out / "survey.html").read_text()
    shutil.rmtree(runs / "deep")
    again = run("survey", runs, "--base", base, "-o", out, "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["reused"] == 2
