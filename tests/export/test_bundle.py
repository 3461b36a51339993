"""What stands beside the GGUF files of a bundle."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loragraft.artifact.metadata import read_metadata
from loragraft.cli.main import main
from loragraft.export.job import run_export
from loragraft.export.request import ExportReport, ExportRequest
from loragraft.export.verify import verify_bundle
from tests.export.pico_llama import make_adapter, make_weights, save_base

WEIGHTS = make_weights(71)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base"), WEIGHTS)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tmp_path_factory.mktemp("adapter"), 72)


def export(base: Path, out: Path, *adapters: Path, name: str = "one") -> ExportReport:
    pairs = tuple((path, 1.0) for path in adapters)
    return run_export(ExportRequest(base, pairs, out, name, ("F16",), base_id="owner/pico"))


def front_matter(bundle: Path) -> dict[str, str]:
    lines = (bundle / "README.md").read_text().split("---\n")[1].splitlines()
    return dict(line.split(": ", 1) for line in lines if ": " in line)


def test_the_card_says_how_the_model_descends_and_runs(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    merged = export(base, tmp_path, adapter, name="with a space").bundle
    assert front_matter(merged)["base_model_relation"] == "finetune"
    text = (merged / "README.md").read_text()
    assert "ollama create 'with a space' -f Modelfile" in text
    assert "llama-cli -m 'with a space.F16.gguf'" in text
    alone = export(base, tmp_path, name="alone").bundle
    assert front_matter(alone)["base_model_relation"] == "quantized"
    assert "ollama create alone -f Modelfile" in (alone / "README.md").read_text()


def test_every_input_is_hashed(base: Path, adapter: Path, tmp_path: Path) -> None:
    metadata = read_metadata(export(base, tmp_path, adapter).bundle)

    def digests(folder: Path, *names: str) -> dict[str, str]:
        return {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names}

    assert metadata["base"]["shards"] == digests(base, "model.safetensors")
    assert metadata["base"]["files"] == digests(
        base, "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"
    )
    assert metadata["adapters"][0]["files"] == digests(adapter, "adapter_config.json")


def test_a_bundle_names_the_adapters_that_verifying_needs(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    bundle = export(base, tmp_path, adapter).bundle
    alone = {gate.name: gate for gate in verify_bundle(bundle, base=base).gates}
    assert alone["residual"].verdict == "skipped"
    assert f"{adapter.name}/adapter_model.safetensors" in alone["residual"].measured
    assert alone["tokenizer"].verdict == "pass"
    given = verify_bundle(bundle, base=base, adapters=[(adapter, 1.0)])
    assert {gate.verdict for gate in given.gates} == {"pass"}


@pytest.mark.parametrize("stated", [4096, 100_000, "many", -1, None])
def test_a_context_that_is_no_number_is_not_taken(
    stated: object, tmp_path: Path, base: Path
) -> None:
    """Of a checkpoint whose architecture does not say it better."""
    from loragraft.export.bundle import fill_bundle
    from loragraft.export.serving import Serving

    request = ExportRequest(base, (), tmp_path, "one")
    done = export(base, tmp_path / "done")
    folder = tmp_path / "staging"
    folder.mkdir()
    context: Any = stated
    inputs = {"kind": "export", "name": "one", "adapters": []}
    fill_bundle(
        folder, request, done, inputs, serving=Serving(("</s>",), "FROM ./x\n", ()), context=context
    )
    assert (folder / "Modelfile").read_text() == "FROM ./x\n"
    assert read_metadata(folder)["stops"] == ["</s>"]
    known = stated if type(stated) is int and stated > 0 else None
    assert read_metadata(folder)["context_length"] == known


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are text there")
def test_folders_whose_names_are_no_text(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    base = save_base(tmp_path / "b", WEIGHTS).rename(odd / os.fsdecode(b"b\xe9se"))
    adapter = make_adapter(tmp_path / "l", 73).rename(odd / os.fsdecode(b"l\xf6ra"))
    report = export(base, odd / "out", adapter)
    assert report.gates
    text = (report.bundle / "README.md").read_text(encoding="utf-8")
    assert r"l\udcf6ra/adapter_model.safetensors" in text
    metadata = read_metadata(report.bundle)
    assert metadata["adapters"][0]["name"] == "l\udcf6ra/adapter_model.safetensors"
    command = ["export", "verify", str(report.bundle), "--base", str(base), "--adapter",
               str(adapter), "--json"]  # fmt: skip
    checked = CliRunner().invoke(main, command)
    assert checked.exit_code == 0, checked.output
    assert json.loads(checked.stdout)["bundle"] == str(report.bundle)
