"""Which kernel runs, and what none of them may be given."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray

import loragraft
from loragraft.engine.threads import usable_cores
from loragraft.errors import NonFiniteError, UnsupportedError
from loragraft.export.quantize.kernels import choose_kernels, dequantize_rows
from loragraft.export.quantize.native import NATIVE_TYPES, load_encoder

if TYPE_CHECKING:
    from loragraft.export.quantize.ggml import Ggml
    from loragraft.export.quantize.kernels import Kernels

PLENTY = 10**10
Q4_K, Q6_K = int(Type.Q4_K), int(Type.Q6_K)
STORED = [Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q5_0, Type.Q5_1, Type.Q8_0, Type.Q2_K,
          Type.Q3_K, Type.Q4_K, Type.Q5_K, Type.Q6_K, Type.IQ4_NL, Type.IQ4_XS]  # fmt: skip


def weights(rows: int = 3, length: int = 512) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(rows, length)).astype(np.float32)


def encode(kernels: Kernels, qtype: int, x: NDArray[np.float32]) -> NDArray[np.uint8]:
    out = np.zeros((x.shape[0], kernels.row_bytes(qtype, x.shape[1])), dtype=np.uint8)
    kernels.quantize_into(qtype, x, out)
    return out


@pytest.mark.parametrize("qtype", STORED)
@pytest.mark.parametrize("prefer", ["auto", "ggml"])
def test_every_type_gives_ggmls_bytes_and_decodes(ggml: Ggml, qtype: Type, prefer: str) -> None:
    kernels = choose_kernels({int(qtype): 10}, prefer=prefer)  # type: ignore[arg-type]
    x = weights()
    data = encode(kernels, int(qtype), x)
    np.testing.assert_array_equal(data, ggml.quantize(int(qtype), x))
    decoded = dequantize_rows(int(qtype), data)
    assert decoded.shape == x.shape
    assert decoded.dtype == np.float32
    assert np.abs(decoded - x).max() < 1.5


def test_bf16_and_f16_round_ties_to_even_like_ggml(ggml: Ggml) -> None:
    bits = np.random.default_rng(1).integers(0, 2**32, size=200_000, dtype=np.uint32)
    bits[::3] = bits[::3] & np.uint32(0xFFFF0000) | np.uint32(0x8000)
    x = bits.view(np.float32)
    x = x[np.isfinite(x) & (np.abs(x) < 3.38e38)][None, :]
    kernels = choose_kernels({})
    np.testing.assert_array_equal(
        encode(kernels, int(Type.BF16), x), ggml.quantize(int(Type.BF16), x)
    )
    small = np.ascontiguousarray(x[np.abs(x) < 65520][None, :])
    np.testing.assert_array_equal(
        encode(kernels, int(Type.F16), small), ggml.quantize(int(Type.F16), small)
    )


@pytest.mark.parametrize("qtype", [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_K, Type.Q6_K])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_with_their_place(qtype: Type, bad: float) -> None:
    x = weights()
    x[2, 77] = bad
    kernels = choose_kernels({int(qtype): PLENTY})
    with pytest.raises(NonFiniteError, match="row 2, column 77"):
        encode(kernels, int(qtype), x)


@pytest.mark.parametrize(
    ("qtype", "value"),
    [
        (Type.F16, 65520.0),
        (Type.BF16, 3.4e38),
        (Type.Q8_0, 1e7),
        (Type.Q4_K, 1e8),
        (Type.Q6_K, -1e9),
    ],
)
def test_overflow_is_refused_and_the_largest_value_below_it_kept(qtype: Type, value: float) -> None:
    kernels = choose_kernels({int(qtype): 10})
    x = weights()
    x[0, 0] = value
    with pytest.raises(NonFiniteError, match="overflow"):
        encode(kernels, int(qtype), x)
    x[0, 0] = 0.9 * value
    if qtype in (Type.F16, Type.BF16):
        assert np.isfinite(dequantize_rows(int(qtype), encode(kernels, int(qtype), x))).all()


def test_a_type_that_needs_an_importance_matrix_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="importance matrix"):
        choose_kernels({int(Type.IQ2_XXS): 10})


@pytest.mark.parametrize("qtype", [3000, -1, 4])
def test_a_number_that_is_no_type_is_refused(qtype: int) -> None:
    with pytest.raises(UnsupportedError, match="no GGUF tensor type"):
        choose_kernels({qtype: 10})


def test_rows_that_do_not_divide_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="blocks hold 256"):
        choose_kernels({}).row_bytes(Q4_K, 576)


def test_wrong_buffers_are_a_bug_of_the_caller() -> None:
    kernels = choose_kernels({})
    out = np.zeros((3, 288), dtype=np.uint8)
    with pytest.raises(ValueError, match="weights must be"):
        kernels.quantize_into(Q4_K, weights().astype(np.float64), out)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="output must be"):
        kernels.quantize_into(Q4_K, weights(), out[:2])


def test_small_jobs_go_to_ggml() -> None:
    report = choose_kernels({Q4_K: 1000, int(Type.Q8_0): PLENTY, int(Type.F32): 1}).report()
    assert report["Q4_K"] == "ggml: loading numba would cost more than the 0.0 s it saves"
    assert report["Q8_0"] == "ggml: the only encoder of this type"
    assert report["F32"] == "numpy: plain floats"


def test_large_jobs_go_to_our_encoders(native: Kernels) -> None:
    if native.choices[Q4_K].encoder is None:
        pytest.skip(f"our encoders do not run on this machine: {native.report()}")
    report = choose_kernels({Q4_K: PLENTY, Q6_K: PLENTY}).report()
    assert report["Q4_K"].startswith("loragraft numba avx")
    assert report["Q6_K"].startswith("loragraft numba avx")


def test_ggml_can_be_asked_for(ggml: Ggml) -> None:
    kernels = choose_kernels({Q4_K: PLENTY}, prefer="ggml")
    assert kernels.report() == {"Q4_K": "ggml: asked for"}
    np.testing.assert_array_equal(encode(kernels, Q4_K, weights()), ggml.quantize(Q4_K, weights()))


def test_an_encoder_with_other_bytes_is_not_used(native: Kernels, ggml: Ggml) -> None:
    if native.choices[Q4_K].encoder is None:
        pytest.skip(f"our encoders do not run on this machine: {native.report()}")
    right = load_encoder(NATIVE_TYPES[Q4_K])

    def off_by_one_bit(x: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
        right(x, out)
        out[-1] ^= 1

    kernels = choose_kernels({Q4_K: PLENTY}, encoders={Q4_K: off_by_one_bit})
    assert kernels.report()["Q4_K"] == (
        "ggml: ours gave other bytes for blocks of 256 of 8,448 sample weights"
    )
    np.testing.assert_array_equal(encode(kernels, Q4_K, weights()), ggml.quantize(Q4_K, weights()))


def run_fresh(program: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout


def test_without_numba_ggml_serves() -> None:
    program = (
        "import sys; sys.modules['numba'] = None\n"
        "from loragraft.export.quantize.kernels import choose_kernels\n"
        f"print(choose_kernels({{12: {PLENTY}}}).report())\n"
    )
    assert "ggml: numba is not usable" in run_fresh(program)


def test_without_compiled_code_a_middling_job_goes_to_ggml(tmp_path: Path) -> None:
    native = NATIVE_TYPES[Q4_K]
    one_second = int(native.ggml_rate * usable_cores() / (1 - 1 / native.speedup))
    program = (
        "from loragraft.export.quantize.kernels import choose_kernels\n"
        f"print(choose_kernels({{12: {one_second}}}).report())\n"
    )
    out = run_fresh(program, NUMBA_CACHE_DIR=str(tmp_path))
    assert "ggml: compiling ours would cost about 6.5 s and save 1.0 s" in out


def test_a_short_job_loads_neither_numba_nor_llama_cpp() -> None:
    program = (
        "import sys\n"
        "from loragraft.export.quantize.kernels import choose_kernels\n"
        "choose_kernels({12: 1000, 8: 10**9})\n"
        "print(sorted({'numba', 'llama_cpp', 'torch'} & set(sys.modules)))\n"
    )
    assert run_fresh(program).strip() == "[]"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="folders are made read-only by mode bits")
def test_a_read_only_installation_works(tmp_path: Path) -> None:
    """No cache folder can be written: numba compiles for this process alone."""
    source = Path(loragraft.__file__).parent
    package = tmp_path / "site" / "loragraft"
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    # A file where a folder should be stops even a superuser.
    (package / "export" / "quantize" / "__pycache__").write_text("no folder")
    (tmp_path / "home").write_text("no folder")
    program = (
        "from loragraft.export.quantize.kernels import choose_kernels\n"
        f"print(choose_kernels({{14: {PLENTY}}}).report())\n"
    )
    home = str(tmp_path / "home")
    out = run_fresh(
        program,
        PYTHONPATH=str(package.parent),
        HOME=home,
        XDG_CACHE_HOME=home,
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert "loragraft numba" in out or "no AVX2" in out
