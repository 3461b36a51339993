"""Mixes by name, and refusals that say why."""

from __future__ import annotations

import gguf
import pytest

from loragraft.errors import UnsupportedError
from loragraft.export.mix import (
    MIXES,
    ModelShape,
    TensorSpec,
    TensorType,
    assign_types,
    bits_per_weight,
    find_mix,
)
from loragraft.export.mix.catalogue import NEEDS_IMPORTANCE_MATRIX
from loragraft.export.mix.tensor_types import BLOCKS, LARGEST_BLOCK


@pytest.mark.parametrize("name", ["Q4_K_M", "q4_k_m", " Q4_k_M ", "q4_k"])
def test_names_are_found_in_any_case_and_by_alias(name: str) -> None:
    assert find_mix(name) is MIXES["Q4_K_M"]


def test_file_types_and_tensor_types_are_those_of_gguf() -> None:
    for mix in MIXES.values():
        prefix = "ALL_" if mix.name == "F32" else "MOSTLY_"
        assert gguf.LlamaFileType(mix.ftype).name == prefix + mix.name
    for qtype, block in BLOCKS.items():
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[qtype.name]] == block
        assert gguf.GGMLQuantizationType[qtype.name] == qtype
        assert LARGEST_BLOCK % block[0] == 0
    assert set(BLOCKS) == set(TensorType)


@pytest.mark.parametrize("name", sorted(NEEDS_IMPORTANCE_MATRIX))
def test_a_mix_that_needs_an_importance_matrix_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{name} needs an importance matrix.*Q4_K_M"):
        find_mix(name.lower())


def test_an_unknown_mix_is_refused_with_all_names() -> None:
    with pytest.raises(UnsupportedError, match=r"no quantization mix 'Q9_K'") as caught:
        find_mix("Q9_K")
    assert all(name in str(caught.value) for name in MIXES)
    with pytest.raises(UnsupportedError, match="gguf package cannot"):
        find_mix("Q2_0")


def test_every_mix_of_llama_cpp_is_either_offered_or_refused_by_name() -> None:
    known = {item.name.removeprefix("MOSTLY_").removeprefix("ALL_") for item in gguf.LlamaFileType}
    not_a_recipe = {"GUESSED", "NVFP4"}  # llama.cpp's quantizer has no way to make NVFP4
    assert known - not_a_recipe == set(MIXES) | set(NEEDS_IMPORTANCE_MATRIX)


@pytest.mark.parametrize("name", sorted(MIXES))
def test_nominal_bits_are_those_of_llama_3_8b(
    name: str, published: dict[str, tuple[ModelShape, list[TensorSpec]]]
) -> None:
    shape, tensors = published["Llama-3.1-8B"]
    assignments, _ = assign_types(shape, tensors, name, source="rules")
    assert MIXES[name].nominal_bits == pytest.approx(
        bits_per_weight(assignments, tensors), abs=0.06
    )
