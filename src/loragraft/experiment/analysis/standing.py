"""How controls stand: passed, failed, open, or told only for comparison."""

from __future__ import annotations

from typing import Literal

from loragraft.experiment.analysis.model import Control

Standing = Literal["passed", "FAILED", "open", "for comparison", "not to be had"]


def standing_of(control: Control) -> Standing:
    """Return how a control stands.

    A control of the questions alone, without an experiment, is told for comparison: nothing could
    pass it. One of an experiment that neither passed nor failed is open.
    """
    if control.passed is not None:
        return "passed" if control.passed else "FAILED"
    if control.value is None:
        return "not to be had"
    return "open" if control.experiment else "for comparison"
