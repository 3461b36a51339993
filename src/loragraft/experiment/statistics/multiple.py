"""What is left of p values where several comparisons are made."""

from __future__ import annotations

from collections.abc import Sequence

from loragraft.experiment.statistics.packages import require_statistics


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """Return p values such that any false alarm among them has the chance that each says.

    Holm, A simple sequentially rejective multiple test procedure (1979).
    """
    return _adjusted(p, "holm")


def benjamini_hochberg(p: Sequence[float]) -> tuple[float, ...]:
    """Return p values that bound the expected share of false alarms among those that are named.

    Benjamini and Hochberg, Controlling the false discovery rate (1995).
    """
    return _adjusted(p, "fdr_bh")


def _adjusted(p: Sequence[float], method: str) -> tuple[float, ...]:
    if len(p) < 2:
        return tuple(p)  # alone it stays as it is; the library collects garbage at every call
    require_statistics()
    from statsmodels.stats.multitest import multipletests

    return tuple(float(value) for value in multipletests(list(p), method=method)[1])
