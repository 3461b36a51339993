"""Verifying a 1 GB adapter: time and bytes read with --no-values, value checks against the disk.

The adapter is a random LoRA in BF16 on all seven projections of a Qwen2.5-7B shape, at the rank
that makes it 1 GB; the base is a checkpoint of that shape whose data is a hole in the file (its
header is real). Every run is a process of its own:

- ``no values``: verify_adapter(values=False) with the base. Bytes read are those of every read()
  of the process during the call (rchar of /proc/self/io); tensor data that were touched through
  the memory map would show as mapped pages (Rss of the file in /proc/self/smaps), which is given
  beside it.
- ``values``: scan_values alone, and verify_adapter with values, without a base.
- ``plain``: reading the file to its end in 1 MiB blocks, and nothing else.

Cold runs have the file dropped from the page cache first. Linux only.

    python benchmarks/adapter_verify.py --runs 5 --json figures.json
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from shapes import COMMON, tensor_shapes, write_shard

ROOT = Path(__file__).resolve().parent.parent
SHAPE = {
    "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "tie_word_embeddings": True,
}  # fmt: skip
"""Of Qwen2.5-7B."""
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SIZE = 1_000_000_000
SECONDS_TARGET = 1.0
SHARE_TARGET = 0.01
COLD_RATIO_TARGET = 1.25
"""Value checks over plain reading of a file that is not in memory: the disk's speed."""

_IO = """
import json, sys, time
from pathlib import Path
def rchar():
    return int(Path("/proc/self/io").read_text().split()[1])
def mapped(name):
    pages = Path("/proc/self/smaps").read_text().split("\\n")
    sizes = [int(pages[i + 2].split()[1]) for i, line in enumerate(pages) if line.endswith(name)]
    return 1024 * sum(sizes)
def peak():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])
def answer(start, read, verdict=None, share=0):
    print(json.dumps({"seconds": time.perf_counter() - start, "read": rchar() - read,
                      "peak": peak(), "mapped": share, "verdict": verdict}))
adapter, base = Path(sys.argv[1]), Path(sys.argv[2])
file = adapter / "adapter_model.safetensors"
"""
_VERIFY = """
from loragraft.adapter.verify import VerifyRequest, verify_adapter
start, read = time.perf_counter(), rchar()
report = verify_adapter(VerifyRequest(adapter, {base}, values={values}))
answer(start, read, report.first_line)
"""
CODES = {
    "no values": _IO + _VERIFY.format(base="base", values=False),
    "verify": _IO + _VERIFY.format(base="None", values=True),
    "values": _IO
    + """
from loragraft.adapter.reader import open_adapter
from loragraft.adapter.values import scan_values
with open_adapter(adapter) as opened:
    start, read = time.perf_counter(), rchar()
    scan_values(opened)
    answer(start, read, None, mapped(file.name))
""",
    "plain": _IO
    + """
block = bytearray(1 << 20)
start, read = time.perf_counter(), rchar()
with file.open("rb", buffering=0) as stream:
    while stream.readinto(block):
        pass
answer(start, read)
""",
}


def build(work: Path) -> tuple[Path, Path]:
    """Build adapter and base once; return their folders."""
    config = {**COMMON, **SHAPE}
    weights = tensor_shapes(config)
    base, adapter = work / "qwen2.5-7b-hole", work / "lora-1gb"
    base.mkdir(parents=True, exist_ok=True)
    adapter.mkdir(parents=True, exist_ok=True)
    (base / "config.json").write_text(json.dumps(config))
    write_hole(base / "model.safetensors", weights)
    pairs = {
        name.removesuffix(".weight"): shape for name, shape in weights.items()
        if len(shape) == 2 and name.split(".")[-2] in MODULES
    }  # fmt: skip
    rank = math.ceil(SIZE / 2 / sum(map(sum, pairs.values())))
    shapes: dict[str, tuple[int, ...]] = {}
    for module, (out, inside) in pairs.items():
        shapes[f"base_model.model.{module}.lora_A.weight"] = (rank, inside)
        shapes[f"base_model.model.{module}.lora_B.weight"] = (out, rank)
    file = adapter / "adapter_model.safetensors"
    if not file.exists():
        write_shard(file.with_suffix(".part"), shapes, 0)
        file.with_suffix(".part").rename(file)
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank,
                "target_modules": MODULES, "bias": "none",
                "base_model_name_or_path": "Qwen/Qwen2.5-7B"}  # fmt: skip
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    return adapter, base


