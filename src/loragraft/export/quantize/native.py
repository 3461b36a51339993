"""Our own encoders as candidates: whether they can run here, would pay, and give ggml's bytes."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGMLQuantizationType

from loragraft.engine.threads import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from loragraft.export.quantize.ggml import Ggml

    # encode(x: float32 [elements], out: uint8 [bytes]) for finite x, whole blocks
    Encoder = Callable[[NDArray[np.float32], NDArray[np.uint8]], None]


@dataclass(frozen=True)
class NativeType:
    """A type that we encode ourselves, with what is needed to say whether that pays.

    The figures were measured on a 2.5 GHz Cascade Lake core and need only the right magnitude.
    """

    module: str
    function: str
    # Elements a second of ggml's kernel on one thread.
    ggml_rate: float
    # How often faster ours is, at the least.
    speedup: float
    # Seconds to compile it once numba is at work.
    compile_seconds: float


NATIVE_TYPES = {
    int(GGMLQuantizationType.Q4_K): NativeType("q4_k", "encode_q4_k", 15e6, 5.0, 2.5),
    int(GGMLQuantizationType.Q5_K): NativeType("q5_k", "encode_q5_k", 16e6, 5.0, 2.0),
    int(GGMLQuantizationType.Q6_K): NativeType("q6_k", "encode_q6_k", 34e6, 3.5, 1.5),
}

# Importing numba and reading compiled code back takes 0.3 to 0.5 s.
LOAD_SECONDS = 0.5

# The first function that numba compiles in a process pays for its own start, whichever it is.
FIRST_COMPILE_SECONDS = 3.5

# Below AVX2 our vectors are no wider than what ggml's compiler uses, and nothing is gained.
NEEDED_FEATURE = "avx2"

SAMPLE_SEED = 20251101
SAMPLE_BLOCKS = 9
BLOCK = 256


def saved_seconds(native: NativeType, elements: int) -> float:
    """Wall seconds that our encoder takes off ggml's, all cores busy, compilation apart."""
    return elements / (native.ggml_rate * usable_cores()) * (1.0 - 1.0 / native.speedup)


def compile_cost(native: NativeType, share: float) -> float:
    """Seconds to start and compile, `share` (0 to 1) of the common part being this type's."""
    return native.compile_seconds + share * (LOAD_SECONDS + FIRST_COMPILE_SECONDS)


def load_encoder(native: NativeType) -> Any:  # noqa: ANN401
    """Our compiled function (compiled on its first call).

    Raises:
        ImportError: numba is not installed, or does not work here.
    """
    module = import_module(f"loragraft.export.quantize.{native.module}")
    return getattr(module, native.function)


def vector_unit() -> str | None:
    """Name of the vector instructions that our encoders use here, None below AVX2."""
    from loragraft.export.quantize.lanes import WIDTH, host_features

    if NEEDED_FEATURE not in host_features():
        return None
    return "avx512" if WIDTH == 16 else "avx2"


def is_compiled(encoder: Any) -> bool:  # noqa: ANN401
    """Say whether numba's cache holds code for `encoder` that is newer than its source.

    A guess by file names and times, good enough to foretell the waiting time: numba itself
    checks processor, version and source when it loads.
    """
    folder = getattr(getattr(encoder, "stats", None), "cache_path", None)
    if not folder:
        return False
    function = encoder.py_func
    source = Path(function.__code__.co_filename)
    indexes = Path(folder).glob(f"{source.stem}.{function.__qualname__}-*.nbi")
    return any(index.stat().st_mtime >= source.stat().st_mtime for index in indexes)


def run_encoder(encoder: Encoder, x: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    """Call `encoder` with arrays of the one kind that it is compiled for.

    numba compiles anew for read-only and for unaligned arrays; so all are shown as read-only,
    and unaligned ones are copied.
    """
    source = x.reshape(-1) if x.flags.aligned else np.require(x, requirements=["A", "C"]).ravel()
    source = source.view()
    source.flags.writeable = False
    encoder(source, out.reshape(-1))


def sample_weights() -> NDArray[np.float32]:
    """Rows of one block each: Gaussian ones and such as take the encoders' rare paths.

    Their number is odd, so that groups of blocks are filled only in part at the end.
    """
    random = np.random.default_rng(SAMPLE_SEED)
    normal = random.standard_normal((SAMPLE_BLOCKS, BLOCK), dtype=np.float32) * np.float32(0.02)
    spread = normal * np.exp(random.standard_normal((SAMPLE_BLOCKS, 1), dtype=np.float32) * 3)
    outlier = normal[0].copy()
    outlier[BLOCK // 3] = 8.0
    lopsided = normal[1].copy()
    lopsided[BLOCK // 2 :] *= np.float32(1e-6)
    alternating = np.where(np.arange(BLOCK) % 2, 0.5, -0.5)
    near_constant = 1.0 + np.arange(BLOCK) % 3 * np.spacing(np.float32(1.0))
    edges = [
        np.zeros(BLOCK),
        np.full(BLOCK, 0.25),
        np.full(BLOCK, -0.25),
        np.abs(normal[2]),
        -np.abs(normal[3]),
        normal[4] * 1e-7,
        normal[5] * 1e-15,
        normal[6] * 1e-30,
        normal[7] * 1e-41,
        normal[8] * 1e5,
        outlier,
        lopsided,
        alternating,
        near_constant,
        -near_constant,
    ]
    rows = np.concatenate([normal, spread, np.asarray(edges)]).astype(np.float32)
    return np.ascontiguousarray(rows)


def differing_weights(encoder: Encoder, qtype: int, ggml: Ggml) -> tuple[int, int]:
    """Encode the sample both ways; number of weights whose blocks differ, and of all."""
    sample = sample_weights()
    expected = ggml.quantize(qtype, sample)
    found = np.zeros_like(expected)
    run_encoder(encoder, sample, found)
    return int((expected != found).any(axis=1).sum()) * BLOCK, sample.size
