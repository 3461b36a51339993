"""What a run may take: by what was measured here, else by the model's size."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest

from loragraft.engine.batch.specs import TransformersSpec
from loragraft.errors import InputError
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.dry_run import plan_series
from loragraft.experiment.run import RunRequest, configured, run_series
from loragraft.experiment.run_info import read_run, write_run
from tests.support.chat_dialects import Said
from tests.support.chat_server import Fault, chat_server
from tests.support.series import loaded, qa_series

COUNT = 8


@pytest.fixture
def config(tmp_path: Path) -> SeriesConfig:
    """A series whose first experiment has answered three of eight questions."""
    with chat_server(lambda body: Said("12 stones")) as server:
        config = loaded(qa_series(tmp_path, server.url, COUNT))
        run_series(config, RunRequest(only=["steady"], limit=3, score=False))
    return config


def test_what_is_answered_already_is_not_asked_again_and_tells_the_speed(
    config: SeriesConfig,
) -> None:
    folder = config.outputs / "houses" / "steady"
    info = read_run(folder)
    assert info is not None
    load = {"prompt_tokens": 60, "shared_tokens": 0, "tokens": 15, "seconds": 1.0,
            "peak_bytes": None, "wall_seconds": 15.0}  # fmt: skip
    write_run(folder, replace(info, load=load))
    steady, shaky = plan_series(config, RunRequest())
    assert (steady.waiting, shaky.waiting) == (COUNT - 3, COUNT)
    # 75 tokens took 15 s: 0.2 s each; an answer has 5.
    assert steady.seconds == pytest.approx((steady.prompt_tokens + 5 * (COUNT - 3)) * 0.2)
    assert steady.rests_on == "what this experiment has answered so far"
    assert shaky.seconds is None


def test_a_cost_is_told_where_there_are_prices(config: SeriesConfig) -> None:
    path = config.outputs.parent / "series.yaml"
    priced = loaded(path, "experiments.shaky.engine.input_price=1000",
                    "experiments.shaky.engine.output_price=5000")  # fmt: skip
    plan = plan_series(priced, RunRequest(only=["shaky"]))[0]
    assert plan.most_tokens == COUNT * 16
    assert plan.cost == pytest.approx((plan.prompt_tokens * 1000 + plan.most_tokens * 5000) / 1e6)


def test_an_experiment_that_cannot_be_planned_says_why_and_the_others_are(
    config: SeriesConfig,
) -> None:
    path = config.outputs.parent / "series.yaml"
    broken = loaded(path, "retrieval={index: nowhere}", "experiments.shaky.retrieval=true")
    steady, shaky = plan_series(broken, RunRequest())
    assert (steady.left_out, steady.questions) == ("", COUNT)
    assert "nowhere" in shaky.left_out


def test_another_base_takes_the_place_of_checkpoints_alone(config: SeriesConfig) -> None:
    path = config.outputs.parent / "series.yaml"
    two = loaded(path, "experiments.tuned={engine: {kind: transformers, model: a/b}}")
    moved = configured(two, RunRequest(base="/models/here"))
    engine = moved.experiments["tuned"].engine
    assert isinstance(engine, TransformersSpec)
    assert engine.model == "/models/here"
    assert moved.experiments["steady"] == two.experiments["steady"]
    with pytest.raises(InputError, match="at least one"):
        configured(two, RunRequest(limit=0))


def test_a_model_that_is_not_there_is_said_before_anything_is_asked(
    config: SeriesConfig, tmp_path: Path
) -> None:
    path = config.outputs.parent / "series.yaml"
    engine = f"{{kind: llama, model: {tmp_path / 'gone'}}}"
    lacking = loaded(path, f"experiments.own={{engine: {engine}}}")
    steady, _, own = plan_series(lacking, RunRequest())
    assert steady.lacking == ""
    assert str(tmp_path / "gone") in own.lacking
    assert (own.waiting, own.seconds, own.rests_on) == (COUNT, None, "")


def test_what_is_asked_anew_is_in_the_plan(config: SeriesConfig) -> None:
    steady, shaky = plan_series(config, RunRequest(restart=True))
    assert (steady.waiting, shaky.waiting) == (COUNT, COUNT)


def test_what_failed_twice_is_asked_again_on_request_alone(tmp_path: Path) -> None:
    once = RunRequest(only=["shaky"], score=False)
    with chat_server(lambda body: Said("12 stones")) as server:
        config = loaded(qa_series(tmp_path, server.url, COUNT))
        server.faults_for["number 2?"] = deque([Fault("garbage")] * 9)
        run_series(config, once)
        run_series(config, once)
    assert plan_series(config, once)[0].waiting == 0
    assert plan_series(config, replace(once, retry=True))[0].waiting == 1
