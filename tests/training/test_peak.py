"""The estimate against the peak of a process that really trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loragraft.training.activations import Batch
from loragraft.training.config import DataConfig, LoraSettings, TrainConfig
from loragraft.training.memory import estimate_memory
from loragraft.training.precision import Precision
from loragraft.training.sizes import read_sizes

ROOT = Path(__file__).resolve().parents[2]
ROWS, LENGTH, LEARNT, STEPS = 1, 256, 64, 2


@pytest.mark.slow
def test_a_real_run_peaks_where_it_is_planned_to(smollm2_checkpoint: Path) -> None:
    lora = LoraSettings(r=8, dropout=0.0, targets="all")
    config = TrainConfig(experiment_id="x", base="b", data=DataConfig(tag="t"), lora=lora,
                         precision="float32")  # fmt: skip
    given = {
        "config": config.model_dump(mode="json"), "base": str(smollm2_checkpoint),
        "shape": [ROWS, LENGTH, LEARNT], "steps": STEPS,
    }  # fmt: skip
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.peak", json.dumps(given)], cwd=ROOT, check=False,
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout.splitlines()[-1])["peak"]
    sizes = read_sizes(smollm2_checkpoint, "SmolLM2")
    estimated = estimate_memory(config, sizes, lora.modules, Batch(ROWS, LENGTH, LEARNT),
                                Precision("float32", "It is a test.", "cpu"))  # fmt: skip
    assert 0.8 < estimated.total / measured < 1.35
