"""Our encoders give ggml's bytes, on whatever comes."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from loragraft.checkpoint.safetensors import SafetensorsFile
from loragraft.export.quantize.native import NATIVE_TYPES

if TYPE_CHECKING:
    from pathlib import Path

    from loragraft.export.quantize.ggml import Ggml
    from loragraft.export.quantize.kernels import Kernels

BLOCK = 256
TYPES = [pytest.param(qtype, id=GGMLQuantizationType(qtype).name) for qtype in NATIVE_TYPES]
SCALES = [1e-42, 1e-38, 1e-30, 1e-20, 1e-15, 1e-10, 1e-7, 1e-5, 1e-2, 1.0, 1e3]
DISTRIBUTIONS = ["normal", "uniform", "student", "laplace", "integers", "sparse", "near_constant"]

Floats = NDArray[np.float32]


@pytest.fixture(autouse=True)
def _ours_runs(native: Kernels) -> None:
    if any(choice.encoder is None for choice in native.choices.values()):
        pytest.skip(f"our encoders do not run on this machine: {native.report()}")


def assert_same_bytes(native: Kernels, ggml: Ggml, qtype: int, x: Floats) -> None:
    expected = ggml.quantize(qtype, x)
    found = np.full_like(expected, 0xAA)
    native.quantize_into(qtype, x, found)
    np.testing.assert_array_equal(found, expected)


def draw_weights(distribution: str, shape: tuple[int, int], seed: int) -> Floats:
    random = np.random.default_rng(seed)
    if distribution == "normal":
        x = random.normal(size=shape)
    elif distribution == "uniform":
        x = random.uniform(-1, 1, size=shape)
    elif distribution == "student":
        x = random.standard_t(1.5, size=shape).clip(-1e3, 1e3)
    elif distribution == "laplace":
        x = random.laplace(size=shape)
    elif distribution == "integers":
        x = random.integers(-8, 9, size=shape).astype(np.float64)
    elif distribution == "sparse":
        x = random.normal(size=shape) * (random.uniform(size=shape) < 0.05)
    else:
        x = 1.0 + random.integers(0, 4, size=shape) * np.spacing(np.float32(1.0))
    return np.ascontiguousarray(x, dtype=np.float32)


@pytest.mark.parametrize("qtype", TYPES)
@settings(max_examples=150, deadline=None)
@given(
    distribution=st.sampled_from(DISTRIBUTIONS),
    rows=st.integers(1, 7),
    blocks=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from(SCALES),
    shift=st.sampled_from([0.0, 0.0, 1.0, -1.0, 10.0]),
    fold=st.sampled_from([0, 1, -1]),
)
def test_random_weights_give_ggmls_bytes(
    native: Kernels,
    ggml: Ggml,
    qtype: int,
    distribution: str,
    rows: int,
    blocks: int,
    seed: int,
    scale: float,
    shift: float,
    fold: int,
) -> None:
    x = draw_weights(distribution, (rows, blocks * BLOCK), seed) + np.float32(shift)
    if fold:
        x = np.abs(x) * np.float32(fold)
    assert_same_bytes(native, ggml, qtype, np.ascontiguousarray(x * np.float32(scale)))


@pytest.mark.parametrize("qtype", TYPES)
@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(
        st.floats(-6e4, 6e4, width=32, allow_subnormal=True), min_size=1, max_size=BLOCK
    ),
)
def test_any_few_values_repeated_give_ggmls_bytes(
    native: Kernels, ggml: Ggml, qtype: int, values: list[float]
) -> None:
    x = np.resize(np.asarray(values, dtype=np.float32), (1, BLOCK))
    assert_same_bytes(native, ggml, qtype, x)


def edge_blocks() -> dict[str, Floats]:
    normal = np.random.default_rng(7).normal(size=BLOCK)
    outlier = normal * 1e-4
    outlier[77] = 1.0
    single = np.zeros(BLOCK)
    single[200] = -3.0
    halves = normal.copy()
    halves[BLOCK // 2 :] *= 1e-6
    late = -np.abs(normal)
    late[:31] = 0.0
    alternating = np.resize([1.0, -1.0], BLOCK)
    blocks = {
        "zero": np.zeros(BLOCK),
        "negative zero": -np.zeros(BLOCK),
        "constant": np.full(BLOCK, 0.3),
        "negative constant": np.full(BLOCK, -0.3),
        "tiny constant": np.full(BLOCK, 1e-30),
        "tiny negative constant": np.full(BLOCK, -1e-30),
        "denormal constant": np.full(BLOCK, 1e-42),
        "at the threshold of zero": np.full(BLOCK, 1e-15),
        "one-sided": np.abs(normal),
        "one-sided negative": -np.abs(normal),
        "one-sided, a zero first": late,
        "tiny": normal * 1e-30,
        "denormal": normal * 1e-41,
        "scales below half precision": normal * 3e-7,
        "outlier": outlier,
        "negative outlier": -outlier,
        "single": single,
        "halves of different size": halves,
        "alternating": alternating,
        "large": normal.clip(-1, 1) * 6.5e4,
        "as large as scales can hold": alternating * 6.5e4 * 7,
        "near constant": 1 + np.arange(BLOCK) % 3 * 1.2e-7,
        "ramp": np.linspace(-1, 1, BLOCK),
        "ties": (np.arange(BLOCK) % 32 - 15.5) / 2,
    }
    return {name: block.astype(np.float32) for name, block in blocks.items()}


@pytest.mark.parametrize("qtype", TYPES)
@pytest.mark.parametrize("name", edge_blocks())
def test_edge_blocks_give_ggmls_bytes(native: Kernels, ggml: Ggml, qtype: int, name: str) -> None:
    edge = edge_blocks()[name]
    other = draw_weights("normal", (1, BLOCK), 3)[0]
    for row in ([edge], [edge, other], [other, edge, edge]):
        assert_same_bytes(native, ggml, qtype, np.concatenate(row)[None, :])


@pytest.mark.parametrize("qtype", TYPES)
@pytest.mark.parametrize(("rows", "length"), [(1, 256), (3, 256), (5, 768), (17, 2304), (0, 512)])
def test_any_number_of_blocks(
    native: Kernels, ggml: Ggml, qtype: int, rows: int, length: int
) -> None:
    assert_same_bytes(native, ggml, qtype, draw_weights("laplace", (rows, length), rows))


@pytest.mark.parametrize("qtype", TYPES)
def test_weights_like_a_trained_layer(native: Kernels, ggml: Ggml, qtype: int) -> None:
    random = np.random.default_rng(11)
    channels = np.exp(random.normal(0, 0.5, size=(1, 1536)))
    x = random.standard_t(6, size=(256, 1536)) * 0.02 * channels
    x[:, random.integers(0, 1536, 4)] *= 20
    assert_same_bytes(native, ggml, qtype, np.ascontiguousarray(x, dtype=np.float32))


@pytest.mark.parametrize("qtype", TYPES)
@pytest.mark.parametrize("layer", [0, 14, 29])
@pytest.mark.parametrize(
    "module", ["self_attn.q_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.down_proj"]
)
def test_real_weights_give_ggmls_bytes(
    native: Kernels, ggml: Ggml, smollm2_checkpoint: Path, qtype: int, layer: int, module: str
) -> None:
    with SafetensorsFile(next(smollm2_checkpoint.glob("*.safetensors"))) as file:
        weights = file.array(f"model.layers.{layer}.{module}.weight")
    # SmolLM2's rows are no multiple of 256 weights; the blocks are real all the same.
    whole = weights.size // BLOCK * BLOCK
    x = np.ascontiguousarray(weights.reshape(-1)[:whole].reshape(-1, BLOCK))
    assert_same_bytes(native, ggml, qtype, x)


@pytest.mark.parametrize("qtype", TYPES)
def test_threads_give_the_same_bytes(native: Kernels, ggml: Ggml, qtype: int) -> None:
    x = draw_weights("normal", (64, 1024), 5)
    expected = ggml.quantize(qtype, x)
    found = np.zeros_like(expected)

    def encode(first: int) -> None:
        rows = slice(first, first + 3)
        native.quantize_into(qtype, x[rows], found[rows])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(encode, range(0, 64, 3)))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("qtype", TYPES)
def test_read_only_and_unaligned_weights(native: Kernels, ggml: Ggml, qtype: int) -> None:
    x = draw_weights("normal", (2, 512), 9)
    expected = ggml.quantize(qtype, x)
    shifted = np.frombuffer(b"\0" + x.tobytes(), dtype=np.uint8)[1:].view(np.float32)
    found = np.zeros_like(expected)
    native.quantize_into(qtype, shifted.reshape(x.shape), found)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("features", ["+avx,+avx2", "+sse4.2"])
def test_narrower_vectors_and_a_cold_cache(features: str, tmp_path: Path) -> None:
    """Compile for a lesser processor in a process of its own."""
    program = (
        "from loragraft.export.quantize.kernels import choose_kernels\n"
        "print(choose_kernels({12: 0, 14: 0}, prefer='numba').report())\n"
    )
    environment = os.environ | {
        "NUMBA_CPU_NAME": "x86-64",
        "NUMBA_CPU_FEATURES": features,
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    if "avx2" in features:
        assert result.stdout.count("loragraft numba avx2: same bytes as ggml") == 2
        assert list(tmp_path.rglob("*.nbi"))
    else:
        assert result.stdout.count("ggml: the processor has no AVX2") == 2
