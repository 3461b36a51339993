"""A promotion in figures, and the folders that it concerns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from loragraft.adapter.locate import locate_adapter
from loragraft.artifact.hash_cache import cached_sha256
from loragraft.artifact.metadata import METADATA_NAME, read_metadata
from loragraft.checkpoint.bundle import open_model
from loragraft.checkpoint.resolve import existing_path, looks_like_repository
from loragraft.engine.batch.specs import LlamaSpec, OllamaSpec, TransformersSpec
from loragraft.errors import CheckpointError, InputError, LoragraftError
from loragraft.experiment.analysis.model import Analysis, Comparison, Verdict
from loragraft.experiment.arm_run import folder_of
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.run_info import RunInfo, read_run

_DIGITS = 6
_WEIGHTS = "adapter_model.safetensors"
_CHECKPOINT_WEIGHTS = (".safetensors", ".bin")


@dataclass(frozen=True)
class Behind:
    """What lies behind an experiment's model, as far as it is on this disk.

    Attributes:
        folders: Of the bundle and of the adapter.
        adapter: Put on the model, or merged into it; None for none that is known.
        unread: Why it is not known whether there is an adapter, as sentences.
    """

    folders: tuple[Path, ...]
    adapter: str | None
    unread: tuple[str, ...]


def entry_of(
    config: SeriesConfig, analysis: Analysis, verdict: Verdict, behind: Behind
) -> dict[str, Any]:
    """Return what is noted of a promotion, as values of a ``Promotion``; paths are absolute.

    Whether there is an adapter is left out where that could not be read.

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
    adapter = {} if behind.unread and behind.adapter is None else {"adapter": behind.adapter}
    return {
        "experiment": name,
        "series": config.series,
        "size": config.size,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "engine": getattr(engine, "kind", ""),
        "model": _model(getattr(engine, "model", None)),
        **adapter,
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


def check_model(config: SeriesConfig, name: str) -> None:
    """Make sure that an experiment's model and adapter can be opened, where they are local.

    Raises:
        InputError: If one cannot: a promotion would tell people to serve what is not there.
    """
    engine = config.experiments[name].engine
    try:
        if isinstance(engine, LlamaSpec):
            open_model(Path(engine.model), engine.quant)
        elif isinstance(engine, TransformersSpec):
            facts = run_of(config, name).facts
            if _is_local(engine.model, facts.get("model")):
                _check_checkpoint(engine.model)
            if engine.adapter is not None and _is_local(engine.adapter, facts.get("adapter")):
                locate_adapter(existing_path(engine.adapter) or Path(engine.adapter))
    except (OSError, LoragraftError) as error:
        raise InputError(
            f"{name} is promoted, but the model that it answered with cannot be opened, and "
            f"nothing was written. {str(error).rstrip('.')}. Put it back where it was, or make it "
            "again and run the experiment with it; then promote with --write."
        ) from None


def _is_local(name: str, fact: object) -> bool:
    """Whether a name means a path: it does not look like a repository, or was a path when run."""
    was_path = isinstance(fact, Mapping) and "files" in fact
    return was_path or existing_path(name) is not None or not looks_like_repository(name)


def _check_checkpoint(name: str) -> None:
    folder = existing_path(name)
    if folder is None:
        raise CheckpointError(f"{name} is not there; expected a checkpoint's folder.")
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder} is no checkpoint: it holds no config.json.")
    if not any(path.suffix in _CHECKPOINT_WEIGHTS for path in folder.iterdir()):
        raise CheckpointError(f"{folder} is no whole checkpoint: it holds no weights.")


def behind_of(config: SeriesConfig, name: str) -> Behind:
    """Return the bundle and the adapter behind an experiment's model.

    Raises:
        InputError: If the experiment has no run.
    """
    unread: list[str] = []
    bundles = list(_bundles(config, name, run_of(config, name), unread))
    listed = [one for bundle in bundles for one in _merged(bundle, unread)]
    merged = [(one, _local_adapter(config, one)) for one in listed]
    given = getattr(config.experiments[name].engine, "adapter", None)
    own = existing_path(given) if isinstance(given, str) else None
    found = [*bundles, *([own] if own is not None and own.is_dir() else [])]
    found += [local for _, local in merged if local is not None]
    adapter = None
    if isinstance(given, str):
        adapter = _model(given)
    elif merged:
        told, local = merged[0]
        adapter = _told_name(told) or None if local is None else str(local.absolute())
    return Behind(tuple(dict.fromkeys(one.resolve() for one in found)), adapter, tuple(unread))


def folders_of(config: SeriesConfig, name: str) -> tuple[Path, ...]:
    """Return the folders of an experiment's bundle and adapter, those that are on this disk."""
    return behind_of(config, name).folders


def _bundles(config: SeriesConfig, name: str, info: RunInfo, unread: list[str]) -> Iterator[Path]:
    """Yield the bundle whose model answered: a folder, or the one that a tag was made from."""
    engine = config.experiments[name].engine
    if isinstance(engine, LlamaSpec):
        try:
            folder = open_model(Path(engine.model), engine.quant).folder
        except (OSError, LoragraftError) as error:
            unread.append(str(error))
            return
        if folder is not None:
            yield folder
    elif isinstance(engine, OllamaSpec):
        yield from _registered(info, unread)


def _registered(info: RunInfo, unread: list[str]) -> Iterator[Path]:
    """Yield the bundle that a server's model was registered from: told by the model's digest."""
    from loragraft.ollama.record import Record

    fact = info.facts.get("model")
    digest = fact.get("digest") if isinstance(fact, Mapping) else None
    try:
        models = Record().models() if isinstance(digest, str) else []
    except LoragraftError as error:
        unread.append(str(error))
        return
    same = [one for one in models if _bare(one.manifest) == _bare(str(digest))]
    for one in same:
        path = existing_path(one.bundle)
        if path is not None and path.is_dir():
            yield path
            return
    unread += [f"{one.bundle} is not there; {one.tag} was made from it." for one in same]


def _bare(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _merged(bundle: Path, unread: list[str]) -> Iterator[Mapping[str, Any]]:
    """Yield what a bundle's metadata says of the adapters that were merged into it."""
    try:
        listed = read_metadata(bundle).get("adapters")
    except LoragraftError as error:
        unread.append(str(error))
        return
    if isinstance(listed, list):
        yield from (one for one in listed if isinstance(one, dict))
    elif listed is not None:
        unread.append(f"{bundle / METADATA_NAME} lists no adapters, but says {listed!r:.60}.")


def _told_name(listed: Mapping[str, Any]) -> str:
    return str(listed.get("name") or "").partition("/")[0]


def _local_adapter(config: SeriesConfig, listed: Mapping[str, Any]) -> Path | None:
    """Return the workspace's adapter that a bundle names, if it is the same to the byte."""
    name = _told_name(listed)
    if not name or name in (".", ".."):
        return None
    folder = config.outputs.parent / "adapters" / name
    try:
        same = cached_sha256(folder / _WEIGHTS) == listed.get("sha256")
    except (OSError, ValueError):
        return None
    return folder if same else None
