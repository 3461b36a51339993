"""Pictures of runs: there, whole, and of whatever a run may have logged."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from loragraft.training.curves import draw_curves
from loragraft.training.log import Alarm, Evaluation, Step, TrainingLog

STEPS = tuple(Step(n, n / 5, 3.0 / n, 1e-4 / n, 10.0 ** (n % 3), 9, 1.0) for n in range(1, 11))
SEEN = tuple(Evaluation(n, n / 5, 3.0, 2.0, 1.0, {"roc_auc": n / 10}) for n in (5, 10))
BROKEN = Step(11, 2.2, math.nan, 0.0, math.inf, 9, 1.0)
ALARMS = (Alarm("gradient", 5, 100.0, 10.0, ""), Alarm("not-finite", 11, math.nan, 0.0, ""))


@pytest.mark.parametrize(
    "log",
    [
        TrainingLog("whole", "finished", STEPS, SEEN, ALARMS[:1]),
        TrainingLog("no validation", "finished", STEPS),
        TrainingLog("nothing", "failed"),
        TrainingLog("broken", "failed", (*STEPS, BROKEN), SEEN, ALARMS),
        TrainingLog("one", "failed", STEPS[:1], (Evaluation(0, 0, 2.0, None, None, {}),)),
        TrainingLog("$x_{ 名前", "stopped-early", STEPS, SEEN),
    ],
    ids=lambda log: log.experiment_id,
)
def test_any_log_can_be_drawn(log: TrainingLog, tmp_path: Path) -> None:
    path = draw_curves(log, tmp_path / "curves.png")
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert data.endswith(b"IEND\xaeB`\x82")
    assert [item.name for item in tmp_path.iterdir()] == ["curves.png"]


def test_the_same_log_gives_the_same_bytes(tmp_path: Path) -> None:
    log = TrainingLog("run", "finished", STEPS, SEEN)
    first = draw_curves(log, tmp_path / "a.png").read_bytes()
    assert draw_curves(log, tmp_path / "b.png").read_bytes() == first
    assert b"atplotlib" not in first
