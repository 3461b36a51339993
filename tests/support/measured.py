"""Experiments' records as they are read, made up in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loragraft.dataset.records import Qa, TaskRecord
from loragraft.experiment.measured import Measured
from loragraft.experiment.metrics.protocol import MetricInfo
from loragraft.experiment.records import PassageShown, Sample, Score
from loragraft.experiment.run_info import RunInfo

FACTUALITY = MetricInfo("factuality", "share", "higher", "main", "docs/metrics.md")
GROUNDING = MetricInfo("grounding_coverage", "share", "higher", "main", "docs/grounding.md")
FABRICATED = MetricInfo("citations_fabricated", "count", "lower", "main", "docs/grounding.md")
SECONDS = MetricInfo("first_token_seconds", "seconds", "lower", "diagnostic", "docs/metrics.md")
INFOS = {info.name: info for info in (FACTUALITY, GROUNDING, FABRICATED, SECONDS)}


def record(number: int, *, per_paper: int = 2) -> Qa:
    """Return a question; so many have a paper in common."""
    return Qa(f"q-{number:03d}", ("numeric", "entity")[number % 2], f"How many are {number}?",
              (f"{number} stones",), paper_id=f"paper-{number // per_paper}")  # fmt: skip


def info(experiment: str, total: int, repeats: int = 1, **changes: Any) -> RunInfo:  # noqa: ANN401
    """Return what a complete run says of itself."""
    values: dict[str, Any] = {
        "series": "houses", "experiment": experiment, "task": "qa", "size": "0.5B", "key": "k",
        "inputs": {}, "asked": "a", "facts": {}, "source": {"name": "test.jsonl"},
        "questions": "same", "total": total, "repeats": repeats, "retrieves": False,
        "optional": False, "monitor": {}, "state": "complete", "engine": experiment,
    }  # fmt: skip
    return RunInfo(**{**values, **changes})


def sample(question: str, repeat: int = 0, **changes: Any) -> Sample:  # noqa: ANN401
    """Return an answer that cites its only passage."""
    text = "It has 12 stones [P1]."
    shown = PassageShown("P1", "c1", "d1", "Houses", 0, 20, "Twelve stones.", 1.0, 1)
    cited = {"label": "P1", "start": 17, "stop": 21, "known": True}
    values: dict[str, Any] = {
        "experiment": "any", "question_id": question, "repeat": repeat, "task_type": "numeric",
        "paper_id": None, "seed": 1, "messages": (), "status": "ok", "raw": text, "answer": text,
        "shown": (shown,), "citations": (cited,),
    }  # fmt: skip
    return Sample(**{**values, **changes})


def experiment(
    name: str,
    scores: Mapping[str, Sequence[float | str]],
    *,
    repeats: int = 1,
    per_paper: int = 2,
    asked: int | None = None,
    **changes: Any,  # noqa: ANN401 - fields of RunInfo
) -> Measured:
    """Return an experiment.

    Args:
        name: Its id.
        scores: By metric: values or statuses, question by question, repeats together.
        repeats: Answers to a question.
        per_paper: Questions that have a paper in common.
        asked: Questions; None for those that have scores.
        changes: Of what its run says.
    """
    answers = max(map(len, scores.values()), default=0)
    count = -(-answers // repeats) if asked is None else asked
    records: dict[str, TaskRecord] = {
        one.id: one for one in (record(n, per_paper=per_paper) for n in range(count))
    }
    ids = list(records)
    samples = [sample(ids[n // repeats], n % repeats) for n in range(answers)]
    return Measured(
        info(name, count * repeats, repeats, **changes), samples,
        {metric: [score(metric, ids[n // repeats], n % repeats, value)
                  for n, value in enumerate(found)] for metric, found in scores.items()},
        {}, {}, records,
    )  # fmt: skip


def score(metric: str, question: str, repeat: int, value: float | str) -> Score:
    """Return a score: a value, or a status without one."""
    if isinstance(value, str):
        return Score(question, repeat, metric, value)  # type: ignore[arg-type]
    return Score(question, repeat, metric, "ok", float(value))
