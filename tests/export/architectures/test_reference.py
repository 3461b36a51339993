"""Every family against llama.cpp's own converter: names, order, shapes, values and metadata."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader
from gguf.constants import GGUFValueType
from numpy.typing import NDArray

from loragraft.checkpoint.model import Checkpoint
from loragraft.export.architectures import FAMILIES, TensorSource, find_family, permute_rows

PROGRAM = runpy.run_path(str(Path(__file__).parent / "make_reference.py"))
VARIANTS: list[str] = list(PROGRAM["VARIANTS"])
KINDS = {
    "u32": GGUFValueType.UINT32,
    "f32": GGUFValueType.FLOAT32,
    "string": GGUFValueType.STRING,
    "bool": GGUFValueType.BOOL,
}
# Written elsewhere in the export: provenance, tokenizer, file type and quantization version.
ELSEWHERE = ("GGUF.", "tokenizer.", "general.")
OURS = ("general.architecture", "general.type")

pytestmark = pytest.mark.slow


def build(checkpoint: Checkpoint, tensor: TensorSource) -> NDArray[np.float32]:
    """A tensor as it is exported, following its source's instructions."""
    if tensor.values is not None:
        return tensor.values
    assert tensor.source is not None
    array = checkpoint.array(tensor.source)[: tensor.shape[0]]
    if tensor.heads is not None:
        array = permute_rows(array, tensor.heads)
    return array + np.float32(tensor.offset) if tensor.offset else array


def reference_items(reader: GGUFReader) -> dict[str, tuple[GGUFValueType, Any]]:
    """Kind and value of every key that a family is to write."""
    return {
        name: (field.types[0], field.contents())
        for name, field in reader.fields.items()
        if name in OURS or not name.startswith(ELSEWHERE)
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_tensors_equal_the_reference(references: Path, variant: str) -> None:
    reader = GGUFReader(references / variant / "reference.gguf")
    expected = {tensor.name: tensor for tensor in reader.tensors}
    with Checkpoint(references / variant / "checkpoint") as checkpoint:
        family = find_family(checkpoint.config)
        tensors = family.tensors(checkpoint.config, checkpoint.tensors)
        assert {tensor.gguf_name for tensor in tensors} == set(expected)
        for tensor in tensors:
            found = expected[tensor.gguf_name]
            assert tensor.shape == tuple(int(size) for size in reversed(found.shape))
            ours = build(checkpoint, tensor)
            assert ours.dtype == np.float32
            assert ours.shape == tensor.shape
            np.testing.assert_array_equal(ours, found.data, err_msg=tensor.gguf_name)


@pytest.mark.parametrize("variant", VARIANTS)
def test_order_equals_llama_model_quantize(references: Path, variant: str) -> None:
    reader = GGUFReader(references / variant / "quantized.gguf")
    with Checkpoint(references / variant / "checkpoint") as checkpoint:
        family = find_family(checkpoint.config)
        tensors = family.tensors(checkpoint.config, checkpoint.tensors)
    assert [tensor.gguf_name for tensor in tensors] == [tensor.name for tensor in reader.tensors]


@pytest.mark.parametrize("variant", VARIANTS)
def test_metadata_equals_the_reference(references: Path, variant: str) -> None:
    expected = reference_items(GGUFReader(references / variant / "reference.gguf"))
    with Checkpoint(references / variant / "checkpoint") as checkpoint:
        items = find_family(checkpoint.config).metadata(checkpoint.config)
    assert len({key for key, _, _ in items}) == len(items)
    ours = {
        key: (KINDS[kind], float(np.float32(value)) if kind == "f32" else value)
        for key, value, kind in items
    }
    assert ours == expected


@pytest.mark.parametrize("variant", VARIANTS)
def test_shape_agrees_with_the_reference(references: Path, variant: str) -> None:
    items = reference_items(GGUFReader(references / variant / "reference.gguf"))
    with Checkpoint(references / variant / "checkpoint") as checkpoint:
        shape = find_family(checkpoint.config).shape(checkpoint.config)
    prefix = shape.architecture
    values = {key.removeprefix(f"{prefix}."): value for key, (_, value) in items.items()}
    assert shape.layers == values["block_count"]
    assert shape.embedding == values["embedding_length"]
    assert shape.feed_forward == values["feed_forward_length"]
    assert shape.heads == values["attention.head_count"]
    assert shape.heads_kv == values["attention.head_count_kv"]
    assert shape.key_length == values.get("attention.key_length", shape.embedding // shape.heads)
    assert shape.vocab == PROGRAM["VOCAB"]


def test_every_family_stands_among_the_variants(references: Path) -> None:
    found = set()
    for variant in VARIANTS:
        with Checkpoint(references / variant / "checkpoint") as checkpoint:
            found.add(find_family(checkpoint.config).name)
    assert found == {family.name for family in FAMILIES}
