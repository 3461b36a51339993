"""The command line: help without weight, errors as sentences, exit codes as documented."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loragraft.artifact.metadata import read_metadata
from loragraft.cli.main import main
from tests.export.pico_llama import make_adapter, make_weights, save_base

COMMANDS = ["plan", "merge", "merge-and-quantize", "lora-gguf", "verify", "push"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from loragraft.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as done:\n    assert done.code == 0\n"
        "heavy = {'numpy', 'torch', 'rich', 'transformers', 'gguf', 'numba', 'llama_cpp'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = run("export", command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_version() -> None:
    assert "loragraft" in run("--version").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nonsense"], 2, "No such command"),
        (["export", "merge-and-quantize"], 2, "Missing argument"),
        (["export", "merge-and-quantize", "/no/such/place"], 2, "does not exist"),
        (["export", "plan", "owner/model"], 3, "not in the Hub's cache"),
        (["export", "verify", "."], 1, "NOT as it should be"),
        (["export", "verify", ".", "--adapter", "x"], 2, "need --base"),
        (["export", "push", ".", "owner/name"], 2, "."),
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


def test_export_and_verify(
    pico: Callable[[str], Path], pico_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    base, adapter = pico("llama"), pico_adapter("llama")
    result = run(
        "export", "merge-and-quantize", base, adapter, "-o", tmp_path, "--name", "one", "--json"
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    bundle = Path(report["bundle"])
    assert {p.name for p in bundle.iterdir()} == {
        "one.Q4_K_M.gguf", "Modelfile", "README.md", "checksums.txt", "EXPERIMENT_METADATA.json",
    }  # fmt: skip
    subprocess.run(["sha256sum", "--check", "--quiet", "checksums.txt"], cwd=bundle, check=True)
    metadata = read_metadata(bundle)
    assert metadata["adapters"][0]["sha256"]
    assert len(metadata["base"]["shards"]) == 1
    checked = run("export", "verify", bundle, "--base", base, "--adapter", adapter, "--json")
    assert checked.exit_code == 0, checked.output
    assert json.loads(checked.stdout)["passed"] is True


def test_a_taken_name_is_refused_and_replaced_on_request(
    pico: Callable[[str], Path], tmp_path: Path
) -> None:
    base = pico("llama")
    command = ["export", "merge-and-quantize", base, "-o", tmp_path, "--name", "one"]
    assert run(*command).exit_code == 0
    again = run(*command)
    assert again.exit_code == 2
    assert "--replace" in again.output
    assert run(*command, "--quant", "Q8_0", "--replace").exit_code == 0
    assert [p.name for p in (tmp_path / "one").glob("*.gguf")] == ["one.Q8_0.gguf"]


def test_the_base_is_taken_from_the_adapters_claim(
    pico: Callable[[str], Path], pico_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    result = run("export", "plan", pico_adapter("llama"), "--json", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    assert plan["base"] == str(pico("llama"))
    assert any("own claim" in warning for warning in plan["warnings"])


@pytest.mark.parametrize(("revision", "commit"), [(None, "1" * 40), ("step-1000", "2" * 40)])
def test_the_claims_revision_is_taken(
    revision: str | None, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two revisions in the Hub's cache, the one that the adapter was trained on."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--owner--pico"
    (repository / "refs").mkdir(parents=True)
    for name, digit in (("main", "1"), ("step-1000", "2")):
        (repository / "refs" / name).write_text(digit * 40)
        save_base(repository / "snapshots" / (digit * 40), make_weights(int(digit)))
    claim = {"base_model_name_or_path": "owner/pico", "revision": revision}
    adapter = make_adapter(tmp_path / "adapter", 7, **claim)
    result = run("export", "plan", adapter, "--json", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert Path(json.loads(result.stdout)["base"]) == repository / "snapshots" / commit


def test_plan_reads_no_weights_and_explains_fallbacks(
    pico: Callable[[str], Path], tmp_path: Path
) -> None:
    base = pico("llama-narrow")
    result = run("export", "plan", base, "-o", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    reasons = {t["reason"] for t in plan["files"][0]["tensors"] if t["reason"]}
    assert any("is not a multiple of 256" in reason for reason in reasons)
    assert not list(tmp_path.iterdir())
    assert run("export", "plan", base, "-o", tmp_path).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--quant", "Q9_Z"], "Q9_Z"),
        (["--quant", "IQ1_S"], "importance matrix"),
        (["--name", "../up"], "name"),
        (["--quant", "Q8_0", "--quant", "q8_0"], "twice"),
        (["--scale", "2"], "--scale"),
    ],
)
def test_bad_options(
    arguments: list[str], words: str, pico: Callable[[str], Path], tmp_path: Path
) -> None:
    result = run("export", "merge-and-quantize", pico("llama"), "-o", tmp_path, *arguments)
    assert result.exit_code == 2
    assert words in result.output
    assert not list(tmp_path.iterdir())


def test_base_and_adapter_in_the_wrong_order(
    pico: Callable[[str], Path], pico_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    base, adapter = pico("llama"), pico_adapter("llama")
    result = run("export", "merge-and-quantize", adapter, base, "-o", tmp_path)
    assert result.exit_code == 2
    assert "Give it as the base" in result.output


def test_lora_gguf(
    pico: Callable[[str], Path], pico_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "lora.gguf"
    result = run("export", "lora-gguf", pico("llama"), pico_adapter("llama"), "-o", out, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["modules"] > 0
    assert out.exists()
    assert (
        run("export", "lora-gguf", pico("llama"), pico_adapter("llama"), "-o", out).exit_code == 2
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing_visible(
    sent: int, smollm2_checkpoint: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "loragraft", "export", "merge-and-quantize",
               str(smollm2_checkpoint), "-o", str(tmp_path), "--name", "one"]  # fmt: skip
    # A background shell ignores SIGINT, and its children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
        )
    finally:
        signal.signal(signal.SIGINT, before)
    staged = tmp_path / ".one.staging"
    while not (staged.exists() and any(staged.glob("*.gguf"))) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Interrupted" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "one").exists()


NEEDS_FULL = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="this system has no /dev/full"
)


@pytest.mark.parametrize(
    ("redirect", "code"),
    [(">&-", 0), ("2>&-", 0), pytest.param(">/dev/full", 3, marks=NEEDS_FULL)],
)
def test_output_that_goes_nowhere_is_no_traceback(redirect: str, code: int) -> None:
    command = f"{shlex.quote(sys.executable)} -m loragraft --help {redirect}"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_an_error_does_not_hand_control_sequences_on(tmp_path: Path) -> None:
    result = run("chat", tmp_path / "a\x1b[2Jb.gguf", "--prompt", "x")
    assert result.exit_code == 2
    assert "\x1b" not in result.output
    assert "\u241b[2J" in result.output
