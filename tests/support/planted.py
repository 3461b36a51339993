"""Runs with a known effect, written as a series writes them: no engine has answered anything.

What is true of them comes from ``scripts/verdict_simulations.py``; answers, passages and records
are such that the series' own metrics find just that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from loragraft.artifact.jsonl import write_jsonl
from loragraft.experiment.arm_run import folder_of
from loragraft.experiment.config import SeriesConfig, load_series
from loragraft.experiment.facts import facts_of
from loragraft.experiment.key import asked_of, digest
from loragraft.experiment.questions import QuestionFile, Questions
from loragraft.experiment.records import PassageShown, Sample, Status
from loragraft.experiment.run_info import RunInfo, utc_now
from loragraft.experiment.store import RunStore
from scripts.verdict_simulations import SEED, Drawn, World, draw
from tests.support.series import write_config

BASELINE = "rag_baseline"
TOKENS = {"prompt_tokens": 40, "tokens": 12, "first_seconds": 0.1, "seconds": 0.4}


@dataclass(frozen=True)
class Plan:
    """What is planted.

    Attributes:
        world: What is true of factuality; one candidate for each of its effects.
        seed: Another one, another series of the same world.
        grounded: Share of the answers that say what their passage says.
        lost: Why answers are missing.
    """

    world: World
    seed: int = 0
    grounded: float = 0.8
    lost: Status = "timeout"

    @property
    def names(self) -> tuple[str, ...]:
        """Return the experiments, the baseline first."""
        return BASELINE, *(f"hybrid_{number}" for number in range(1, len(self.world.effects) + 1))


def plant(folder: Path, plan: Plan, embedder: Path, **changes: Any) -> Path:  # noqa: ANN401
    """Write a series that has been run; return its configuration's path.

    Args:
        folder: An empty one.
        plan: What is true of it.
        embedder: Folder of a small embedder, for grounding.
        changes: Of the configuration.
    """
    generator = np.random.default_rng([SEED, plan.seed])
    drawn = draw(plan.world, generator)
    write_jsonl(folder / "questions.jsonl", map(_question, range(len(drawn.papers)), drawn.papers))
    path = write_config(folder, {**_values(plan, embedder), **changes})
    config = load_series(path)
    questions = QuestionFile(config).of("qa")
    for name, right in zip(plan.names, drawn.right, strict=True):
        grounded = generator.random(len(right)) < plan.grounded
        samples = _samples(name, drawn, right, grounded, plan.lost)
        _write(config, name, questions, list(samples))
    return path


def _values(plan: Plan, embedder: Path) -> dict[str, Any]:
    engine = {"kind": "openai", "url": "http://127.0.0.1:9/v1", "key": None}
    experiments = {
        name: {"engine": {**engine, "model": name}, "retrieval": True} for name in plan.names
    }
    return {
        "series": "planted", "size": "small", "data": {"files": ["questions.jsonl"]},
        "retrieval": {"index": "index", "passages": 1}, "experiments": experiments,
        "baseline": BASELINE, "outputs": "outputs",
        "metrics": {"groups": ["factuality", "grounding"],
                    "grounding": {"support": "overlap", "embedder": str(embedder)}},
    }  # fmt: skip


def _stones(number: int) -> int:
    return number + 20


def _question(number: int, paper: int) -> dict[str, Any]:
    return {"kind": "qa", "id": f"q-{number:05d}", "task_type": "numeric",
            "question": f"How many stones has the house number {number}?",
            "answers": [f"{_stones(number)} stones"], "paper_id": f"paper-{paper:04d}"}  # fmt: skip


def _samples(
    name: str, drawn: Drawn, right: Any, grounded: Any, lost: Status  # noqa: ANN401
) -> Iterator[Sample]:  # fmt: skip
    for number, paper in enumerate(drawn.papers):
        told = Sample(name, f"q-{number:05d}", 0, "numeric", f"paper-{paper:04d}", number, (), "ok")
        if math.isnan(right[number]):
            yield replace(told, status=lost, error="The server did not answer.")
            continue
        said = f"The house number {number} has {_stones(number) + int(not right[number])} stones"
        text = f"{said}." if grounded[number] else f"Copper thunder {number + 7} is a violin."
        shown = PassageShown("P1", f"c{number}", f"d{number}", "Houses", 0, len(text), text, 1.0, 1)
        start = len(said) + 1
        cited = {"label": "P1", "start": start, "stop": start + 4, "known": True}
        answer = f"{said} [P1]."
        yield replace(told, raw=answer, answer=answer, shown=(shown,), citations=(cited,),
                      finish="stop", **TOKENS)  # fmt: skip


def _write(config: SeriesConfig, name: str, questions: Questions, samples: list[Sample]) -> None:
    """Write a run as a session does that has ended."""
    inputs = {"planted": name, "arm": {"index": {"files": "none"}}}
    info = RunInfo(
        series=config.series, experiment=name, task="qa", size=config.size, key=digest(inputs),
        inputs=inputs, asked=digest(asked_of(config, name)), facts=facts_of(config, name),
        source=questions.source, questions=questions.digest, total=len(samples), repeats=1,
        retrieves=True, optional=False, monitor=config.monitor.model_dump(mode="json"),
        engine=name, started=utc_now(),
    )  # fmt: skip
    with RunStore(folder_of(config, name), info) as store:
        for sample in samples:
            store.add(sample, questions.digests[sample.question_id])
        counts = dict(Counter(sample.status for sample in samples))
        store.tell(state="complete", counts=counts, samples=store.finish())
