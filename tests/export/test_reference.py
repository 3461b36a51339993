"""Whole exports against the reference pipeline: PEFT's merge, llama.cpp's converter, its quantizer.

With ``--precision reference`` nothing but provenance may differ; with the default, float32, the
result must be at least as close to the exactly merged model as the reference's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.export.divergence import calibration_text, measure_divergence
from loragraft.export.job import run_export
from loragraft.export.merge import merge_into
from loragraft.export.request import ExportReport, ExportRequest
from tests.support.converter import Converter
from tests.support.pico import FAMILIES
from tests.support.reference import reference_merge, reference_quantize
from tests.support.shared import build_once

pytestmark = pytest.mark.slow

PROVENANCE = {
    "general.name", "general.basename", "general.finetune", "general.version",
    "general.size_label", "general.organization", "general.author",
    "general.license", "general.tags", "general.languages", "general.datasets",
}  # fmt: skip
"""Keys the reference guesses from folder names and model cards: they say who made a file, not
what is in it. The counts in the header follow from them."""
REAL = "smollm2"
CASES = [
    pytest.param(case, marks=pytest.mark.xdist_group(f"reference-{case}"))
    for case in (*FAMILIES, REAL)
]
TEXT = calibration_text()[:1500]


def read(path: Path) -> tuple[dict[str, tuple[int, bytes]], dict[str, Any]]:
    """Return tensors (type and bytes) and metadata of a GGUF file."""
    with GgufFile(path) as file:
        tensors = {
            name: (tensor.qtype, file.raw_rows(name).tobytes())
            for name, tensor in file.tensors.items()
        }
        fields = {
            key: file.get(key)
            for key in file.keys
            if key not in PROVENANCE and not key.startswith("general.base_model")
        }
    return tensors, fields


def export(
    base: Path,
    adapter: Path,
    out: Path,
    **options: Any,  # noqa: ANN401
) -> ExportReport:
    return run_export(ExportRequest(base, ((adapter, 1.0),), out, "model", **options))


def run_reference(base: Path, adapter: Path, out: Path, convert: Converter) -> Path:
    out.mkdir()
    reference_merge(base, adapter, out / "merged")
    convert(out / "merged", out / "bf16.gguf", "--outtype", "bf16")
    reference_quantize(out / "bf16.gguf", out / "q4.gguf", "Q4_K_M")
    return out


@pytest.fixture(scope="session")
def inputs(
    pico: Callable[[str], Path],
    pico_adapter: Callable[..., Path],
    smollm2_checkpoint: Path,
    example_adapter: Path,
) -> Callable[[str], tuple[Path, Path]]:
    """Base and adapter of a case: a pico's name, or the real model's."""

    def find(case: str) -> tuple[Path, Path]:
        if case == REAL:
            return smollm2_checkpoint, example_adapter
        return pico(case), pico_adapter(case)

    return find


@pytest.fixture(scope="session")
def merged(
    inputs: Callable[[str], tuple[Path, Path]], shared_folder: Path
) -> Callable[[str], Path]:
    """Merge a case in float32, once a session; return the checkpoint."""

    def merge(case: str) -> Path:
        base, adapter = inputs(case)

        def build(out: Path) -> Path:
            return merge_into(base, ((adapter, 1.0),), out, dtype="float32").folder

        return build_once(shared_folder / "merged" / case, build)

    return merge


@pytest.fixture(scope="session")
def reference(
    inputs: Callable[[str], tuple[Path, Path]], converter: Converter, shared_folder: Path
) -> Callable[[str], Path]:
    """Run the reference pipeline for a case, once a session; return its file."""

    def run(case: str) -> Path:
        base, adapter = inputs(case)
        folder = build_once(
            shared_folder / "reference" / case,
            lambda out: run_reference(base, adapter, out, converter),
        )
        return folder / "q4.gguf"

    return run


def assert_same(ours: Path, theirs: Path) -> None:
    our_tensors, our_fields = read(ours)
    their_tensors, their_fields = read(theirs)
    assert list(our_tensors) == list(their_tensors)
    types = {n: (our_tensors[n][0], their_tensors[n][0]) for n in our_tensors}
    assert {n: t for n, t in types.items() if t[0] != t[1]} == {}
    assert [n for n in our_tensors if our_tensors[n] != their_tensors[n]] == []
    keys = our_fields.keys() | their_fields.keys()
    differing = {k for k in keys if our_fields.get(k) != their_fields.get(k)}
    assert {k: (our_fields.get(k), their_fields.get(k)) for k in sorted(differing)} == {}


@pytest.mark.parametrize("case", CASES)
def test_every_byte_equals_the_reference(
    case: str,
    inputs: Callable[[str], tuple[Path, Path]],
    reference: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    # Rounding every sum to bfloat16 takes part of a small adapter away, and the gate says so;
    # what is compared here are bytes.
    report = export(*inputs(case), tmp_path, precision="reference", allow=frozenset({"effect"}))
    assert_same(report.bundle / "model.Q4_K_M.gguf", reference(case))


@pytest.mark.parametrize("case", CASES)
def test_float32_keeps_the_adapter_and_the_distribution(
    case: str,
    inputs: Callable[[str], tuple[Path, Path]],
    merged: Callable[[str], Path],
    reference: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    report = export(*inputs(case), tmp_path)
    effect = next(gate for gate in report.gates if gate.name == "effect")
    assert effect.verdict == "pass"
    assert 0.95 <= effect.details["k"] <= 1.05
    ours, theirs = (
        measure_divergence(path, merged(case), text=TEXT).quantization
        for path in (report.bundle / "model.Q4_K_M.gguf", reference(case))
    )
    # Either value carries sampling error; no larger means no larger than that error explains.
    assert ours.kl <= theirs.kl + theirs.kl_error
