"""Trackers of runs, through the Trainer's own callbacks: TensorBoard, Weights & Biases, MLflow.

Each keeps its files on this machine, below ``OUTPUTS/.reports``, unless its own environment
variables say otherwise: WANDB_MODE=online sends figures to a service, MLFLOW_TRACKING_URI names a
server. They stay out of the published folder, because they name the machine and its user.

```
OUTPUTS/.reports/tensorboard/ID/    tensorboard --logdir OUTPUTS/.reports/tensorboard
OUTPUTS/.reports/wandb/             wandb sync FOLDER, to send it later
OUTPUTS/.reports/mlruns/            what MLFLOW_TRACKING_URI may point to
OUTPUTS/.reports/ID.json            which runs of theirs a training run goes on with
```
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.artifact.files import write_atomically
from loragraft.errors import InputError, MissingExtraError, UnavailableError
from loragraft.training.config import Reporter, TrainConfig

if TYPE_CHECKING:
    from transformers import TrainerCallback

FOLDER = ".reports"
PROJECT = "loragraft"
"""Of Weights & Biases, and MLflow's experiment, unless WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME
names another."""
EXTRAS: Mapping[Reporter, str] = {"tensorboard": "train", "wandb": "wandb", "mlflow": "mlflow"}
"""Which extra brings each package."""

Ids = dict[str, str]
Opening = Callable[[TrainConfig, Path, Ids, int], AbstractContextManager["TrainerCallback"]]


def require_reporters(config: TrainConfig) -> None:
    """Raise unless what a configuration names is installed.

    Raises:
        MissingExtraError: Naming the first that is not.
    """
    for name in config.reporters:
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(name, EXTRAS[name], f"Reporting to {name}")


@contextmanager
def reporting(
    config: TrainConfig, outputs: Path, *, after: int = 0
) -> Iterator[list[TrainerCallback]]:
    """Open the reporters that a configuration names, and close them whatever happens.

    Args:
        config: The run's.
        outputs: Parent folder of the run's result.
        after: Step of the checkpoint that the run goes on from; 0 begins a new record.

    Yields:
        The Trainer's callbacks.

    Raises:
        MissingExtraError: If a package is missing.
        UnavailableError: If a service that the environment names cannot be reached.
        InputError: If their folder cannot be made.
    """
    require_reporters(config)
    folder = outputs / FOLDER
    if config.reporters:
        _make_folder(folder)
    kept = folder / f"{config.experiment_id}.json"
    ids = _read_ids(kept) if after else {}
    with ExitStack() as stack:
        callbacks = [
            stack.enter_context(OPENINGS[name](config, folder, ids, after))
            for name in dict.fromkeys(config.reporters)
        ]
        if ids:
            write_atomically(kept, json.dumps(ids).encode())
        yield callbacks


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}, which reporters write into, cannot be made: {error.strerror}. Move away "
            "what is there, or set reporters: []."
        ) from None


def _read_ids(path: Path) -> Ids:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


@contextmanager
def _tensorboard(
    config: TrainConfig, folder: Path, ids: Ids, after: int
) -> Iterator[TrainerCallback]:
    with _quiet():
        from torch.utils.tensorboard import SummaryWriter
    place = os.environ.get("TENSORBOARD_LOGGING_DIR")
    own = folder / "tensorboard" / config.experiment_id
    if place is None and not after:
        shutil.rmtree(own, ignore_errors=True)  # of a run that this one takes the place of
    target = Path(place).expanduser() / config.experiment_id if place else own
    # What was written behind the checkpoint is not shown any more.
    writer = SummaryWriter(str(target), purge_step=after + 1 if after else None)
    try:
        yield _callback("TensorBoardCallback", writer)
    finally:
        writer.close()


@contextmanager
def _wandb(config: TrainConfig, folder: Path, ids: Ids, after: int) -> Iterator[TrainerCallback]:
    ids.setdefault("wandb", uuid.uuid4().hex[:12])
    with _environment({"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}):
        with _quiet(), _explained("Weights & Biases", "leave WANDB_MODE unset to keep it here"):
            run = _open_wandb(config, folder, ids["wandb"])
        failed = True
        try:
            yield _callback("WandbCallback")
            failed = False
        finally:
            run.finish(exit_code=int(failed))


def _open_wandb(config: TrainConfig, folder: Path, run_id: str) -> Any:  # noqa: ANN401
    import wandb

    mode: Any = os.environ.get("WANDB_MODE", "offline")
    return wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT), name=config.experiment_id,
        id=run_id, resume="allow", mode=mode, dir=os.environ.get("WANDB_DIR", str(folder)),
        config=_settings(config),
        settings=wandb.Settings(console="off", disable_git=True, disable_code=True),
    )  # fmt: skip


@contextmanager
def _mlflow(config: TrainConfig, folder: Path, ids: Ids, after: int) -> Iterator[TrainerCallback]:
    # Its store of files is "in maintenance", and the only one that needs no database.
    defaults = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}
    with _environment(defaults):
        with _quiet(), _explained("MLflow", "unset MLFLOW_TRACKING_URI to keep it here"):
            ids["mlflow"] = _open_mlflow(config, folder, ids.get("mlflow"))
        import mlflow

        status = "FAILED"
        try:
            yield _started(_callback("MLflowCallback"))
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            mlflow.end_run(status)


def _open_mlflow(config: TrainConfig, folder: Path, known: str | None) -> str:
    """Begin a run, or go on with one, and log the configuration; return its id."""
    import mlflow

    if "MLFLOW_TRACKING_URI" not in os.environ:
        mlflow.set_tracking_uri((folder.resolve() / "mlruns").as_uri())
    mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
    run = _mlflow_run(mlflow, config.experiment_id, known)
    longest = mlflow.utils.validation.MAX_PARAM_VAL_LENGTH
    mlflow.log_params({k: str(v)[:longest] for k, v in flat(_settings(config)).items()})
    return str(run.info.run_id)


def _mlflow_run(mlflow: Any, name: str, known: str | None) -> Any:  # noqa: ANN401
    """Go on with a run that is known, where it still is; else begin one."""
    if known is not None:
        try:
            return mlflow.start_run(run_id=known)
        except mlflow.exceptions.MlflowException:  # deleted meanwhile, or on another server
            mlflow.end_run()
    return mlflow.start_run(run_name=name)


def _callback(name: str, *arguments: Any) -> Any:  # noqa: ANN401
    """Make one of the Trainer's own reporters."""
    from transformers import integrations

    return getattr(integrations, name)(*arguments)


