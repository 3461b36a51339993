"""A series on llama.cpp in this process: killed at any moment, it ends with the same records."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from loragraft.artifact.child import child_environment
from tests.support.science import SCIENCE, build_science
from tests.support.shared import build_once
from tests.support.talking import build_bundle

COUNT, WIDTH, KILLS = 40, 4, 4
TIMES = ("seconds", "first_seconds", "tries", "attempts")
ARMS = ("greedy", "sampled")


@pytest.fixture(scope="module")
def bundle(shared_folder: Path) -> Path:
    """A model that answers in a few words."""
    base = build_once(shared_folder / "science" / "base", build_science)
    folder = shared_folder / "science" / "bundles"
    return build_once(folder, lambda part: build_bundle(base, part / "pico")) / "pico"


def write_series(folder: Path, bundle: Path) -> Path:
    """Write a series of two arms without passages: one greedy, one that draws with seeds."""
    folder.mkdir()
    engine = {"kind": "llama", "model": str(bundle), "width": WIDTH, "context": 512, "threads": 1}
    drawn = {"temperature": 0.8, "repeats": 2}
    values = {
        "series": "picos", "baseline": "greedy", "outputs": "outputs",
        "data": {"tag": "science", "splits": str(SCIENCE / "splits"), "limit": COUNT},
        "sampling": {"max_tokens": 24}, "metrics": {"groups": ["sanity"]},
        "monitor": {"stop": False},
        "experiments": {"greedy": {"engine": engine},
                        "sampled": {"engine": engine, "sampling": drawn}},
    }  # fmt: skip
    path = folder / "series.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def start(path: Path) -> subprocess.Popen[bytes]:
    """Run a series in a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "loragraft", "experiment", "run", str(path)],
        env=child_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def sizes(path: Path) -> int:
    """Return the bytes of all samples so far."""
    return sum(file.stat().st_size for file in path.parent.glob("outputs/picos/*/samples.jsonl"))


def kill_after(path: Path, size: int) -> None:
    """Run a series and kill it once it has written so many bytes of samples, if it gets there."""
    process = start(path)
    while process.poll() is None and sizes(path) < size:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def records(path: Path, arm: str) -> dict[tuple[str, int], dict[str, Any]]:
    """Return an arm's samples but for their times, by question and repeat."""
    lines = (path.parent / "outputs/picos" / arm / "samples.jsonl").read_bytes().splitlines()
    found = [json.loads(line) for line in lines]
    told = {(one["question_id"], one["repeat"]): {k: v for k, v in one.items() if k not in TIMES}
            for one in found}  # fmt: skip
    assert len(told) == len(found)  # none double
    return told


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_the_same(bundle: Path, tmp_path: Path) -> None:
    chance = random.Random(20251101)
    whole = write_series(tmp_path / "whole", bundle)
    process = start(whole)
    _, said = process.communicate()
    assert process.returncode == 0, said.decode()
    broken, total = write_series(tmp_path / "broken", bundle), sizes(whole)
    for part in range(KILLS):
        kill_after(broken, int(total * (part + chance.random()) / KILLS))
    process = start(broken)
    _, said = process.communicate()
    assert process.returncode == 0, said.decode()
    for arm, count in zip(ARMS, (COUNT, 2 * COUNT), strict=True):
        expected = records(whole, arm)
        assert len(expected) == count
        assert len({one["answer"] for one in expected.values()}) > 1
        assert records(broken, arm) == expected
