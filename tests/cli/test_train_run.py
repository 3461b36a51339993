"""``loragraft train run``: what it prints, and with which code it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loragraft.cli.main import main
from loragraft.training.saving import save_config
from tests.support.training import small_config


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of two steps, in a file."""
    small = small_config(
        tmp_path / "data", optimiser={"max_steps": 2}, evaluation={"samples": 1, "every": 2}
    )
    save_config(small, tmp_path, tmp_path)
    return tmp_path / "training_config.yaml"


@pytest.fixture
def base(talking: Callable[[str], Path]) -> str:
    """A model of two layers."""
    return str(talking("llama"))


def call(*arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["train", "run", *map(str, arguments)])


def test_a_run_tells_its_figures_and_where_the_adapter_is(
    config: Path, base: str, tmp_path: Path
) -> None:
    done = call(config, "--base", base, "-o", tmp_path / "out", "--threads", 1)
    assert done.exit_code == 0, done.output
    assert "finished after 2 steps; the weights of step 2, by validation loss" in done.stdout
    assert "before" in done.stdout
    assert done.stdout.splitlines()[-1] == f"Adapter: {tmp_path / 'out' / 'small'}"
    assert "Training (2 steps)" in done.stderr
    again = call(config, "--base", base, "-o", tmp_path / "out")
    assert again.exit_code == 2
    assert "is there already" in again.stderr


def test_a_report_for_programs_is_json_alone(config: Path, base: str, tmp_path: Path) -> None:
    done = call(
        config, "--base", base, "-o", tmp_path / "out", "--id", "other", "--set",
        "optimiser.max_steps=1", "--set", "optimiser.warmup_steps=0", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["folder"] == str(tmp_path / "out" / "other")
    assert told["experiment_id"] == "other"
    assert told["hyper_parameters"]["steps"] == 1
    assert told["resumed_from"] == 0
    assert told["advice"]


def test_a_dry_run_shows_what_is_learnt_and_writes_nothing(
    config: Path, base: str, tmp_path: Path
) -> None:
    done = call(config, "--base", base, "-o", tmp_path / "out", "--dry-run")
    assert "17 examples" in done.stdout
    assert "⟦ lazy dogs" in done.stdout
    assert not (tmp_path / "out").exists()
    told = json.loads(call(config, "--base", base, "--dry-run", "--json").stdout)
    assert told["steps"] == 2
    assert told["shown"][0]["mode"] == "conversation"


def test_a_typo_is_told_before_anything_is_loaded(config: Path, tmp_path: Path) -> None:
    typo = call(config, "--set", "lora.rank=3", "--base", tmp_path / "nowhere")
    assert typo.exit_code == 2
    assert "--set: lora.rank is no key that there is." in typo.stderr
    gone = call(config, "--base", tmp_path / "nowhere")
    assert gone.exit_code == 2
    assert "nowhere does not exist" in gone.stderr


def test_missing_data_are_told_before_the_base_is_looked_for(config: Path, tmp_path: Path) -> None:
    missing = f"data.train=[{tmp_path / 'none.jsonl'}]"
    for more in ((), ("--dry-run",)):
        gone = call(config, "--set", missing, "--base", tmp_path / "nowhere", *more)
        assert gone.exit_code == 2
        assert "none.jsonl does not exist; the configuration names it as data." in gone.stderr
