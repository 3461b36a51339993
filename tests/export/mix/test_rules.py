"""Our own table against llama.cpp: the same type for every tensor of every model and mix."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragraft.errors import UnsupportedError
from loragraft.export.mix import MIXES, ModelShape, TensorSpec, assign_types
from loragraft.export.mix.oracle import ARCHITECTURES, ask
from loragraft.export.mix.rules import deserves_more_bits, quantizable, types_by_rules

ODD_ROWS = [32, 48, 64, 96, 100, 128, 160, 256, 288, 384, 448, 512, 576, 768, 896, 1024]


def mismatches(shape: ModelShape, tensors: list[TensorSpec]) -> list[str]:
    """Where the table and llama.cpp differ, over all mixes that llama.cpp has a type for."""
    ordered = sorted(tensors, key=lambda spec: spec.order)
    asked = []
    for mix in MIXES.values():
        try:
            asked.append((mix, types_by_rules(shape, ordered, mix)))
        except UnsupportedError:
            assert mix.name == "Q1_0"  # the only type without a fallback; llama.cpp aborts there
    answers = ask([(shape, ordered, mix) for mix, _ in asked])
    return [
        f"{mix.name} {spec.name} {spec.shape}: table {ours.name}, llama.cpp {theirs}"
        for (mix, types), answered in zip(asked, answers, strict=True)
        for spec, ours, theirs in zip(ordered, types, answered, strict=True)
        if ours != theirs
    ]


def test_published_models(published: dict[str, tuple[ModelShape, list[TensorSpec]]]) -> None:
    assert {shape.architecture for shape, _ in published.values()} == ARCHITECTURES
    for name, (shape, tensors) in published.items():
        assert mismatches(shape, tensors) == [], name


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_shape(
    data: st.DataObject, model: Callable[..., tuple[ModelShape, list[TensorSpec]]]
) -> None:
    heads_kv = data.draw(st.sampled_from([1, 2, 3, 4, 8]), "key-value heads")
    head = data.draw(st.sampled_from([16, 32, 64, 80, 96, 128, 256]), "head length")
    shape = ModelShape(
        architecture=data.draw(st.sampled_from(sorted(ARCHITECTURES)), "architecture"),
        layers=data.draw(st.integers(1, 24) | st.sampled_from([33, 80, 81]), "layers"),
        embedding=data.draw(st.sampled_from(ODD_ROWS), "embedding"),
        feed_forward=data.draw(st.sampled_from(ODD_ROWS), "feed-forward"),
        heads=heads_kv * data.draw(st.integers(1, 8), "ratio"),
        heads_kv=heads_kv,
        key_length=head,
        value_length=head,
        vocab=data.draw(st.sampled_from([1, 2, 1000, 32000]), "vocabulary"),
    )
    rows = data.draw(
        st.dictionaries(
            st.sampled_from(["attn_v.weight", "ffn_gate.weight", "ffn_down.weight"]),
            st.sampled_from(ODD_ROWS),
        ),
        "row lengths",
    )
    assert mismatches(*model(shape, tied=data.draw(st.booleans(), "tied"), rows=rows)) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (TensorSpec("blk.0.attn_q.weight", (64, 64)), True),
        (TensorSpec("blk.0.ffn_gate_exps.weight", (8, 64, 64)), True),
        (TensorSpec("blk.0.attn_q.bias", (64,)), False),
        (TensorSpec("blk.0.attn_norm.weight", (64,)), False),
        (TensorSpec("blk.0.attn_q_norm.weight", (4, 64)), False),
        (TensorSpec("blk.0.ffn_gate_inp.weight", (8, 64)), False),
        (TensorSpec("blk.0.ffn_down.bias", (2, 64)), False),
        (TensorSpec("blk.0.attn_v.weight", (1, 64)), False),
        (TensorSpec("rope_factors_long.weight", (48,)), False),
        (TensorSpec("position_embd.weight", (512, 64)), False),
    ],
)
def test_what_is_never_quantized(spec: TensorSpec, expected: bool) -> None:
    assert quantizable(spec) is expected
    shape = ModelShape("llama", 1, 64, 64, 1, 1, 64, 64)
    [[theirs]] = ask([(shape, [spec], MIXES["Q8_0"])])
    assert (theirs != gguf.GGMLQuantizationType.F32) is expected


def test_more_bits_go_to_both_ends_and_every_third() -> None:
    chosen = [layer for layer in range(24) if deserves_more_bits(layer, 24)]
    assert chosen == [0, 1, 2, 5, 8, 11, 14, 17, 20, 21, 22, 23]


@pytest.mark.parametrize(
    "shape",
    [
        ModelShape("falcon", 2, 64, 64, 1, 1, 64, 64),
        ModelShape("qwen3moe", 2, 64, 64, 1, 1, 64, 64, experts=8),
    ],
)
def test_models_beyond_the_table_are_refused(shape: ModelShape) -> None:
    with pytest.raises(UnsupportedError, match="--converter"):
        types_by_rules(shape, [TensorSpec("output.weight", (64, 64))], MIXES["Q4_K_M"])


_KEYS: dict[str, Any] = {
    "context_length": 64,
    "embedding_length": 256,
    "feed_forward_length": 512,
    "vocab_size": 8,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "attention.sliding_window": 32,
    "rope.dimension_count": 32,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
}


def write_gguf(path: Path, shape: ModelShape, tensors: list[TensorSpec]) -> None:
    """A GGUF that llama.cpp's quantizer reads: enough hyper-parameters, and zeros for weights."""
    writer = gguf.GGUFWriter(path, shape.architecture)
    writer.add_block_count(shape.layers)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads_kv)
    for key, value in _KEYS.items():
        add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
        add(f"{shape.architecture}.{key}", value)
    for spec in tensors:
        writer.add_tensor(spec.name, np.zeros(spec.shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantized_types(source: Path, target: Path, ftype: int) -> Mapping[str, int]:
    """The tensor types that llama.cpp's own quantizer leaves in a file."""
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.nthread, parameters.ftype = 1, ftype
    status = llama_cpp.llama_model_quantize(
        str(source).encode(), str(target).encode(), ctypes.byref(parameters)
    )
    assert status == 0
    return {tensor.name: int(tensor.tensor_type) for tensor in gguf.GGUFReader(target).tensors}


@pytest.mark.parametrize(
    ("architecture", "layers", "heads", "heads_kv"),
    [
        ("llama", 12, 8, 2),
        ("llama", 80, 8, 2),
        ("llama", 80, 8, 8),
        ("qwen2", 80, 8, 2),
        ("qwen2", 80, 8, 8),
        ("qwen3", 80, 8, 2),
        ("gemma2", 10, 4, 2),
        ("gemma3", 10, 4, 1),
        ("phi3", 17, 8, 8),
    ],
)
def test_the_quantizer_itself_agrees(
    architecture: str,
    layers: int,
    heads: int,
    heads_kv: int,
    model: Callable[..., tuple[ModelShape, list[TensorSpec]]],
    tmp_path: Path,
) -> None:
    """Both sources against files that llama.cpp wrote; 80 layers are what it calls 70B."""
    shape = ModelShape(architecture, layers, 256, 512, heads, heads_kv, 32, 32, vocab=8)
    shape, tensors = model(shape, tied=True)
    slim = [
        TensorSpec(spec.name, (*((2,) * (len(spec.shape) - 1)), spec.shape[-1])) for spec in tensors
    ]
    write_gguf(tmp_path / "source.gguf", shape, slim)
    deep = ("Q4_K_M", "Q3_K_S", "Q8_0")  # enough to see the extra bits of "70B"
    for name in deep if layers == 80 else (*deep, "Q3_K_M", "Q4_K_S", "Q2_K", "F16", "BF16", "F32"):
        reference = quantized_types(
            tmp_path / "source.gguf", tmp_path / "out.gguf", MIXES[name].ftype
        )
        for source in ("oracle", "rules"):
            ours, who = assign_types(shape, slim, name, source=source)  # type: ignore[arg-type]
            assert {item.name: item.qtype for item in ours} == reference, (name, who)


def test_the_order_of_tensors_does_not_matter(
    published: dict[str, tuple[ModelShape, list[TensorSpec]]],
) -> None:
    shape, tensors = published["Qwen2.5-1.5B"]
    forwards, _ = assign_types(shape, tensors, "Q4_K_M", source="rules")
    backwards, _ = assign_types(shape, tensors[::-1], "Q4_K_M", source="rules")
    assert forwards == backwards[::-1]
    sixes = [item.name for item in forwards if item.qtype == gguf.GGMLQuantizationType.Q6_K]
    layers = {int(found[1]) for name in sixes if (found := re.match(r"blk\.(\d+)\.ffn_down", name))}
    assert layers == {layer for layer in range(28) if deserves_more_bits(layer, 28)}
