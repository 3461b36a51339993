"""What a run's answers depend on, as one digest: the same key, the same run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from loragraft.artifact.metadata import plain
from loragraft.checkpoint.resolve import existing_path, looks_like_repository
from loragraft.dataset.records import TaskRecord, to_json
from loragraft.engine.batch.specs import LlamaSpec, TransformersSpec
from loragraft.experiment.config import (
    ClassifierSpec,
    EmbedderArm,
    Experiment,
    ScorePrompt,
    SeriesConfig,
)
from loragraft.experiment.records import SCHEMA_VERSION

PACE = frozenset({"concurrency", "timeout", "retries", "requests_per_minute", "needed", "threads",
                   "input_price", "output_price"})  # fmt: skip
"""Of an engine's configuration: what decides when an answer comes and what it costs, not which."""

A_PATH = "a path"
"""Stands for one, wherever it leads."""


def digest(values: object) -> str:
    """Return the SHA-256 of JSON values; the order of keys means nothing."""
    text = json.dumps(plain(values), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def record_digest(record: TaskRecord) -> str:
    """Return the SHA-256 of a record: question, accepted answers and all."""
    return digest(to_json(record))


def asked_of(config: SeriesConfig, name: str) -> dict[str, Any]:
    """Return what a configuration says about the answers of an experiment, as JSON values.

    It takes no file into account, and no path: what lies there is compared by its content (see
    :mod:`~loragraft.experiment.facts`), so that a workspace may be moved, and be looked at from any
    folder. What is only for people, or decides scores alone, is left out.
    """
    experiment = config.experiments[name]
    values: dict[str, Any] = {
        "task": experiment.task,
        "seed": config.seed,
        "engine": _engine(experiment),
        "retrieval": _retrieval(config, experiment),
        "stuffed": experiment.stuffed,
        "average": list(experiment.average),
        "sampling": config.sampling_of(name).model_dump(mode="json"),
        "scoring": _scoring(experiment),
    }
    if "perplexity" in config.metrics.groups:
        values["reference"] = True
    return values


def _engine(experiment: Experiment) -> dict[str, Any] | None:
    if experiment.engine is None:
        return None
    spec = experiment.engine
    values = spec.model_dump(mode="json")
    for part in ("model", "adapter"):
        value = values.get(part)
        if value is not None and _is_path(spec, value):
            values[part] = A_PATH
    return {key: value for key, value in values.items() if key not in PACE}


def _is_path(spec: object, name: str) -> bool:
    """Whether a model's name is a path, and none of a repository or of a tag."""
    if isinstance(spec, LlamaSpec):
        return True
    here = existing_path(name) is not None or not looks_like_repository(name)
    return here and isinstance(spec, TransformersSpec | ClassifierSpec | EmbedderArm)


def _scoring(experiment: Experiment) -> Any:  # noqa: ANN401
    scoring = experiment.scoring
    return scoring.model_dump(mode="json") if isinstance(scoring, ScorePrompt) else None


def _retrieval(config: SeriesConfig, experiment: Experiment) -> dict[str, Any] | None:
    if config.retrieval is None or not (experiment.retrieval or experiment.stuffed):
        return None
    return config.retrieval.model_dump(mode="json", exclude={"embedder", "index"})


def run_inputs(
    config: SeriesConfig,
    name: str,
    arm: Mapping[str, Any],
    engine: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return all that decides the answers of a run but the records themselves, as JSON values.

    Paths are left out: what was read of them stands in the identities of arm and engine.

    Args:
        config: The series.
        name: Of the experiment.
        arm: Its identity.
        engine: Its engine's; None for an arm without one.
    """
    asked = asked_of(config, name)
    kept = ("task", "seed", "stuffed", "sampling", "reference")
    values = {key: asked[key] for key in kept if key in asked}
    inputs: dict[str, Any] = plain(
        {"schema_version": SCHEMA_VERSION, **values, "arm": dict(arm), "engine": engine}
    )
    return inputs


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the dotted names of values in which two inputs differ."""
    return sorted(_differing(before, now, ""))


def _differing(before: object, now: object, name: str) -> Sequence[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        names: list[str] = []
        for key in before.keys() | now.keys():
            inner = f"{name}.{key}" if name else str(key)
            names += _differing(before.get(key), now.get(key), inner)
        return names
    return [] if before == now else [name]
