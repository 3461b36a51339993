"""What a training step costs, and what three ways to save time or memory really save.

SmolLM2-135M-Instruct with the adapter of configs/training/smollm2_science.yaml learns from the same
examples of ``examples/science`` in four ways, each in a process of its own: forward and backward
over all of them once, in batches as the trainer makes them. Peaks are of the process's own memory
(RssAnon), times are of the processor, since a busy machine says nothing by its clock.

    python scripts/build_smollm2.py       # once: the base model
    python benchmarks/train.py --quick
    python benchmarks/train.py --json train.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure import run_measured

from loragraft.artifact.hash_cache import cache_folder
from loragraft.demo.smollm2 import NAME

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "configs" / "training" / "smollm2_science.yaml"
EXAMPLES, QUICK = 32, 8
BATCH = 4
PADDED, ALL_LOGITS, PACKED, RECOMPUTED = WAYS = (
    "padded", "padded, all logits", "packed", "padded, gradient checkpointing",
)  # fmt: skip
GIB = 1 << 30


def read_batches(way: str, count: int, base: Path) -> tuple[Any, list[Any], int]:
    """Return the configuration, the batches of a way, and how many examples they hold."""
    from loragraft.artifact.progress import Silent
    from loragraft.dataset.split.seed import rank
    from loragraft.training.causal_lm import read_causal_data
    from loragraft.training.config import load_config
    from loragraft.training.encoding import collate
    from loragraft.training.packing import pack

    config = load_config(CONFIG)
    changed = config.optimiser.model_copy(update={"gradient_checkpointing": way == RECOMPUTED})
    config = config.model_copy(update={"optimiser": changed})
    data = read_causal_data(config, base, Silent())
    drawn = sorted(data.train.examples, key=lambda one: rank(1, "benchmark", one.id))[:count]
    rows: Sequence[Any] = drawn
    if way == PACKED:
        rows = pack(drawn, config.optimiser.max_length, config.seed)
    size = 1 if way == PACKED else BATCH
    parts = [rows[at : at + size] for at in range(0, len(rows), size)]
    return config, [collate(part, 0) for part in parts], sum(len(one.ids) for one in drawn)


def pass_through(way: str, count: int, base: Path) -> dict[str, Any]:
    """Send all batches forward and back; return what it took."""
    import torch

    from loragraft.training.causal_lm import answer_loss, count_answers
    from loragraft.training.load import load_causal

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    config, batches, tokens = read_batches(way, count, base)
    model, _ = load_causal(config, base)
    own = answer_loss(model)
    total, answers, columns = 0.0, 0, 0
    begun, begun_cpu = time.perf_counter(), time.process_time()
    for batch in batches:
        if way == ALL_LOGITS:
            loss = model(**batch, use_cache=False).loss * count_answers(batch)
        else:
            loss = own(model, batch)
        loss.backward()
        total += float(loss.detach())
        answers += count_answers(batch)
        columns += batch["input_ids"].numel()
    return {
        "cpu": time.process_time() - begun_cpu, "wall": time.perf_counter() - begun,
        "tokens": tokens, "columns": columns, "batches": len(batches), "loss": total / answers,
    }  # fmt: skip


def measure(way: str, count: int, base: Path, threads: int) -> dict[str, Any]:
    """Run one way in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--way",
        way,
        "--examples",
        str(count),
        "--base",
        str(base),
    ]
    os.environ["OMP_NUM_THREADS"] = str(threads)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        measured = run_measured(command, log)
        found: dict[str, Any] = json.loads(log.read_text().splitlines()[-1])
    return {**found, "way": way, "peak": measured.peak_anonymous}


def show(runs: Sequence[dict[str, Any]]) -> None:
    """Print a table for docs/benchmarks.md."""
    first = runs[0]
    print("| way | forward passes | padding | tokens/s | times | peak memory | loss |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for run in runs:
        rate = run["tokens"] / run["cpu"]
        padding = 1 - run["tokens"] / run["columns"]
        print(
            f"| {run['way']} | {run['batches']} | {padding:.0%} | {rate:.0f} | "
            f"{first['cpu'] / run['cpu']:.2f} | {run['peak'] / GIB:.2f} GiB | {run['loss']:.5f} |"
        )


def judge(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Return what is not as it should be: no way may change the loss."""
    return [
        f"{run['way']}: loss {run['loss']:.6f}, padded {runs[0]['loss']:.6f}"
        for run in runs
        if abs(run["loss"] - runs[0]["loss"]) > 1e-4 * runs[0]["loss"]
    ]


def main() -> None:
    """Measure, print, and fail if a way changes what is learnt."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--base", type=Path, default=cache_folder() / NAME)
    parser.add_argument("--quick", action="store_true", help="few examples, in some minutes")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    count = options.examples or (QUICK if options.quick else EXAMPLES)
    if not (options.base / "config.json").is_file():
        raise SystemExit(f"{options.base} holds no base. Run: python scripts/build_smollm2.py")
    if options.way:
        print(json.dumps(pass_through(options.way, count, options.base)))
        return
    runs = [measure(way, count, options.base, options.threads) for way in WAYS]
    show(runs)
    if options.json:
        options.json.write_text(json.dumps(runs, indent=2) + "\n")
    missed = judge(runs)
    if missed:
        raise SystemExit("not the same loss: " + "; ".join(missed))


if __name__ == "__main__":
    main()
