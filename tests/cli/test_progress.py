"""Progress in a terminal and elsewhere, as somebody reads it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from loragraft.cli.progress import BarProgress, LineProgress


def test_a_bar_behind_an_ended_one_stands_alone_and_counts_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich draws bars
    progress = BarProgress()
    progress.begin("Reading train", 400)
    progress.advance(400)
    progress.end()
    capsys.readouterr()
    progress.begin("Comparing words", 90, "questions")
    progress.advance(45)
    progress.advance(45)
    progress.end()
    shown = capsys.readouterr().err
    assert "90 of 90 questions" in shown
    assert "Reading train" not in shown
    assert "400" not in shown


@pytest.mark.parametrize("resumed", [0, 40])
def test_lines_tell_the_speed_of_this_run_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, resumed: int
) -> None:
    clock = [100.0]
    monkeypatch.setattr("loragraft.cli.progress.time", SimpleNamespace(monotonic=lambda: clock[0]))
    progress = LineProgress()
    progress.begin("Training", 100, "steps")
    progress.advance(resumed)
    for _ in range(20):
        clock[0] += 5.0
        progress.advance(1)
    left = {0: "7 min left", 40: "4 min left"}[resumed]  # some 80 or 49 steps of five seconds
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith(f"%, 5.0 s each, {left}")
