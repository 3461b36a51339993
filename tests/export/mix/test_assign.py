"""Assignments with their reasons, and what follows from them."""

from __future__ import annotations

import math

import pytest

from loragraft.errors import UnsupportedError
from loragraft.export.mix import (
    MIXES,
    ModelShape,
    TensorSpec,
    TensorType,
    assign_types,
    bits_per_weight,
    fallbacks,
    tensor_bytes,
    type_counts,
)

Published = dict[str, tuple[ModelShape, list[TensorSpec]]]


@pytest.mark.parametrize("source", ["oracle", "rules"])
def test_smollm2_falls_back_on_most_of_its_tensors(published: Published, source: str) -> None:
    shape, tensors = published["SmolLM2-135M"]
    assigned, who = assign_types(shape, tensors, "Q4_K_M", source=source)  # type: ignore[arg-type]
    assert who == {"oracle": "llama.cpp", "rules": "rules"}[source]
    reasons = {item.name: item.reason for item in assigned}
    assert reasons["blk.7.attn_q.weight"] == "row length 576 is not a multiple of 256: Q4_K → Q5_0"
    assert reasons["token_embd.weight"] == "row length 576 is not a multiple of 256: Q6_K → Q8_0"
    assert reasons["blk.7.ffn_down.weight"] is None
    assert reasons["blk.7.attn_norm.weight"] is None
    assert (
        sum(item.reason is not None for item in assigned) == 181
    )  # six in each of 30 layers, and the embedding
    assert bits_per_weight(assigned, tensors) == pytest.approx(6.2, abs=0.1)
    assert type_counts(assigned) == {"Q5_0": 166, "F32": 62, "Q4_K": 16, "Q8_0": 15, "Q6_K": 14}
    assert fallbacks(assigned) == {
        "row length 576 is not a multiple of 256: Q4_K → Q5_0": 166,
        "row length 576 is not a multiple of 256: Q6_K → Q8_0": 15,
    }


@pytest.mark.parametrize("source", ["oracle", "rules"])
@pytest.mark.parametrize(
    ("mix", "row", "reason"),
    [
        ("Q4_K_M", 100, "row length 100 is a multiple of neither 256 nor 32: Q4_K → F16"),
        ("Q4_0", 100, "row length 100 is not a multiple of 32: Q4_0 → F16"),
        ("Q8_0", 100, "row length 100 is not a multiple of 32: Q8_0 → F16"),
        ("Q5_K_S", 96, "row length 96 is not a multiple of 256: Q5_K → Q5_1"),
        ("IQ4_XS", 96, "row length 96 is not a multiple of 256: IQ4_XS → IQ4_NL"),
        ("Q3_K_S", 96, "row length 96 is not a multiple of 256: Q3_K → Q4_0"),
        ("Q4_K_M", 512, None),
        ("F16", 100, None),
        ("BF16", 100, None),
    ],
)
def test_reasons_name_the_rule_that_struck(
    mix: str, row: int, reason: str | None, source: str
) -> None:
    shape = ModelShape("llama", 2, 512, 512, 8, 8, 64, 64)
    tensors = [TensorSpec("output.weight", (8, 512)), TensorSpec("blk.0.attn_q.weight", (8, row))]
    assigned, _ = assign_types(shape, tensors, mix, source=source)  # type: ignore[arg-type]
    assert assigned[1].reason == reason
    assert (assigned[1].qtype == assigned[1].wanted) is (reason is None)


@pytest.mark.parametrize("source", ["auto", "rules"])
def test_a_row_without_any_fallback_is_refused(source: str) -> None:
    shape = ModelShape("llama", 2, 576, 512, 8, 8, 64, 64)
    tensors = [TensorSpec("blk.0.attn_q.weight", (8, 576))]
    with pytest.raises(UnsupportedError, match=r"attn_q\.weight has rows of 576.*multiple of 128"):
        assign_types(shape, tensors, "Q1_0", source=source)  # type: ignore[arg-type]


def test_sizes_count_whole_blocks() -> None:
    spec = TensorSpec("blk.0.attn_q.weight", (3, 512))
    assert tensor_bytes(spec, TensorType.Q4_K) == 3 * 2 * 144
    assert tensor_bytes(spec, TensorType.Q5_0) == 3 * 16 * 22
    assert tensor_bytes(spec, TensorType.F32) == math.prod(spec.shape) * 4
    assert bits_per_weight([], []) == 0.0


def test_float_mixes_leave_vectors_in_32_bits(published: Published) -> None:
    shape, tensors = published["Qwen2.5-0.5B"]
    for name in ("F32", "F16", "BF16"):
        assigned, _ = assign_types(shape, tensors, name)
        vectors = [
            item for item, spec in zip(assigned, tensors, strict=True) if len(spec.shape) == 1
        ]
        assert {item.qtype for item in vectors} == {TensorType.F32}
        matrices = {item.qtype for item in assigned} - {TensorType.F32}
        assert matrices == ({MIXES[name].base} - {TensorType.F32})
