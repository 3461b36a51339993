"""``loragraft train``: help, refusals and exit codes, as a person or a script meets them."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from loragraft.cli import train_notebook, train_run
from loragraft.cli.main import main
from loragraft.cli.train import COMMANDS
from loragraft.dataset.split.load import load_split
from tests.training.notebook.building import make_split

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "peft", "bitsandbytes", "numpy", "matplotlib", "pydantic",
         "yaml", "jinja2", "nbformat", "rich")  # fmt: skip
CONFIG = """\
experiment_id: words-lora
base: owner/pico
data: {tag: words, splits: splits, corpus: papers.jsonl}
prompt: {closed_book: 1.0}
lora: {r: 2, targets: attention}
optimiser: {batch: 4, accumulation: 2}
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["train", *map(str, arguments)])


def refused(result: Result, code: int, words: str) -> None:
    assert result.exit_code == code, result.output
    assert words in result.output
    assert "Traceback" not in result.output
    assert result.stdout == ""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration beside its split."""
    make_split(tmp_path)
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=lambda c: c and c[0])
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys\nfrom loragraft.cli.main import main\ntry:\n"
        f"    main(['train', *{command!r}, '--help'])\n"
        f"finally:\n    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    listed = [name for name in COMMANDS if f"  {name} " in done.stdout]
    assert (listed == sorted(COMMANDS)) == (command == [])


def test_what_it_writes_and_reads_goes_by_one_name() -> None:
    assert train_run.OUTPUTS == train_notebook.ADAPTERS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_configuration_that_is_none_is_refused(command: str, tmp_path: Path) -> None:
    refused(run(command, tmp_path / "none.yaml"), 2, "none.yaml cannot be read")
    refused(run(command), 2, "Missing argument")
    broken = tmp_path / "broken.yaml"
    broken.write_text("experiment_id: x\nbase: a/b\ndata: {tag: t}\nlora: {rank: 4}\n")
    refused(run(command, broken), 2, "line 4: lora.rank is no key that there is")


@pytest.mark.parametrize("command", ["run", "plan", "notebook"])
@pytest.mark.parametrize(
    ("change", "words"),
    [("lora.rank=4", "lora.rank"), ("lora.r", "lora.r"), ("lora.r=many", "many"),
     ("experiment_id=../x", "../x")],
)  # fmt: skip
def test_a_change_that_does_not_fit_is_refused(
    command: str, change: str, words: str, config: Path
) -> None:
    refused(run(command, config, "--set", change), 2, words)


def test_data_that_is_not_there_is_named(config: Path) -> None:
    (config.parent / "papers.jsonl").unlink()
    refused(run("notebook", config), 2, "papers.jsonl does not exist")
    (config.parent / "splits" / "words_train.jsonl").write_text("{}\n")
    refused(run("notebook", config), 2, "words_train.jsonl is not the file that its manifest names")
    (config.parent / "splits" / "words_manifest.json").unlink()
    refused(run("notebook", config), 2, "words_manifest.json does not exist")


def test_a_base_that_is_not_here_is_unavailable(config: Path) -> None:
    result = run("run", config)
    refused(result, 3, "owner/pico")


def test_a_notebook_is_written_and_told(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "notebooks"
    done = run("notebook", config, "-o", out, "--install", "git+https://example.org/x.git")
    assert done.exit_code == 0, done.output
    assert f"Written: {out / 'words-lora.ipynb'}" in done.stdout
    assert "Data: inside" in done.stdout
    assert f"Configuration: {config}" in done.stderr
    again = run("notebook", config, "-o", out, "--install", "git+https://example.org/x.git")
    assert f"Unchanged: {out / 'words-lora.ipynb'}" in again.stdout
    refused(run("notebook", config, "-o", out), 2, "is there already and differs. Give --replace")
    told: dict[str, Any] = json.loads(
        run("notebook", config, "-o", out, "--replace", "--data", "beside", "--json").stdout
    )
    assert told["changed"] is True
    assert told["data"] == str(out / "words-lora_data.zip")
    assert told["data_bytes"] == (out / "words-lora_data.zip").stat().st_size


def test_the_example_becomes_a_notebook(tmp_path: Path) -> None:
    config = ROOT / "configs" / "training" / "smollm2_science.yaml"
    done = run("notebook", config, "-o", tmp_path, "--data", "beside", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert all(size["fits"] for size in told["sizes"].values())
    assert sorted(told["sizes"]) == ["P100", "T4"]
    with zipfile.ZipFile(told["data"]) as archive:
        held = {name: archive.read(name).decode() for name in archive.namelist()}
    split = load_split(ROOT / "examples" / "science" / "splits", "science")
    assert held["splits/science_train.jsonl"] == split.files["train"].read_text(encoding="utf-8")
    everything = "".join(held.values())
    lines = split.files["test"].read_text(encoding="utf-8").splitlines()
    questions = [json.dumps(json.loads(line)["question"]) for line in lines]
    assert not [question for question in questions if question in everything]


def test_a_notebook_for_a_trained_adapter_goes_by_its_id(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trained = Path("outputs/adapters/other")
    trained.mkdir(parents=True)
    text = CONFIG.replace("words-lora", "other").replace(
        "splits: splits", "splits: ../../../splits"
    )
    text = text.replace("papers.jsonl", "../../../papers.jsonl")
    (trained / "training_config.yaml").write_text(text)
    done = run("notebook", "other", "--platform", "kaggle", "--id", "third")
    assert done.exit_code == 0, done.output
    text = Path("notebooks/finetuning/third.ipynb").read_text(encoding="utf-8")
    assert "On Kaggle" in text
    assert "On Colab" not in text
    refused(run("notebook", "fourth"), 2, "There is no experiment 'fourth'")
    refused(run("notebook", "other", "--platform", "here"), 2, "'here' is not one of")


def test_a_notebook_needs_a_base_that_others_have(config: Path, tmp_path: Path) -> None:
    result = run("notebook", config, "--set", f"base={tmp_path}", "-o", tmp_path / "out")
    refused(result, 2, "Name the repository with --base")
    done = run("notebook", config, "--set", f"base={tmp_path}", "-o", tmp_path / "out", "--base",
               "owner/other")  # fmt: skip
    assert done.exit_code == 0, done.output
