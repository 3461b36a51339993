"""Building, updating and searching an index: ratios to the bare libraries, in one run.

- Build: real text (the docstrings of Python's standard library, as files) through build_index,
  beside sentence-transformers' own ``encode`` of the same chunks in one call, which sorts them by
  length, and a loop that embeds one chunk at a time. Builds and encodes alternate; medians count.
  Then an update without a change, and one with 1 % more documents.
- Search: clustered vectors of 384 dimensions through the same build (their embedder looks them
  up), then single questions through the Retriever, embedding apart, beside the bare ``search`` of
  FAISS on the same vectors in memory; exact and each approximate kind, with its recall@10.
- Questions: dense, lexical and hybrid search of an index of real text, embedding apart; and
  ``loragraft rag query`` as a command, beside the mere import of its embedder.

    python benchmarks/rag.py --quick
    python benchmarks/rag.py --json rag.json
    python benchmarks/rag.py --only questions --index INDEX
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from rag_build import build_real_index, measure_build
from rag_questions import measure_command, measure_modes
from rag_search import measure_search

PARTS = ("build", "search", "questions")
KINDS = ("exact", "hnsw", "ivf", "ivf-pq")
BUILD_TARGET, UNCHANGED_TARGET, ADDED_TARGET = 0.95, 0.02, 0.02
"""Speed of a build against encode; cost of an update without a change, and cost of more documents
beyond their share of the chunks, both as shares of the build."""
EXACT_TARGET, LARGE, MORE_TARGET = 1.3, 100_000, 0.001
"""Exact search from so many chunks on may take so many times the bare one; otherwise a question
may take so many seconds more."""
RECALL_TARGET = 0.95


def judge(figures: dict[str, Any]) -> list[str]:
    """Return which targets are missed."""
    missed = _judge_build(figures["build"]) if "build" in figures else []
    for size in figures.get("search", []):
        missed += _judge_search(size)
    return missed


def _judge_build(figures: dict[str, Any]) -> list[str]:
    missed = []
    if figures["speed"] < BUILD_TARGET:
        missed.append(f"build at {figures['speed']:.2f} of encode")
    if figures["unchanged"] > UNCHANGED_TARGET:
        missed.append(f"update without a change {figures['unchanged']:.1%} of the build")
    beyond = figures["added"] - figures["added_share"]
    if beyond > ADDED_TARGET:
        missed.append(f"{figures['added_share']:.1%} more chunks cost {figures['added']:.1%}")
    return missed


def _judge_search(size: dict[str, Any]) -> list[str]:
    missed = []
    for entry in size["kinds"]:
        name = f"{size['chunks']:,} {entry['asked']}"
        if entry["kind"] != entry["asked"]:
            missed.append(f"{name}: search stayed {entry['kind']}")
        if entry["kind"] == "exact" and size["chunks"] >= LARGE:
            if entry["ratio"] > EXACT_TARGET:
                missed.append(f"{name}: {entry['ratio']:.2f} times the bare search")
        elif entry["more"] > MORE_TARGET:
            missed.append(f"{name}: {1000 * entry['more']:.2f} ms more than the bare search")
        if entry["recall"] < RECALL_TARGET:
            missed.append(f"{name}: recall {entry['recall']:.3f}")
    return missed


def show(figures: dict[str, Any]) -> None:
    """Print figures as Markdown."""
    if "build" in figures:
        _show_build(figures["build"])
    if "search" in figures:
        _show_search(figures["search"])
    for index in figures.get("questions", []):
        _show_questions(index)


def _show_build(f: dict[str, Any]) -> None:
    print(f"\n{f['documents']} documents, {f['chunks']} chunks, {f['runs']} runs\n")
    print("| what | seconds | of the build |\n| --- | --- | --- |")
    for name, seconds in f["seconds"].items():
        print(f"| {name} | {seconds:.2f} | {seconds / f['seconds']['build']:.3f} |")
    print(
        f"\nbuild at {f['speed']:.3f} of encode's speed (runs: "
        f"{', '.join(f'{ratio:.3f}' for ratio in f['ratios'])}; by processor time "
        f"{', '.join(f'{ratio:.3f}' for ratio in f['work_ratios'])}), "
        f"{f['chunks_per_second']:.1f} chunks/s; {f['added_share']:.2%} more chunks cost "
        f"{f['added']:.2%}; {f['bytes_per_chunk']} bytes a chunk on the disk"
    )


def _show_search(sizes: list[dict[str, Any]]) -> None:
    print("\n| vectors | search | ms a question | bare FAISS | ratio | ms more | recall@10 | "
          "mapped, bytes a chunk | built in, s |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for size in sizes:
        for e in size["kinds"]:
            print(
                f"| {size['chunks']:,} | {e['kind']} | {1000 * e['query']:.2f} | "
                f"{1000 * e['bare']:.2f} | {e['ratio']:.2f} | {1000 * e['more']:.2f} | "
                f"{e['recall']:.3f} | {e['memory_per_chunk']} | {e['seconds']:.1f} |"
            )


def _show_questions(f: dict[str, Any]) -> None:
    print(f"\n{f['chunks']:,} chunks: ms a question, embedding apart\n")
    print("| mode | median | slowest of ten |\n| --- | --- | --- |")
    for mode, times in f["modes"].items():
        print(f"| {mode} | {1000 * times['median']:.2f} | {1000 * times['ninetieth']:.2f} |")
    print(f"\nembedding a question: {1000 * f['embedding']:.1f} ms; private memory "
          f"{f['private_bytes'] / (1 << 20):.1f} MiB more than before opening")  # fmt: skip
    if "command" in f:
        print("\n| command | seconds |\n| --- | --- |")
        for name, seconds in f["command"].items():
            print(f"| {name} | {seconds:.2f} |")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what was asked for."""
    figures: dict[str, Any] = {}
    quick, parts = options.quick, options.only or PARTS
    if "build" in parts:
        documents, runs = (6, 1) if quick else (options.documents, options.runs)
        figures["build"] = measure_build(documents, runs)
    if "search" in parts:
        sizes = [10_000] if quick else options.chunks
        figures["search"] = [measure_search(size, options.kinds) for size in sizes]
    if "questions" in parts:
        with tempfile.TemporaryDirectory() as folder:
            index = options.index or build_real_index(Path(folder) / "index", 3 if quick else 20)
            found = measure_modes(index)
            if not quick:
                found["command"] = measure_command(index)
            figures["questions"] = [found]
    return figures


def main() -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS)
    parser.add_argument("--quick", action="store_true", help="small, in about a minute")
    parser.add_argument("--documents", type=int, default=60)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--chunks", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--index", type=Path, help="an index of real text, for the questions")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options)
    figures["missed"] = judge(figures)
    show(figures)
    for line in figures["missed"]:
        print(f"missed: {line}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if figures["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
