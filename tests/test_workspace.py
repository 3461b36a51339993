"""A workspace: everything in its place, and nothing that was there lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from loragraft.cli.init import init
from loragraft.errors import InputError, OutOfSpaceError
from loragraft.experiment.arms.opening import score_prompt
from loragraft.experiment.config import Experiment, ScorePrompt, load_series
from loragraft.training.config import load_config
from loragraft.workspace import FOLDERS, make_workspace

ROOT = Path(__file__).resolve().parents[1]


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_workspace_has_all_configurations_and_every_one_of_them_loads(tmp_path: Path) -> None:
    made = make_workspace(tmp_path / "new")
    shipped = {f"configs/{name}": data for name, data in contents(ROOT / "configs").items()}
    found = contents(tmp_path / "new")
    assert shipped.items() <= found.items()
    assert set(made.written) == set(found)
    assert all((tmp_path / "new" / name).is_dir() for name in FOLDERS)
    configs = tmp_path / "new" / "configs"
    for path in sorted(configs.glob("*.yaml")):
        if path.name != "default.yaml":
            series = load_series(path)
            assert series.outputs == tmp_path / "new" / "outputs" / "experiments"
    for path in sorted((configs / "training").glob("*.yaml")):
        load_config(path)
    splits = load_series(configs / "demo.yaml").data.splits
    assert (splits / "science_manifest.json").is_file()


def test_what_is_there_stays_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo.yaml").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine too")
    made = make_workspace(tmp_path, examples=False)
    assert made.kept == ("configs/demo.yaml",)
    assert (tmp_path / "configs" / "demo.yaml").read_text() == "mine"
    assert (tmp_path / "notes.txt").read_text() == "mine too"
    assert not (tmp_path / "examples").exists()
    again = make_workspace(tmp_path, examples=False)
    assert (again.written, again.kept, again.same) == ((), made.kept, made.written)


def test_by_force_the_old_file_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    make_workspace(tmp_path, examples=False)
    (tmp_path / "configs" / "demo.yaml").write_text("first")
    one = make_workspace(tmp_path, examples=False, force=True)
    assert one.replaced == (("configs/demo.yaml", "demo.yaml.old"),)
    (tmp_path / "configs" / "demo.yaml").write_text("second")
    two = make_workspace(tmp_path, examples=False, force=True)
    assert two.replaced == (("configs/demo.yaml", "demo.yaml.old2"),)
    configs = tmp_path / "configs"
    assert (configs / "demo.yaml.old").read_text() == "first"
    assert (configs / "demo.yaml.old2").read_text() == "second"
    assert (configs / "demo.yaml").read_bytes() == (ROOT / "configs" / "demo.yaml").read_bytes()


def test_a_link_to_nowhere_is_kept_and_a_file_in_the_way_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").symlink_to(tmp_path / "nowhere")
    assert make_workspace(tmp_path, examples=False).kept == ("README.md",)
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="is no folder"):
        make_workspace(tmp_path / "taken")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "outputs").write_text("")
    with pytest.raises(InputError, match="a file stands in its way"):
        make_workspace(tmp_path / "half", examples=False)


def test_on_a_full_disk_the_old_file_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_workspace(tmp_path, examples=False)
    (tmp_path / "configs" / "demo.yaml").write_text("mine")

    def full(path: Path, data: bytes) -> None:
        raise OutOfSpaceError("The disk is full.")

    monkeypatch.setattr("loragraft.workspace.write_atomically", full)
    with pytest.raises(OutOfSpaceError):
        make_workspace(tmp_path, examples=False, force=True)
    assert (tmp_path / "configs" / "demo.yaml").read_text() == "mine"


def test_the_command_says_what_it_does_and_a_dry_run_does_nothing(tmp_path: Path) -> None:
    target = tmp_path / "new"
    dry = CliRunner().invoke(init, [str(target), "--dry-run", "--json"])
    assert (dry.exit_code, target.exists()) == (0, False)
    report = json.loads(dry.stdout)
    assert "configs/science_0p5.yaml" in report["written"]
    done = CliRunner().invoke(init, [str(target), "--no-examples"])
    assert done.exit_code == 0
    assert done.stdout.startswith("Wrote ")
    (target / "configs" / "demo.yaml").write_text("mine")
    again = CliRunner().invoke(init, [str(target), "--no-examples"])
    assert "configs/demo.yaml differ" in again.stderr
    forced = CliRunner().invoke(init, [str(target), "--no-examples", "--force"])
    assert "the old one is demo.yaml.old" in forced.stdout


@pytest.mark.parametrize(("series", "ids"), [
    ("science_0p5", {"rag_baseline_0p5", "lora_science_0p5_ft", "hybrid_science_0p5",
                     "cloud_eval_v1"}),
    ("science_3b", {"rag_baseline_3b", "lora_science_3b_ft", "hybrid_science_3b",
                    "cloud_eval_v1"}),
    ("lora_science_v1_ollama", {"hybrid_science_0p5"}),
    ("lora_science_3b_ollama", {"hybrid_science_3b"}),
    ("demo", {"rag_baseline_smollm2", "lora_science_smollm2_ft", "hybrid_science_smollm2"}),
])  # fmt: skip
def test_a_series_has_exactly_its_experiments(series: str, ids: set[str]) -> None:
    config = load_series(ROOT / "configs" / f"{series}.yaml")
    assert set(config.experiments) == ids
    assert config.seed == 20251101
    optional = {name for name, one in config.experiments.items() if one.optional}
    assert optional == ids & {"cloud_eval_v1"}
    assert config.resolve("rag_baseline_v1") == (config.baseline if len(ids) > 1 else None)


def prompt(name: str) -> ScorePrompt:
    """Return a scoring prompt as shipped."""
    path = ROOT / "configs" / "scoring" / f"{name}.yaml"
    engine = {"kind": "llama", "model": "m"}
    return score_prompt(
        Experiment.model_validate({"task": "score", "scoring": path, "engine": engine})
    )


def test_the_two_generations_of_the_scoring_prompt_are_those_of_the_protocol() -> None:
    one, two = prompt("v1"), prompt("v2")
    assert (one.chat, one.parser, one.temperature, one.max_tokens) == (False, "float", 0.1, 50)
    assert (two.chat, two.parser, two.temperature, two.max_tokens) == (True, "staged", 0.01, 10)
    assert (one.examples, two.examples > 0, "Only number" in two.template) == (0, True, True)