def write_hole(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Write a safetensors file whose data take no space on the disk."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        stop = offset + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, stop]}
        offset = stop
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)


def run(kind: str, adapter: Path, base: Path, *, cold: bool) -> dict[str, Any]:
    """Run one process and return its figures."""
    if cold:
        drop(adapter / "adapter_model.safetensors")
    done = subprocess.run(
        [sys.executable, "-c", CODES[kind], str(adapter), str(base)],
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def drop(path: Path) -> None:
    """Drop a file from the page cache."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def measure(adapter: Path, base: Path, runs: int) -> dict[str, Any]:
    """Return the median of each figure, kinds in turn, so that the machine's load is shared."""
    found: dict[str, list[dict[str, Any]]] = {}
    for cold in (False, True):
        for kind in CODES:
            run(kind, adapter, base, cold=cold)  # warms the caches of Python's own files
        for _ in range(runs):
            for kind in CODES:
                name = f"{kind}, {'cold' if cold else 'warm'}"
                found.setdefault(name, []).append(run(kind, adapter, base, cold=cold))
    return {
        name: {
            **{key: median(f[key] for f in figures) for key in ("seconds", "read", "peak")},
            "mapped": max(f["mapped"] for f in figures),
            "runs": [f["seconds"] for f in figures],
            "verdict": figures[0]["verdict"],
        }
        for name, figures in found.items()
    }


def ratio(cases: dict[str, Any], state: str) -> float:
    """Return the median over the rounds of value checks over plain reading."""
    pairs = zip(cases[f"values, {state}"]["runs"], cases[f"plain, {state}"]["runs"], strict=True)
    return median(values / plain for values, plain in pairs)


def table(cases: dict[str, Any], size: int) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| run | seconds | GB/s | bytes read | of the file | peak memory |",
             "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for name, case in cases.items():
        speed = "-" if name.startswith("no values") else f"{size / case['seconds'] / 1e9:.2f}"
        lines.append(
            f"| {name} | {case['seconds']:.3f} | {speed} | {case['read']:,} | "
            f"{case['read'] / size:.2%} | {case['peak'] / 2**20:.0f} MiB |"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; exit 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "bench")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    adapter, base = build(args.work.resolve())
    size = (adapter / "adapter_model.safetensors").stat().st_size
    cases = measure(adapter, base, args.runs)
    print(f"The adapter has {size:,} bytes.\n\n{table(cases, size)}\n")
    rows = [
        ("no values, seconds", cases["no values, cold"]["seconds"], SECONDS_TARGET),
        ("no values, share read", cases["no values, cold"]["read"] / size, SHARE_TARGET),
        ("values over plain reading, cold", ratio(cases, "cold"), COLD_RATIO_TARGET),
    ]  # fmt: skip
    warm = ratio(cases, "warm")
    print(f"values over plain reading, warm: {warm:.2f}")
    for name, figure, limit in rows:
        print(f"{'met   ' if figure <= limit else 'MISSED'} {name}: {figure:.4f} (at most {limit})")
    if args.json:
        targets = [{"name": n, "figure": f, "limit": t} for n, f, t in rows]
        args.json.write_text(json.dumps({"bytes": size, "cases": cases, "targets": targets,
                                         "warm_ratio": warm}, indent=1))  # fmt: skip
    return int(any(figure > limit for _, figure, limit in rows))


if __name__ == "__main__":
    sys.exit(main())
