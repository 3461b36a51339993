"""Reporters, each the real one, with every socket to another machine refused."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loragraft.errors import InputError, MissingExtraError, UnavailableError
from loragraft.training import reporters
from loragraft.training.config import Reporter, TrainConfig
from loragraft.training.reporters import reporting
from tests.training.test_callbacks import train

OWN = ("WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "MLFLOW_TRACKING_URI",
       "MLFLOW_EXPERIMENT_NAME", "TENSORBOARD_LOGGING_DIR")  # fmt: skip


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Refuse the network, and keep the trackers out of the user's folders."""
    connect = socket.socket.connect

    def local(self: socket.socket, address: Any) -> None:  # noqa: ANN401
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "localhost", "::1"):
            raise AssertionError(f"a connection to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)
    for name in OWN:
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


def config(name: Reporter) -> TrainConfig:
    values = {"experiment_id": "run", "base": "b", "data": {"tag": "t"}, "reporters": [name],
              "lora": {"r": 4}}  # fmt: skip
    return TrainConfig.model_validate(values)


def run(name: Reporter, folder: Path, after: int = 0) -> None:
    """Let the Trainer report to it, with an evaluation at steps 3 and 6."""
    with reporting(config(name), folder, after=after) as callbacks:
        train(folder / "checkpoints", None, callbacks)


def events(folder: Path) -> dict[str, list[int]]:
    """Return the steps of each figure that TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    loaded = EventAccumulator(str(folder))
    loaded.Reload()
    return {tag: [e.step for e in loaded.Scalars(tag)] for tag in loaded.Tags()["scalars"]}


def test_tensorboard_gets_every_figure(tmp_path: Path) -> None:
    run("tensorboard", tmp_path)
    found = events(tmp_path / ".reports/tensorboard/run")
    assert found["train/loss"] == [2, 4, 6]
    assert found["train/learning_rate"] == [2, 4, 6]
    assert found["eval/loss"] == [3, 6]


def test_tensorboard_forgets_what_lies_behind_a_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / ".reports/tensorboard/run"
    run("tensorboard", tmp_path)
    with reporting(config("tensorboard"), tmp_path, after=3) as [callback]:
        writer: Any = callback
        writer.tb_writer.add_scalar("train/loss", 1.0, 4)
    assert events(folder)["train/loss"] == [2, 4]
    with reporting(config("tensorboard"), tmp_path):
        pass
    assert events(folder) == {}  # a run that begins anew


def test_tensorboard_goes_where_its_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "boards"))
    run("tensorboard", tmp_path)
    assert events(tmp_path / "boards/run")["eval/loss"] == [3, 6]


@pytest.fixture
def mlflow_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A look at what MLflow has stored, after the run."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    before = mlflow.get_tracking_uri()
    yield mlflow.MlflowClient((tmp_path / ".reports/mlruns").as_uri())
    mlflow.set_tracking_uri(before)


def test_mlflow_keeps_one_run_in_a_local_folder(tmp_path: Path, mlflow_client: Any) -> None:  # noqa: ANN401
    run("mlflow", tmp_path)
    run("mlflow", tmp_path, after=3)
    experiment = mlflow_client.get_experiment_by_name("loragraft")
    [found] = mlflow_client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == ("run", "FINISHED")
    assert found.data.params["lora.r"] == "4"
    steps = {m.step for m in mlflow_client.get_metric_history(found.info.run_id, "loss")}
    assert steps == {2, 4, 6}
    assert not any("/" in value for value in found.data.params.values())


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")]
)
def test_mlflow_hears_how_a_run_ended(
    tmp_path: Path, mlflow_client: Any, error: type[BaseException], status: str  # noqa: ANN401
) -> None:  # fmt: skip
    with pytest.raises(error), reporting(config("mlflow"), tmp_path):
        raise error
    experiment = mlflow_client.get_experiment_by_name("loragraft")
    [found] = mlflow_client.search_runs([experiment.experiment_id])
    assert found.info.status == status


def test_wandb_stays_offline(tmp_path: Path) -> None:
    run("wandb", tmp_path)
    run("wandb", tmp_path, after=3)
    folders = sorted((tmp_path / ".reports/wandb").glob("offline-run-*"))
    known = json.loads((tmp_path / ".reports/run.json").read_text())["wandb"]
    assert folders
    assert {folder.name.rsplit("-", 1)[1] for folder in folders} == {known}
    data = b"".join(path.read_bytes() for path in folders[0].glob("*.wandb"))
    assert b"eval/loss" in data
    assert b"train/learning_rate" in data


def test_a_mode_that_wandb_does_not_know_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "sideways")
    with pytest.raises(UnavailableError, match=r"Weights & Biases .* WANDB_MODE"):
        run("wandb", tmp_path)


def test_an_mlflow_server_that_is_not_there_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "strange://nowhere")
    with pytest.raises(UnavailableError, match="unset MLFLOW_TRACKING_URI"):
        run("mlflow", tmp_path)


@pytest.mark.parametrize(("name", "extra"), list(reporters.EXTRAS.items()))
def test_a_missing_package_is_named(
    name: Reporter, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporters.importlib.util, "find_spec", lambda package: None)
    with pytest.raises(MissingExtraError, match=rf"{name}.*loragraft\[{extra}\]"):
        run(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_made_for_reporters_only(tmp_path: Path) -> None:
    (tmp_path / reporters.FOLDER).write_text("in the way")
    silent = config("tensorboard").model_copy(update={"reporters": ()})
    with reporting(silent, tmp_path) as callbacks:
        assert callbacks == []
    with pytest.raises(InputError, match=r"\.reports.*cannot be made: File exists"):
        run("tensorboard", tmp_path)
