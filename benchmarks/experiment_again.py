"""A finished series run again, as a whole process: how long, and what it imports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from experiment_answers import SCIENCE

QUESTIONS = 100
HEAVY = ("llama_cpp", "torch", "transformers", "sentence_transformers", "faiss", "numpy", "sklearn")
"""What is only needed to answer, to embed or to measure."""


def _write_series(folder: Path, gguf: Path) -> Path:
    tasks = (SCIENCE / "tasks.jsonl").read_text(encoding="utf-8").splitlines()[:QUESTIONS]
    (folder / "tasks.jsonl").write_text("\n".join(tasks) + "\n", encoding="utf-8")
    engine = {"kind": "llama", "model": str(gguf), "width": 32}
    series: dict[str, Any] = {
        "series": "again",
        "data": {"files": ["tasks.jsonl"]},
        "sampling": {"max_tokens": 8},
        "experiments": {name: {"task": "qa", "engine": engine} for name in ("one", "two")},
        "baseline": "one",
        "metrics": {"groups": ["sanity", "factuality"]},
        "monitor": {"stop": False},
        "outputs": "outputs",
    }
    path = folder / "series.yaml"
    path.write_text(yaml.safe_dump(series), encoding="utf-8")
    return path


def _run(series: Path, *options: str) -> tuple[float, str]:
    command = [sys.executable, *options, "-m", "loragraft", "experiment", "run", str(series)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - start, done.stderr


def measure_again(gguf: Path, runs: int = 3) -> dict[str, Any]:
    """Run a series to its end, then again."""
    with tempfile.TemporaryDirectory() as name:
        series = _write_series(Path(name), gguf)
        first, _ = _run(series)
        again = sorted(_run(series)[0] for _ in range(runs))
        _, imported = _run(series, "-X", "importtime")
    modules = set(re.findall(r"\|\s+(\w+)(?:\.|$)", imported, re.MULTILINE))
    return {"questions": QUESTIONS, "first": first, "runs": again, "seconds": again[runs // 2],
            "heavy": sorted(modules.intersection(HEAVY))}  # fmt: skip
