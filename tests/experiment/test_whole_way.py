"""The shipped series of 0.5B models, whole: a server that speaks Ollama's API, and this process.

The configuration is the shipped one to the letter. Its models are picos of the same architecture
under the names that it gives: two on the server, one in the Hub's cache with an adapter beside it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loragraft.artifact.child import child_environment
from loragraft.artifact.jsonl import read_jsonl
from loragraft.cli.main import main
from tests.support.ollama_server import OllamaStandIn
from tests.support.pico import build_adapter
from tests.support.science import SCIENCE, build_science
from tests.support.shared import build_once
from tests.support.sources import ROOT

SERIES = "configs/science_0p5.yaml"
ARMS = ("rag_baseline_0p5", "lora_science_0p5_ft", "hybrid_science_0p5")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
QUESTIONS = 90

pytestmark = pytest.mark.xdist_group("whole-series")


@pytest.fixture(scope="module")
def base(shared_folder: Path) -> Path:
    """The pico that stands for Qwen/Qwen2.5-0.5B-Instruct."""
    return build_once(shared_folder / "science" / "base", build_science)


@pytest.fixture(scope="module")
def workspace(base: Path, static_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with all that the series expects but the server's models."""
    folder = tmp_path_factory.mktemp("workspace")
    invoke("init", folder)
    shutil.copytree(SCIENCE / "splits", folder / "evaluation/datasets/splits", dirs_exist_ok=True)
    invoke("rag", "index", SCIENCE / "papers.jsonl", "-o", folder / "outputs/indexes/science",
           "--embedder", static_folder, "--chunk-tokens", "32")  # fmt: skip
    build_adapter(base, folder / "outputs/adapters/lora_science_0p5", target_modules=["v_proj"])
    repository = folder / "hub-home/hub/models--Qwen--Qwen2.5-0.5B-Instruct"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(COMMIT)
    shutil.copytree(base, repository / "snapshots" / COMMIT)
    return folder


@pytest.fixture(scope="module")
def server(
    base: Path, workspace: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OllamaStandIn]:
    """A server with the plain model and the merged one."""
    folder = tmp_path_factory.mktemp("server")
    with OllamaStandIn(folder / "store") as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORAGRAFT_STATE", str(folder / "state"))
        patch.setenv("OLLAMA_HOST", found.url)
        adapter = workspace / "outputs/adapters/lora_science_0p5"
        for name, *merged in (("qwen2.5:0.5b-instruct",), ("qwen2.5-0.5b-science-lora", adapter)):
            bundle = str(len(merged))
            invoke("export", "merge-and-quantize", base, *merged, "-o", folder / "exports",
                   "--name", bundle, "--quant", "Q8_0")  # fmt: skip
            invoke("ollama", "register", folder / "exports" / bundle, "--name", name)
        yield found


def invoke(*words: str | Path) -> str:
    """Run a command in this process; return what it prints."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.stdout


def run(workspace: Path, server: OllamaStandIn, *words: str, code: int = 0) -> str:
    """Run a command in a process of its own, where the Hub's client reads its settings anew."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    clean.pop("CLOUD_EVAL_API_KEY", None)
    done = subprocess.run(
        [sys.executable, "-m", "loragraft", *words],
        cwd=workspace,
        env={**child_environment(), **{k: clean[k] for k in clean if k != "PYTHONPATH"},
             "OLLAMA_HOST": server.url, "HF_HOME": str(workspace / "hub-home"),
             "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if "--json" in words else done.stdout + done.stderr


def samples(workspace: Path, arm: str) -> list[dict[str, Any]]:
    """Return an arm's samples."""
    folder = workspace / "outputs/experiments/science_0p5" / arm
    return [line.values for line in read_jsonl(folder / "samples.jsonl")]


@pytest.mark.slow
def test_the_shipped_series_runs_whole(workspace: Path, server: OllamaStandIn) -> None:
    assert (workspace / SERIES).read_bytes() == (ROOT / SERIES).read_bytes()
    said = run(workspace, server, "experiment", "run", SERIES)
    assert "cloud_eval_v1" in said  # left out, and said so: there is no key
    for arm in ARMS:
        found = samples(workspace, arm)
        assert len({sample["question_id"] for sample in found}) == len(found) == QUESTIONS
        assert {sample["status"] for sample in found} == {"ok"}, arm
        assert len({sample["answer"] for sample in found}) > 1
        assert all(bool(sample["shown"]) == (arm != ARMS[1]) for sample in found)
    report = json.loads(run(workspace, server, "experiment", "report", SERIES, "--json"))
    text = json.dumps(report)
    for arm in ARMS:
        assert arm in text
    assert "NaN" not in text

    server.requests.clear()
    again = run(workspace, server, "experiment", "run", SERIES, "--json")
    assert not [path for _, path in server.requests if path in ("/api/chat", "/api/generate")]
    states = {arm["name"]: arm["state"] for arm in json.loads(again)["experiments"]}
    assert states == {**dict.fromkeys(ARMS, "kept"), "cloud_eval_v1": "left out"}
    alone = run(workspace, server, "experiment", "run", SERIES, "--only", "rag_baseline_v1")
    assert "rag_baseline_0p5" in alone
