"""A promotion in figures, and the folders that it concerns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from loragraft.artifact.hash_cache import cached_sha256
from loragraft.artifact.metadata import read_metadata
from loragraft.checkpoint.bundle import open_model
from loragraft.checkpoint.resolve import existing_path
from loragraft.engine.batch.specs import LlamaSpec, OllamaSpec
from loragraft.errors import InputError, LoragraftError
from loragraft.experiment.analysis.model import Analysis, Comparison, Verdict
from loragraft.experiment.arm_run import folder_of
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.run_info import RunInfo, read_run

_DIGITS = 6
_WEIGHTS = "adapter_model.safetensors"


def entry_of(config: SeriesConfig, analysis: Analysis, verdict: Verdict) -> dict[str, Any]:
    """Return what is noted of a promotion, as values of a ``Promotion``; paths are absolute.

    Raises:
        InputError: If the verdict promotes nothing, or the run is gone meanwhile.
    """
    rule, name = config.promotion, verdict.experiment
    if rule is None or verdict.decision != "promote":
        raise InputError(f"{name} is not promoted, and nothing of it is noted: {verdict.sentence}")
    comparison = _compared(analysis, name, rule.metric)
    info = run_of(config, name)
    engine = config.experiments[name].engine
    sign = 1 if verdict.gain == comparison.difference else -1
    ends = sorted((sign * comparison.interval.low, sign * comparison.interval.high))
    grounded = rule.grounding is not None
    return {
        "experiment": name,
        "series": config.series,
        "size": config.size,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "engine": getattr(engine, "kind", ""),
        "model": _model(getattr(engine, "model", None)),
        "adapter": _adapter(config, name, info),
        "baseline": analysis.baseline,
        "metric": rule.metric,
        "gain": _rounded(sign * comparison.difference),
        "interval": [_rounded(end) for end in ends],
        "wanted": rule.gain,
        "grounding": _rounded(verdict.grounding) if grounded else None,
        "grounding_from": _rounded(verdict.grounding_shown) if grounded else None,
        "grounding_wanted": rule.grounding,
        "questions": comparison.count,
        "papers": comparison.papers,
        "key": info.key,
    }


def run_of(config: SeriesConfig, name: str) -> RunInfo:
    """Return what an experiment's run says of itself.

    Raises:
        InputError: If there is none.
    """
    info = read_run(folder_of(config, name))
    if info is None:
        raise InputError(f"{folder_of(config, name)} holds no run; run the experiment first.")
    return info


def _compared(analysis: Analysis, name: str, metric: str) -> Comparison:
    for one in analysis.comparisons:
        if (one.experiment, one.metric, one.family) == (name, metric, "gating"):
            return one
    raise InputError(f"{name} was not compared with {analysis.baseline} on {metric}.")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def _model(name: str | None) -> str | None:
    """Return a model's name; of a folder or a file its whole path."""
    path = None if name is None else existing_path(name)
    return name if path is None or os.sep not in str(path) else str(path.absolute())


def relative_to(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a promotion whose paths are as they stand in a file of a folder."""
    found = dict(values)
    for name in ("model", "adapter"):
        value = found.get(name)
        if isinstance(value, str) and os.path.isabs(value):
            found[name] = _relative(value, folder)
    return found


def _relative(path: str, folder: Path) -> str:
    try:
        short = Path(os.path.relpath(os.path.realpath(path), os.path.realpath(folder))).as_posix()
    except ValueError:  # another drive, on Windows
        return path
    return short if short.startswith("../") else f"./{short}"


def _adapter(config: SeriesConfig, name: str, info: RunInfo) -> str | None:
    """Return the adapter on the model, or the one that a bundle was merged with."""
    given = getattr(config.experiments[name].engine, "adapter", None)
    if isinstance(given, str):
        return _model(given)
    for folder in _bundles(config, name, info):
        for listed in _merged(folder):
            local = _local_adapter(config, listed)
            told = str(listed.get("name") or "").partition("/")[0]
            return str(local.absolute()) if local is not None else told or None
    return None


def folders_of(config: SeriesConfig, name: str) -> tuple[Path, ...]:
    """Return the folders of an experiment's bundle and adapter, those that are on this disk."""
    info = run_of(config, name)
    found = list(_bundles(config, name, info))
    given = getattr(config.experiments[name].engine, "adapter", None)
    adapter = existing_path(given) if isinstance(given, str) else None
    if adapter is not None and adapter.is_dir():
        found.append(adapter)
    for bundle in tuple(found):
        for listed in _merged(bundle):
            local = _local_adapter(config, listed)
            found += [] if local is None else [local]
    return tuple(dict.fromkeys(folder.resolve() for folder in found))


def _bundles(config: SeriesConfig, name: str, info: RunInfo) -> Iterator[Path]:
    """Yield the bundle whose model answered: a folder, or the one that a tag was made from."""
    engine = config.experiments[name].engine
    if isinstance(engine, LlamaSpec):
        try:
            folder = open_model(Path(engine.model), engine.quant).folder
        except LoragraftError:
            return
        if folder is not None:
            yield folder
    elif isinstance(engine, OllamaSpec):
        yield from _registered(info)


def _registered(info: RunInfo) -> Iterator[Path]:
    """Yield the bundle that a server's model was registered from: told by the model's digest."""
    from loragraft.ollama.record import Record

    fact = info.facts.get("model")
    digest = fact.get("digest") if isinstance(fact, Mapping) else None
    try:
        models = Record().models() if isinstance(digest, str) else []
    except LoragraftError:
        return
    for one in models:
        path = existing_path(one.bundle)
        if _bare(one.manifest) == _bare(str(digest)) and path is not None and path.is_dir():
            yield path
            return


def _bare(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _merged(bundle: Path) -> Iterator[Mapping[str, Any]]:
    """Yield what a bundle's metadata says of the adapters that were merged into it."""
    try:
        listed = read_metadata(bundle).get("adapters")
    except LoragraftError:
        return
    if isinstance(listed, list):
        yield from (one for one in listed if isinstance(one, dict))


def _local_adapter(config: SeriesConfig, listed: Mapping[str, Any]) -> Path | None:
    """Return the workspace's adapter that a bundle names, if it is the same to the byte."""
    name = str(listed.get("name") or "").partition("/")[0]
    if not name or name in (".", ".."):
        return None
    folder = config.outputs.parent / "adapters" / name
    try:
        same = cached_sha256(folder / _WEIGHTS) == listed.get("sha256")
    except (OSError, ValueError):
        return None
    return folder if same else None
