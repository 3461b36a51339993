"""Progress in a terminal and elsewhere, as somebody reads it."""

from __future__ import annotations

import pytest

from loragraft.cli.progress import BarProgress


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
