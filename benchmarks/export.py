"""Time, memory and writing of an export, side by side with the usual three-step pipeline.

The reference is what people run today, one process after the other: PEFT's merge_and_unload in
bfloat16 and save, llama.cpp's convert_hf_to_gguf.py, llama_model_quantize. Both sides see the
same inputs in the same run, in turn, each as whole processes. Quick gates are on for ours.

    python benchmarks/export.py --runs 3 --json figures.json
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from measure import Measurement, add_up, medians, run_measured
from shapes import QWEN_SHAPES, build_adapter, build_checkpoint

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.sources import llama_cpp_source, smollm2_checkpoint  # noqa: E402

TARGETS = {
    "smollm2-135m": {"wall": 0.50},
    "qwen2.5-1.5b": {"wall": 0.25, "wall_over_quantize": 0.55},
    "qwen2.5-3b": {"wall": 0.25, "wall_over_quantize": 0.55},
}
ANONYMOUS_TARGET = 400 << 20
GROWTH_TARGET = 0.10
WRITTEN_TARGET = 1.02
HELP_TARGET = 3.0


def tokenizer_folder(work: Path) -> Path:
    """Build the real Qwen2 tokenizer's files from llama.cpp's vocabulary file."""
    folder = work / "qwen2-tokenizer"
    if not (folder / "tokenizer.json").exists():
        from tests.support.tokenizers import save_qwen2_tokenizer

        save_qwen2_tokenizer(folder)
    return folder


def inputs(name: str, work: Path) -> tuple[Path, Path]:
    """Return base and adapter of a case."""
    if name == "smollm2-135m":
        return smollm2_checkpoint(), ROOT / "examples" / "smollm2-lora"
    base = build_checkpoint(name, work, tokenizer_folder(work))
    return base, build_adapter(base, work / f"{name}-lora")


def run_reference(base: Path, adapter: Path, out: Path) -> dict[str, Measurement]:
    """Run the three steps; return each one's figures."""
    script = llama_cpp_source() / "convert_hf_to_gguf.py"
    step = [sys.executable, "-m", "tests.support.reference"]
    merged, whole, small = out / "merged", out / "bf16.gguf", out / "q4.gguf"
    convert = [sys.executable, str(script), str(merged), "--outfile", str(whole)]
    commands = {
        "merge": [*step, "merge", str(base), str(adapter), str(merged)],
        "convert": [*convert, "--outtype", "bf16"],
        "quantize": [*step, "quantize", str(whole), str(small), "Q4_K_M"],
    }
    return {
        name: run_measured(cmd, out / f"{name}.log", cwd=ROOT) for name, cmd in commands.items()
    }


def run_ours(base: Path, adapter: Path, out: Path) -> Measurement:
    """Run the one command."""
    command = [sys.executable, "-m", "loragraft", "export", "merge-and-quantize", str(base),
               str(adapter), "-o", str(out / "ours"), "--name", "bench", "--json"]  # fmt: skip
    return run_measured(command, out / "ours.log")


