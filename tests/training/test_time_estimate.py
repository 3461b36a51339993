"""Time estimates: what is measured, and that measuring changes nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loragraft.errors import OutOfMemoryError
from loragraft.training.config import TrainConfig
from loragraft.training.job import Job, build_job
from loragraft.training.machine import Machine
from loragraft.training.precision import choose_precision
from loragraft.training.time_estimate import TimeEstimate, _fit, estimate_time
from tests.support.training import small_config

Talking = Callable[[str], Path]
HERE = Machine("this processor", "cpu", False, 1 << 34)


def small(tmp_path: Path, talking: Talking, **changes: Any) -> tuple[TrainConfig, Job]:  # noqa: ANN401
    config = small_config(tmp_path / "data", **changes).model_copy(update={"precision": "float32"})
    return config, build_job(config, talking("llama"))


def measured(config: TrainConfig, job: Job, done: int = 0) -> TimeEstimate:
    return estimate_time(config, job, choose_precision(config, HERE), done)


def test_measuring_changes_nothing(tmp_path: Path, talking: Talking) -> None:
    import torch

    config, job = small(tmp_path, talking)
    before = {n: p.detach().clone() for n, p in job.model.named_parameters()}
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    job.model.eval()
    measured(config, job)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not job.model.training
    assert all(torch.equal(before[n], p) for n, p in job.model.named_parameters())
    assert all(p.grad is None for p in job.model.parameters())


def test_an_estimate_is_a_range_that_shrinks(tmp_path: Path, talking: Talking) -> None:
    config, job = small(tmp_path, talking)
    whole = measured(config, job)
    assert 0 < whole.low < whole.high
    assert whole.step > 0
    assert whole.evaluation > 0
    assert whole.tokens > 0
    assert "a step" in whole.words
    over = measured(config, job, done=12)
    assert over.low == over.high == 0


def test_packed_rows_and_runs_without_validation(tmp_path: Path, talking: Talking) -> None:
    config, job = small(tmp_path, talking, held=False, optimiser={"packing": True})
    found = measured(config, job)
    assert found.evaluation == 0
    assert found.low > 0


def test_bfloat16_is_measured_in_bfloat16(tmp_path: Path, talking: Talking) -> None:
    import torch

    config, job = small(tmp_path, talking)
    seen = []

    def loss(model: Any, batch: Any) -> Any:  # noqa: ANN401
        seen.append(torch.is_autocast_enabled("cpu"))
        return job.loss(model, batch)

    asked = config.model_copy(update={"precision": "bfloat16"})
    measured(asked, dataclasses.replace(job, loss=loss))
    assert any(seen)


def test_too_little_memory_is_told_before_the_run(tmp_path: Path, talking: Talking) -> None:
    config, job = small(tmp_path, talking)

    def loss(model: Any, batch: Any) -> Any:  # noqa: ANN401
        import torch

        return torch.empty(1 << 50)

    with pytest.raises(OutOfMemoryError, match=r"optimiser\.batch"):
        measured(config, dataclasses.replace(job, loss=loss))


def test_other_errors_pass(tmp_path: Path, talking: Talking) -> None:
    config, job = small(tmp_path, talking)

    def loss(model: Any, batch: Any) -> Any:  # noqa: ANN401
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        measured(config, dataclasses.replace(job, loss=loss))


def test_times_are_a_line_over_sizes() -> None:
    line = _fit([(10, 1.2), (20, 2.2), (30, 3.2)])
    assert line.of(40) == pytest.approx(4.2)
    through_zero = _fit([(10, 0.5), (20, 1.6), (30, 2.4)])
    assert through_zero.of(0) == 0
    assert _fit([(10, 1.0), (10, 1.0), (10, 1.0)]).of(50) == 1.0
    assert _fit([(10, 3.0), (20, 2.0), (30, 1.0)]).of(100) == 2.0


def test_words_are_short() -> None:
    assert TimeEstimate(60, 60, 1.234, 5, 678.9).words == (
        "Training takes about 60 s: 1.2 s a step, 5 s an evaluation, 679 tokens a second."
    )
    assert "2 min to 3 h 20 min" in TimeEstimate(120, 12000, 1, 1, 1).words
