"""An export that is refused leaves nothing behind under its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from loragraft.errors import (
    AdapterError,
    CheckFailedError,
    InputError,
    NonFiniteError,
    OutOfSpaceError,
    UnsupportedError,
)
from loragraft.export.job import check_request, run_export
from loragraft.export.request import ExportReport, ExportRequest
from tests.export.pico_llama import Weights, make_adapter, make_weights, save_base

BASE = make_weights(81)
UP = "model.layers.1.mlp.up_proj.weight"
Export = Callable[..., ExportReport]


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """Return a function that exports a pico model, changed as a test wants it."""

    def run(weights: Weights = BASE, adapter: Path | None = None, **options: Any) -> ExportReport:  # noqa: ANN401
        base = save_base(tmp_path / "base", weights)
        adapters = ((adapter, options.pop("scale", 1.0)),) if adapter is not None else ()
        options.setdefault("quants", ("Q8_0",))
        return run_export(ExportRequest(base, adapters, tmp_path / "out", "model", **options))

    return run


def visible(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")]


def test_a_healthy_export_is_published(export: Export, tmp_path: Path) -> None:
    report = export(adapter=make_adapter(tmp_path / "adapter", 82))
    assert {gate.verdict for gate in report.gates} <= {"pass", "warn"}
    assert [file.name for file in report.files] == ["model.Q8_0.gguf"]
    assert visible(tmp_path / "out") == ["model"]


@pytest.mark.parametrize(
    ("name", "quants", "error", "words"),
    [
        ("model", (), InputError, "No --quant is given"),
        ("model", ("Q8_0", "q8_0"), InputError, "--quant names Q8_0 twice"),
        ("model", ("Q4_K", "Q8_0", "Q4_K_M"), InputError, "--quant names Q4_K_M twice"),
        ("model", ("Q8_0", "Q9_Z"), UnsupportedError, "no quantization mix 'Q9_Z'"),
        ("../up", ("Q8_0",), InputError, "'../up' starts with"),
    ],
)
def test_a_request_is_refused_before_a_file_is_read(
    name: str, quants: tuple[str, ...], error: type[Exception], words: str
) -> None:
    def request(name: str, quants: tuple[str, ...]) -> ExportRequest:
        return ExportRequest(Path("base"), (), Path("out"), name, quants=quants)

    check_request(request("model", ("Q4_K", "Q8_0")))
    with pytest.raises(error, match=words):
        check_request(request(name, quants))


def test_a_weight_that_is_no_number_is_named(export: Export, tmp_path: Path) -> None:
    weights = {name: values.copy() for name, values in BASE.items()}
    weights[UP][17, 3] = np.nan
    with pytest.raises(NonFiniteError, match=rf"{UP}, rows 0 to 256 of 256: found 1 of .* row 17"):
        export(weights)
    assert visible(tmp_path / "out") == []


def test_a_scale_that_overflows_is_named(export: Export, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", 82)
    with pytest.raises(NonFiniteError, match=r"proj\.weight, rows .* overflow.*smaller --scale"):
        export(adapter=adapter, scale=1e12)
    assert visible(tmp_path / "out") == []


def test_a_disk_that_is_too_small_is_said_before_writing(
    export: Export, tmp_path: Path, full_disk: None
) -> None:
    with pytest.raises(OutOfSpaceError, match=r"The rest of the bundle needs .* are missing"):
        export()
    assert visible(tmp_path / "out") == []


def poison(adapter: Path) -> None:
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    next(iter(tensors.values()))[0, 0] = np.inf
    save_file(tensors, path)


def test_a_failed_check_of_the_adapter_stops_before_writing(export: Export, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", 82)
    poison(adapter)
    with pytest.raises(CheckFailedError, match=r"(?s)values\.nonfinite: found 1 .*--allow values"):
        export(adapter=adapter)
    assert visible(tmp_path / "out") == []


def test_an_allowed_check_does_not_let_broken_values_in(export: Export, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", 82)
    poison(adapter)
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        export(adapter=adapter, allow=frozenset({"values.nonfinite"}))
    assert visible(tmp_path / "out") == []


def test_an_adapter_that_replaces_tensors_cannot_be_scaled(export: Export, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", 82, modules_to_save=["norm"])
    path = adapter / "adapter_model.safetensors"
    norm = {"base_model.model.model.norm.weight": np.full(256, 2.0, np.float32)}
    save_file({**load_file(path), **norm}, path)
    with pytest.raises(AdapterError, match=r"cannot be scaled by 0\.5"):
        export(adapter=adapter, scale=0.5)
    assert visible(tmp_path / "out") == []
