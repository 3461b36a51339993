"""Encoding speed by tensor type and threads: our kernels beside ggml's, in the same run.

    python benchmarks/quantize.py
    python benchmarks/quantize.py --types Q4_K Q6_K --threads 2 --json quantize.json

Every repetition times both kernels one after the other on the same weights, so that a machine
that slows down slows both. The best repetition counts. Bytes are compared, too.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from loragraft.export.quantize.kernels import Kernels, choose_kernels

TYPES = ("Q4_K", "Q5_K", "Q6_K", "Q5_0", "Q8_0")
ROW_LENGTH = 2048
# Rows that one call encodes, as the exporter's blocks do.
ROWS_A_CALL = 128
SEED = 20251101


@dataclass(frozen=True)
class Measurement:
    """One type at one number of threads; rates in million elements a second."""

    type: str
    threads: int
    kernel: str
    ours: float
    ggml: float
    ratio: float
    same_bytes: bool


def encode_rows(
    kernels: Kernels, qtype: int, x: NDArray[np.float32], out: NDArray[np.uint8], threads: int
) -> float:
    """Encode all rows of `x` on `threads` threads; seconds."""

    def encode(first: int) -> None:
        rows = slice(first, first + ROWS_A_CALL)
        kernels.quantize_into(qtype, x[rows], out[rows])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(encode, range(threads)))
        start = time.perf_counter()
        list(pool.map(encode, range(0, len(x), ROWS_A_CALL)))
        return time.perf_counter() - start


def measure(name: str, threads: int, x: NDArray[np.float32], repeats: int) -> Measurement:
    """Time both kernels of one type."""
    qtype = int(GGMLQuantizationType[name])
    ours = choose_kernels({qtype: x.size}, prefer="numba")
    theirs = choose_kernels({qtype: x.size}, prefer="ggml")
    shape = (len(x), ours.row_bytes(qtype, x.shape[1]))
    outputs = np.empty(shape, dtype=np.uint8), np.empty(shape, dtype=np.uint8)
    times = [
        [
            encode_rows(kernels, qtype, x, out, threads)
            for kernels, out in zip(pair, outputs, strict=True)
        ]
        for pair in [(ours, theirs)] * repeats
    ]
    seconds, ggml_seconds = np.min(times, axis=0)
    return Measurement(
        type=name,
        threads=threads,
        kernel=ours.choices[qtype].kernel,
        ours=round(x.size / seconds / 1e6, 1),
        ggml=round(x.size / ggml_seconds / 1e6, 1),
        ratio=round(float(ggml_seconds / seconds), 2),
        same_bytes=bool((outputs[0] == outputs[1]).all()),
    )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--types", nargs="+", default=list(TYPES), choices=TYPES)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--elements", type=float, default=8.0, help="millions of weights")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()

    rows = max(1, round(options.elements * 1e6 / ROW_LENGTH))
    random = np.random.default_rng(SEED)
    x = random.standard_normal((rows, ROW_LENGTH), dtype=np.float32) * np.float32(0.02)
    print(f"{x.size / 1e6:.1f} M weights, best of {options.repeats}, M elements/s")
    print("| type | threads | kernel | loragraft | ggml | ratio | same bytes |")
    print("|---|---|---|---|---|---|---|")
    measurements = []
    for name in options.types:
        for threads in options.threads:
            m = measure(name, threads, x, options.repeats)
            measurements.append(asdict(m))
            same = "yes" if m.same_bytes else "NO"
            print(
                f"| {m.type} | {m.threads} | {m.kernel} | {m.ours:.1f} | {m.ggml:.1f} "
                f"| {m.ratio:.2f} | {same} |",
                flush=True,
            )
    if options.json:
        report = {"machine": platform.platform(), "elements": x.size, "figures": measurements}
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
