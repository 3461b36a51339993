"""A run that is killed at every kind of moment ends with the very adapter of an unbroken one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from loragraft.artifact.child import child_environment
from tests.support.training import small_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_killed_run_ends_with_the_same_bits(
    talking: Callable[[str], Path], tmp_path: Path
) -> None:
    """With dropout, accumulation, packed rows and a short last batch."""
    command = [sys.executable, "-m", "tests.training.killed", str(talking("llama")), str(tmp_path)]
    env = {**child_environment(), "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    done = subprocess.run(command, capture_output=True, cwd=ROOT, check=False, text=True, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])

    deaths = {name: code for name, code in told["codes"].items() if code}
    assert set(deaths) == set(told["left"]) - {"never"}, done.stderr[-3000:]
    assert set(deaths.values()) == {-signal.SIGKILL}
    assert [name for name, left in told["left"].items() if left["published"]] == ["never"]
    first = told["left"]["in the first checkpoint"]
    assert (first["found"], first["sealed"]) == (["checkpoint-3"], [])

    assert told["killed"] == told["whole"]
    steps = [one["step"] for one in told["whole"]["log"]["evaluations"]]
    assert steps == sorted(set(steps))


@pytest.mark.slow
def test_sigterm_leaves_the_checkpoint_and_says_how_to_go_on(
    talking: Callable[[str], Path], tmp_path: Path
) -> None:
    from loragraft.training.saving import save_config

    config = small_config(tmp_path / "data", optimiser={"epochs": 1000}, evaluation={"patience": 0})
    save_config(config, tmp_path, tmp_path)
    command = [
        sys.executable, "-m", "loragraft", "train", "run", str(tmp_path / "training_config.yaml"),
        "--base", str(talking("llama")), "-o", str(tmp_path / "out"), "--threads", "1",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=child_environment()
    )
    assert process.stderr is not None
    heard = []
    for line in process.stderr:
        heard.append(line)
        if line.startswith("Step 6:"):
            process.send_signal(signal.SIGTERM)
            break
    heard.append(process.communicate()[1])
    text = "".join(heard)
    assert process.returncode == 130, text
    assert "is kept: the same command goes on from there." in text
    assert "Traceback" not in text