def one_case(name: str, work: Path, runs: int) -> dict[str, Any]:
    """Measure both sides in turn; return medians and ratios."""
    base, adapter = inputs(name, work)
    ours: list[Measurement] = []
    steps: dict[str, list[Measurement]] = {"merge": [], "convert": [], "quantize": []}
    size = 0
    for number in range(runs + 1):
        out = work / "run"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        mine = run_ours(base, adapter, out)
        size = next((out / "ours" / "bench").glob("*.gguf")).stat().st_size
        shutil.rmtree(out / "ours")
        if number == 0:
            continue  # warm-up: page cache, numba's cache
        theirs = run_reference(base, adapter, out)
        ours.append(mine)
        for step, measured in theirs.items():
            steps[step].append(measured)
        print(f"{name} run {number}: ours {mine.wall:.1f} s, reference "
              f"{sum(m.wall for m in theirs.values()):.1f} s", file=sys.stderr)  # fmt: skip
    shutil.rmtree(work / "run", ignore_errors=True)
    whole = [add_up([steps[s][i] for s in steps]) for i in range(runs)]
    walls = {s: medians(steps[s])["wall"] for s in steps}
    ratio = sorted(o.wall / w.wall for o, w in zip(ours, whole, strict=True))
    over = sorted(o.wall / q.wall for o, q in zip(ours, steps["quantize"], strict=True))
    return {
        "ours": medians(ours),
        "reference": {**medians(whole), "steps": walls},
        "output_bytes": size,
        "wall_ratio": ratio[len(ratio) // 2],
        "wall_over_quantize": over[len(over) // 2],
        "written_over_output": medians(ours)["written"] / size,
        "reference_written_over_output": medians(whole)["written"] / size,
        "runs": [asdict(run) for run in ours],
    }


def help_ratio(work: Path, runs: int = 5) -> float:
    """Return the wall time of ``loragraft --help`` over that of importing click."""
    log = work / "help.log"
    mine = [sys.executable, "-m", "loragraft", "--help"]
    click = [sys.executable, "-c", "import click"]
    pairs = [(run_measured(mine, log).wall, run_measured(click, log).wall) for _ in range(runs)]
    return sorted(a / b for a, b in pairs)[runs // 2]


def table(results: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    mib = 2**20
    lines = [
        "| model | loragraft | reference (merge + convert + quantize) | ratio | over quantize "
        "alone | anonymous memory | reference's | written / output | reference's |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, r in results["cases"].items():
        s, ref, own = r["reference"]["steps"], r["reference"], r["ours"]
        lines.append(
            f"| {name} | {own['wall']:.1f} s | {ref['wall']:.1f} s ({s['merge']:.1f} + "
            f"{s['convert']:.1f} + {s['quantize']:.1f}) | {r['wall_ratio']:.2f} | "
            f"{r['wall_over_quantize']:.2f} | {own['main_anonymous'] / mib:.0f} MiB | "
            f"{ref['peak_anonymous'] / mib:.0f} MiB | {r['written_over_output']:.2f} | "
            f"{r['reference_written_over_output']:.1f} |"
        )
    return "\n".join(lines)


def verdicts(results: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Return every target as name, figure and limit."""
    rows: list[tuple[str, float, float]] = []
    cases = results["cases"]
    for name, r in cases.items():
        rows.append((f"{name} wall", r["wall_ratio"], TARGETS[name]["wall"]))
        if "wall_over_quantize" in TARGETS[name]:
            limit = TARGETS[name]["wall_over_quantize"]
            rows.append((f"{name} over quantize alone", r["wall_over_quantize"], limit))
        rows.append((f"{name} written", r["written_over_output"], WRITTEN_TARGET))
        used = r["ours"]["main_anonymous"] / ANONYMOUS_TARGET
        rows.append((f"{name} anonymous memory over 400 MiB", used, 1.0))
    if {"qwen2.5-1.5b", "qwen2.5-3b"} <= cases.keys():
        small, large = (cases[n]["ours"]["main_anonymous"] for n in QWEN_SHAPES)
        rows.append(("memory growth from 1.5B to 3B", large / small - 1, GROWTH_TARGET))
    rows.append(("--help over import click", results["help_ratio"], HELP_TARGET))
    return rows


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; exit 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--case", action="append", choices=sorted(TARGETS))
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "bench")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    cases = args.case or list(TARGETS)
    results: dict[str, Any] = {"cases": {}, "help_ratio": help_ratio(args.work)}
    for name in cases:
        results["cases"][name] = one_case(name, args.work, args.runs)
    print(table(results))
    rows = verdicts(results)
    results["targets"] = [{"name": n, "figure": f, "limit": t} for n, f, t in rows]
    for name, figure, limit in rows:
        print(f"{'met   ' if figure <= limit else 'MISSED'} {name}: {figure:.3f} (at most {limit})")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))
    return int(any(figure > limit for _, figure, limit in rows))


if __name__ == "__main__":
    sys.exit(main())
