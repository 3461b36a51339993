"""Threads by default: the cores, or what OMP_NUM_THREADS says."""

from __future__ import annotations

import pytest

from loragraft.engine.threads import default_threads, usable_cores


@pytest.mark.parametrize(
    ("says", "expected"), [("1", 1), (" 1 ", 1), ("1,2", 1), ("99999", None), ("0", None),
                           ("many", None), ("", None), ("-1", None)],
)  # fmt: skip
def test_omp_num_threads_is_obeyed_within_the_cores(
    says: str, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", says)
    assert default_threads() == (expected or usable_cores())