def _started(callback: Any) -> Any:  # noqa: ANN401
    """Keep MLflow's reporter from logging the Trainer's arguments as the run's parameters.

    They differ when a run goes on (paths, dates), which MLflow refuses.
    """
    callback._initialized, callback._async_log = True, False
    return callback


def _settings(config: TrainConfig) -> dict[str, Any]:
    """Return what a tracker lists of a run, without paths of this machine."""
    return config.model_dump(mode="json", exclude={"data", "description", "grid", "reporters"})


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return nested values by their full names: ``lora.r``."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{name}.")
        else:
            found[before + name] = value
    return found


OPENINGS: Mapping[Reporter, Opening] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}


@contextmanager
def _environment(defaults: Mapping[str, str]) -> Iterator[None]:
    """Set variables that the user has not set, and take them away again."""
    added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _explained(service: str, way_out: str) -> Iterator[None]:
    """Say what to do where a service is not to be had.

    Raises:
        UnavailableError: In place of whatever it raises.
    """
    try:
        yield
    except Exception as error:  # each has its own tree of errors, network and all
        reason = " ".join(str(error).split())[:300]
        raise UnavailableError(
            f"{service} could not be opened ({type(error).__name__}: {reason}). Take it out of "
            f"reporters, or {way_out}."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the trackers' remarks on themselves away."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "wandb")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
