"""The notebook, executed by Jupyter's own client on a pico model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from loragraft.adapter.fetch import check_folder, fetch
from loragraft.adapter.verify import VerifyRequest, verify_adapter
from loragraft.artifact.progress import Silent
from loragraft.export.bundle import training_facts
from loragraft.training.config import TrainConfig
from loragraft.training.log import read_log
from loragraft.training.notebook.state import pack_unfinished
from loragraft.training.notebook.write import NotebookRequest, write_notebook
from loragraft.training.run import train
from tests.training.notebook.building import make_config

ROOT = Path(__file__).parents[3]
SMALL: Mapping[str, Any] = {
    "prompt": {"closed_book": 1.0},
    "lora": {"r": 2, "targets": "attention"},
    "optimiser": {"batch": 4, "accumulation": 2, "epochs": 2, "learning_rate": 0.01,
                  "max_length": 128},
    "evaluation": {"samples": 1, "sample_tokens": 4, "log_every": 1},
    "reporters": [],
}  # fmt: skip
TOKEN = "hf_" + "s" * 34
NO_ENGINE = 'raise ImportError("the engine that runs GGUF files is not installed here")\n'


def write(config: TrainConfig, folder: Path, **more: Any) -> Path:  # noqa: ANN401
    return write_notebook(NotebookRequest(config, folder, install="", **more)).path


def execute(path: Path, work: Path, monkeypatch: pytest.MonkeyPatch, **settings: object) -> str:
    """Run a notebook in a folder; return what its cells print.

    Args:
        path: The notebook.
        work: Where it runs.
        monkeypatch: Sets the kernel's environment.
        settings: Values for the cell of settings, in place of its own.
    """
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    [cell] = [cell for cell in book.cells if cell.id == "settings"]
    for name, value in settings.items():
        assert f"{name} = " in cell.source
        cell.source += f"\n{name} = {value!r}"
    blocked = work / "without-engine"
    blocked.mkdir(parents=True, exist_ok=True)
    (blocked / "llama_cpp.py").write_text(NO_ENGINE)  # as the notebook installs it
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(blocked), str(ROOT / "src")]))
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(work / "jupyter"))
    client = NotebookClient(  # a busy machine is no failure
        book, timeout=3600, startup_timeout=600, resources={"metadata": {"path": str(work)}}
    )
    client.execute()
    nbformat.write(book, work / "executed.ipynb")
    return "".join(
        output.get("text", "") for cell in book.cells for output in cell.get("outputs", ())
    )


class Disconnect(Silent):
    """Ends the session at the last evaluation, with one checkpoint behind it."""

    def note(self, text: str) -> None:
        """Stop there."""
        if text.startswith("Step 6:"):
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_notebook_goes_on_packs_and_is_fetched(
    tmp_path: Path, talking: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, work = talking("llama"), tmp_path / "work"
    config = make_config(tmp_path / "data", **SMALL)
    path = write(config, tmp_path / "notebooks")
    unbroken = train(config, tmp_path / "unbroken", base=str(base), threads=1)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "first", base=str(base), threads=1, progress=Disconnect())
    work.mkdir()
    assert pack_unfinished(tmp_path / "first", "words-lora", work) is not None

    said = execute(path, work, monkeypatch, BASE=str(base), MORE=["--threads", "1"])
    assert f"Going on from {work}" in said
    assert not (work / "words-lora_unfinished.tar").exists()
    fetched = fetch(str(work / "words-lora.tar.gz"), tmp_path / "words-lora").folder
    weights = "adapter_model.safetensors"
    assert (fetched / weights).read_bytes() == (unbroken.folder / weights).read_bytes()
    report = verify_adapter(VerifyRequest(fetched, base=base, base_name="owner/pico"))
    assert report.verdict.value == "pass", report.findings
    assert check_folder(fetched) == []
    assert training_facts(fetched)["dataset_tag"] == "words"

    assert "words-lora: finished after 6 steps" in said
    assert "Samples after step" in said
    log = read_log(fetched)
    assert [e.step for e in log.evaluations] == [0, 3, 6]
    executed = (work / "executed.ipynb").read_text(encoding="utf-8")
    assert executed.count('"image/png"') == 1
    assert TOKEN not in executed
    assert "\\u001b" not in executed
