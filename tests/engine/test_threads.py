"""Threads by default: the cores, or what OMP_NUM_THREADS says."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragraft.engine import threads
from loragraft.engine.threads import (
    MAX_THREADS,
    choose_threads,
    cpu_quota,
    default_threads,
    usable_cores,
)
from loragraft.errors import InputError


@pytest.mark.parametrize(
    ("says", "expected"), [("1", 1), (" 1 ", 1), ("1,2", 1), ("99999", None), ("0", None),
                           ("many", None), ("", None), ("-1", None)],
)  # fmt: skip
def test_omp_num_threads_is_obeyed_within_the_cores(
    says: str, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", says)
    assert default_threads() == (expected or usable_cores())


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000\n", None), ("150000 100000\n", 1.5), ("1 0\n", None), ("\n", None),
     ("-1 100000", None), ("x y", None)],
)  # fmt: skip
def test_quota(tmp_path: Path, text: str, cores: float | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cpu_quota(str(tmp_path / "cpu.max"), str(tmp_path / "none_")) == cores
    old = tmp_path / "cfs_"
    if len(text.split()) == 2:
        for name, value in zip(("quota_us", "period_us"), text.split(), strict=True):
            Path(f"{old}{name}").write_text(value)
        assert cpu_quota(str(tmp_path / "none"), str(old)) == cores


@pytest.mark.parametrize(("quota", "cores"), [(None, 8), (0.5, 1), (1.5, 2), (3.0, 3), (99.0, 8)])
def test_a_containers_quota_is_known(
    quota: float | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
    monkeypatch.setattr(threads, "allowed_cores", lambda: 8)
    assert (usable_cores(), default_threads()) == (cores, cores)


def test_more_threads_than_llama_cpp_takes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_threads(0) == default_threads()
    assert choose_threads(MAX_THREADS) == MAX_THREADS
    for wanted in (-1, MAX_THREADS + 1, 100_000):
        with pytest.raises(InputError, match="from 1 to 512"):
            choose_threads(wanted)
    monkeypatch.setattr(threads, "allowed_cores", lambda: 2000)
    monkeypatch.setattr(threads, "cpu_quota", lambda: None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert default_threads() == MAX_THREADS
