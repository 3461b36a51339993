"""The callback, told by the real Trainer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from loragraft.training.callbacks import make_callback, split_metrics
from loragraft.training.config import EvaluationConfig
from loragraft.training.log import TrainingLog
from loragraft.training.log_lines import LogLines
from loragraft.training.watch import Watch


def train(folder: Path, watch: Watch | None, more: Sequence[Any] = ()) -> Any:  # noqa: ANN401
    """Train a straight line for six steps of two batches, and evaluate every third."""
    import torch
    from transformers import Trainer, TrainingArguments

    class Line(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.inner = torch.nn.Linear(3, 1)

        def forward(self, x: Any, labels: Any) -> Any:  # noqa: ANN401
            loss = ((self.inner(x)[:, 0] - labels) ** 2).sum()
            if watch is not None and self.training:
                watch.hear(loss, len(x))
                watch.gradient(loss.detach().sqrt())
            return {"loss": loss}

    torch.manual_seed(2)
    rows = [{"x": x, "labels": x.sum()} for x in torch.randn(24, 3)]
    options = TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=2, gradient_accumulation_steps=2,
        num_train_epochs=1, learning_rate=1e-2, lr_scheduler_type="linear", eval_strategy="steps",
        eval_steps=3, save_strategy="no", report_to=[], use_cpu=True, logging_steps=2,
        disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Line()
        callbacks = [*more] if watch is None else [make_callback(watch), *more]
        trainer = Trainer(model, options, train_dataset=rows, eval_dataset=rows[:4],
                          callbacks=callbacks)  # type: ignore[arg-type]  # fmt: skip
        trainer.train()
    return trainer


@pytest.fixture
def logged(tmp_path: Path) -> tuple[TrainingLog, Any]:
    with LogLines(tmp_path / "weights.jsonl", "run") as lines:
        trainer = train(tmp_path / "run", Watch(lines, EvaluationConfig(), folder=tmp_path))
        return lines.log("finished", 2), trainer


def test_the_trainer_tells_every_step_and_evaluation(logged: tuple[TrainingLog, Any]) -> None:
    log, trainer = logged
    assert [step.step for step in log.steps] == [2, 4, 6]
    assert [step.tokens for step in log.steps] == [8, 8, 8]
    assert [e.step for e in log.evaluations] == [3, 6]
    said = [entry for entry in trainer.state.log_history if "learning_rate" in entry]
    assert [s.learning_rate for s in log.steps] == [entry["learning_rate"] for entry in said]
    assert [s.epoch for s in log.steps] == [entry["epoch"] for entry in said]
    assert all(step.gradient_norm and step.seconds > 0 for step in log.steps)
    told = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert [e.loss for e in log.evaluations] == told
    assert log.steps[-1].loss < log.steps[0].loss


def test_watching_changes_nothing_of_what_is_trained(
    logged: tuple[TrainingLog, Any], tmp_path: Path
) -> None:
    watched = logged[1].model.inner.weight
    assert watched.equal(train(tmp_path / "alone", None).model.inner.weight)


def test_timings_are_no_metrics() -> None:
    told = {"eval_loss": 0.5, "eval_runtime": 1.0, "eval_samples_per_second": 2.0,
            "eval_roc_auc": 0.75, "epoch": 1.0}  # fmt: skip
    assert split_metrics(told) == (0.5, {"roc_auc": 0.75})
