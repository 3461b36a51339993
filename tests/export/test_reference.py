"""Whole exports against the reference pipeline: PEFT's merge, llama.cpp's converter, its quantizer.

With ``--precision reference`` nothing but provenance may differ; with the default, float32, the
result must be at least as close to the exactly merged model as the reference's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loragraft.export.gguf_file import GgufFile
from loragraft.export.job import run_export
from loragraft.export.request import ExportRequest
from tests.support.pico import FAMILIES
from tests.support.reference import reference_convert, reference_merge, reference_quantize

pytestmark = pytest.mark.slow

PROVENANCE = {
    "general.name", "general.basename", "general.finetune", "general.version",
    "general.size_label", "general.organization", "general.author",
    "general.license", "general.tags", "general.languages", "general.datasets",
}  # fmt: skip
"""Keys the reference guesses from folder names and model cards: they say who made a file, not
what is in it. The counts in the header follow from them."""
KEYS_THAT_DIFFER: dict[str, set[str]] = {}
"""Further keys by family, each with its reason beside it."""


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


def export(base: Path, adapter: Path | None, out: Path, **options: Any) -> Path:  # noqa: ANN401
    adapters = ((adapter, 1.0),) if adapter is not None else ()
    # Random pico models say nothing in words and llama.cpp may refuse their tokens' text;
    # what is compared here are bytes, so a k below the band of bf16 rounding is no failure.
    options.setdefault("allow", frozenset({"effect"}))
    request = ExportRequest(base, adapters, out, "model", **options)
    return run_export(request).bundle


def reference(base: Path, adapter: Path | None, out: Path, llama_cpp_source: Path) -> Path:
    out.mkdir()
    merged = base
    if adapter is not None:
        merged = out / "merged"
        reference_merge(base, adapter, merged)
    reference_convert(merged, out / "bf16.gguf", "bf16", llama_cpp_source)
    reference_quantize(out / "bf16.gguf", out / "q4.gguf", "Q4_K_M")
    return out / "q4.gguf"


def assert_same(ours: Path, theirs: Path, family: str = "") -> None:
    our_tensors, our_fields = read(ours)
    their_tensors, their_fields = read(theirs)
    assert list(our_tensors) == list(their_tensors)
    types = {n: (our_tensors[n][0], their_tensors[n][0]) for n in our_tensors}
    assert {n: t for n, t in types.items() if t[0] != t[1]} == {}
    assert [n for n in our_tensors if our_tensors[n] != their_tensors[n]] == []
    ignored = KEYS_THAT_DIFFER.get(family, set())
    keys = {k for k in our_fields.keys() | their_fields.keys() if k not in ignored}
    differing = {k for k in keys if our_fields.get(k) != their_fields.get(k)}
    assert {k: (our_fields.get(k), their_fields.get(k)) for k in sorted(differing)} == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_byte_equals_the_reference(
    family: str,
    pico: Callable[[str], Path],
    pico_adapter: Callable[..., Path],
    llama_cpp_source: Path,
    tmp_path: Path,
) -> None:
    base, adapter = pico(family), pico_adapter(family)
    bundle = export(base, adapter, tmp_path / "out", precision="reference")
    theirs = reference(base, adapter, tmp_path / "ref", llama_cpp_source)
    assert_same(bundle / "model.Q4_K_M.gguf", theirs, family)


def test_smollm2_equals_the_reference(
    smollm2_checkpoint: Path, example_adapter: Path, llama_cpp_source: Path, tmp_path: Path
) -> None:
    bundle = export(smollm2_checkpoint, example_adapter, tmp_path / "out", precision="reference")
    theirs = reference(smollm2_checkpoint, example_adapter, tmp_path / "ref", llama_cpp_source)
    assert_same(bundle / "model.Q4_K_M.gguf", theirs)


def test_float32_is_at_least_as_close_to_the_merged_model(
    smollm2_checkpoint: Path, example_adapter: Path, llama_cpp_source: Path, tmp_path: Path
) -> None:
    from loragraft.export.divergence import measure_divergence

    ours = export(smollm2_checkpoint, example_adapter, tmp_path / "out", allow=frozenset())
    theirs = reference(smollm2_checkpoint, example_adapter, tmp_path / "ref", llama_cpp_source)
    adapters = ((example_adapter, 1.0),)
    measured = [
        measure_divergence(path, smollm2_checkpoint, adapters).quantization
        for path in (ours / "model.Q4_K_M.gguf", theirs)
    ]
    # Either value carries sampling error; no larger means no larger than that error explains.
    assert measured[0].kl <= measured[1].kl + measured[1].kl_error
