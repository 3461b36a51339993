"""Refusals of the command line that its other tests do not show."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loragraft.cli.main import main
from tests.adapter.builders import write_adapter, write_base
from tests.export.pico_llama import make_adapter, make_weights, save_base


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result: Result, code: int, words: str) -> None:
    assert result.exit_code == code, result.output
    assert words in result.output
    assert "Traceback" not in result.output


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base")


def test_an_adapter_without_a_claim_needs_its_base(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", base_model_name_or_path=None)
    refused(run("export", "plan", adapter), 2, "does not say which base it was trained on")


def test_a_claim_that_is_gone_is_said(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", base_model_name_or_path=str(tmp_path / "gone"))
    refused(run("export", "plan", adapter), 2, "which cannot be found")


def test_scales_are_one_for_each_adapter(base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    result = run("export", "plan", base, adapter, "--scale", "1", "--scale", "2")
    refused(result, 2, "2 --scale for 1 adapters")


def test_a_pickle_is_refused_by_name(base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps({}))
    refused(run("export", "plan", base, adapter), 2, "is a pickle")
    refused(run("export", "plan", adapter), 2, "is a pickle")


def test_full_needs_a_base(tmp_path: Path) -> None:
    refused(run("export", "verify", tmp_path, "--full"), 2, "--adapter and --full need --base")


def test_a_bundle_that_is_none_is_said(tmp_path: Path) -> None:
    refused(run("export", "verify", tmp_path / "none"), 2, "is not a folder")


def test_a_failed_check_of_the_adapter_is_code_1(tmp_path: Path) -> None:
    base = save_base(tmp_path / "whole", make_weights(97))
    adapter = make_adapter(tmp_path / "adapter", 98, lora_alpha=0)
    result = run("export", "merge-and-quantize", base, adapter, "-o", tmp_path / "out")
    refused(result, 1, "effect.zero: found 14 of 14 pairs are exactly zero")
    assert "--allow effect.zero" in result.output


@pytest.mark.parametrize("count", [0, 2])
def test_a_gguf_lora_is_made_of_one_adapter(count: int, base: Path, tmp_path: Path) -> None:
    adapters = [write_adapter(tmp_path / f"adapter-{number}") for number in range(count)]
    result = run("export", "lora-gguf", base, *adapters, "-o", tmp_path / "lora.gguf")
    refused(result, 2, "Give a base and one adapter")
