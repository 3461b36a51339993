"""A run's log as text for a notebook: figures, alarms, and what the model says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from loragraft.chat.cleaning import clean
from loragraft.training.log import Evaluation, Sample, TrainingLog, read_log

_MOST_ROWS = 40
"""Evaluations that are shown; the curve shows all."""


def show_log(folder: Path) -> str:
    """Return what ``weights.json`` says, for a person.

    Args:
        folder: The published run.

    Raises:
        InputError: If there is no log.
    """
    log = read_log(folder)
    return clean("\n".join([*_figures(log), *_samples(log)]))


def _figures(log: TrainingLog) -> Iterator[str]:
    last = log.steps[-1].step if log.steps else 0
    yield f"{log.experiment_id}: {log.status} after {last} steps and {log.seconds:.0f} s of them."
    if log.evaluations:
        yield "\n  step  epoch  validation  training"
    if len(log.evaluations) > _MOST_ROWS:
        yield f"   ... of {len(log.evaluations)} evaluations the last {_MOST_ROWS}:"
    for evaluation in log.evaluations[-_MOST_ROWS:]:
        yield _row(evaluation, best=log.best is not None and log.best.step == evaluation.step)
    for alarm in log.alarms:
        yield f"\nAlarm at step {alarm.step}: {alarm.words}"


def _row(evaluation: Evaluation, *, best: bool) -> str:
    train = "" if evaluation.train_loss is None else f"{evaluation.train_loss:.4f}"
    more = "  ".join(f"{name} {value:.4f}" for name, value in sorted(evaluation.metrics.items()))
    marks = [text for text in ("best" if best else "", more) if text]
    return (
        f"{evaluation.step:6d}  {evaluation.epoch:5.2f}  {evaluation.loss:10.4f}  {train:>8}  "
        + "  ".join(marks)
    ).rstrip()


def _samples(log: TrainingLog) -> Iterator[str]:
    """Yield the samples of the best evaluation: of what is kept."""
    steps = [e for e in log.evaluations if e.samples]
    if not steps:
        return
    best = log.best.step if log.best is not None else None
    chosen = next((e for e in steps if e.step == best), steps[-1])
    yield f"\nSamples after step {chosen.step}:"
    for sample in chosen.samples:
        yield _sample(sample)


def _sample(sample: Sample) -> str:
    loop = " (caught in a loop)" if sample.loop else ""
    return (
        f"\n{sample.id}\n  asked     {_one_line(sample.question)}\n"
        f"  expected  {_one_line(sample.expected)}\n  answered  {_one_line(sample.answer)}{loop}"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
