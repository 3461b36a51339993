"""The whole way by commands: split, train, verify with probe, export, a bundle to register."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loragraft.artifact.metadata import read_metadata
from loragraft.cli.main import main
from loragraft.dataset.split.load import load_split

ROOT = Path(__file__).parents[2]
SCIENCE = ROOT / "examples" / "science"
CONFIG = f"""\
extends: {json.dumps(str(ROOT / "configs" / "training" / "smollm2_science.yaml"))}
experiment_id: pico_science
base: someone/pico
data: {{splits: splits, corpus: {json.dumps(str(SCIENCE / "papers.jsonl"))},
       max_train: 24, max_validation: 6}}
prompt: {{passages: [2, 2], passage_tokens: 64}}
optimiser: {{epochs: 2, max_length: 512}}
evaluation: {{samples: 1, sample_tokens: 8, log_every: 2}}
reporters: []
"""


def run(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.mark.slow
def test_from_a_split_to_a_bundle_that_can_be_registered(
    tmp_path: Path, talking: Callable[[str], Path]
) -> None:
    base, outputs = talking("llama"), tmp_path / "adapters"
    run("dataset", "split", SCIENCE / "tasks.jsonl", "--tag", "science", "--seed", "20251101",
        "-o", tmp_path / "splits", "--no-leaks")  # fmt: skip
    (tmp_path / "run.yaml").write_text(CONFIG, encoding="utf-8")
    trained = run("train", "run", tmp_path / "run.yaml", "--base", base, "-o", outputs,
                  "--threads", "1")  # fmt: skip
    adapter = outputs / "pico_science"
    assert f"Adapter: {adapter}" in trained.stdout

    metadata = read_metadata(adapter)
    split = load_split(tmp_path / "splits", "science")
    assert (metadata["dataset_tag"], metadata["split_seed"]) == ("science", split.seed)
    digests = {part["sha256"] for part in split.manifest["files"].values()}
    test = split.manifest["files"]["test"]["sha256"]
    told = json.dumps(metadata["dataset"])
    assert {digest for digest in digests if digest in told} == digests - {test}

    report = json.loads(
        run("adapter", "verify", adapter, "--base", base, "--probe", "--json").stdout
    )
    assert report["counts"]["fail"] == 0, report["first_line"]
    assert any(finding["code"].startswith("probe") for finding in report["findings"])
    run("adapter", "fetch", adapter, "--check")

    run("export", "merge-and-quantize", base, adapter, "-o", tmp_path / "exports", "--name",
        "pico-science", "--quant", "Q8_0")  # fmt: skip
    bundle = tmp_path / "exports" / "pico-science"
    carried = read_metadata(bundle)
    for key in ("dataset_tag", "split_seed", "hyper_parameters", "training_runtime",
                "evaluation_summary"):  # fmt: skip
        assert carried[key] == metadata[key]
    run("export", "verify", bundle, "--base", base, "--adapter", adapter)
    modelfile = run("ollama", "modelfile", bundle).stdout
    assert "TEMPLATE" in modelfile
