"""Exports by a converter script: the same gates, the same bundle, nothing half-made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loragraft.artifact.checksums import check_checksums
from loragraft.errors import CheckFailedError, InputError, OutOfSpaceError
from loragraft.export.job import run_export
from loragraft.export.request import ExportReport, ExportRequest
from tests.export.pico_llama import Weights, make_weights, save_base, write_model

BASE = make_weights(61)
Convert = Callable[..., ExportReport]
SCRIPT = """
import shutil, sys
shutil.copyfile({ready!r}, sys.argv[sys.argv.index("--outfile") + 1])
"""


@pytest.fixture
def convert(tmp_path: Path) -> Convert:
    """Return a function that exports by a script, which brings ready weights as its result."""

    def run(weights: Weights = BASE, code: str = SCRIPT, **options: Any) -> ExportReport:  # noqa: ANN401
        ready = write_model(tmp_path / "ready.gguf", weights, "F32")
        script = tmp_path / "convert_hf_to_gguf.py"
        script.write_text(code.format(ready=str(ready)))
        base = save_base(tmp_path / "base", BASE, architectures=["OddForCausalLM"])
        options = {"quants": ("Q8_0",), "converter": script, **options}
        return run_export(ExportRequest(base, (), tmp_path / "out", "model", **options))

    return run


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".model.lock"}


def test_a_healthy_conversion_is_published(convert: Convert, tmp_path: Path) -> None:
    report = convert()
    assert {gate.name: gate.verdict for gate in report.gates} == {
        "load": "pass", "tokenizer": "pass", "effect": "skipped"}  # fmt: skip
    assert check_checksums(report.bundle) == []
    assert left(tmp_path / "out") == {"model"}


def test_a_converted_file_that_says_nothing_is_not_published(
    convert: Convert, tmp_path: Path
) -> None:
    weights = {name: values.copy() for name, values in BASE.items()}
    weights["model.norm.weight"].fill(0)
    with pytest.raises(CheckFailedError, match="load: found constant logits") as caught:
        convert(weights)
    assert "unpublished files" not in str(caught.value)
    assert left(tmp_path / "out") == set()


def test_a_failing_script_publishes_nothing(convert: Convert, tmp_path: Path) -> None:
    with pytest.raises(CheckFailedError, match=r"on base failed with status 1.*it went wrong"):
        convert(code="raise SystemExit('it went wrong')")
    assert left(tmp_path / "out") == set()


def test_a_script_that_is_none_is_refused_first(convert: Convert, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"base is no convert_hf_to_gguf\.py"):
        convert(converter=tmp_path / "base")
    assert not (tmp_path / "out").exists()


def test_no_room_for_the_float_file_is_said(
    convert: Convert, tmp_path: Path, full_disk: None
) -> None:
    with pytest.raises(OutOfSpaceError, match=r"The float GGUF in between needs .* are missing"):
        convert()
    assert left(tmp_path / "out") == set()
