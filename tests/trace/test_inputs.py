"""What a trace is given may be missing, swapped, of another kind, or too large."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from loragraft.artifact import space
from loragraft.checkpoint.bundle import open_model
from loragraft.errors import AdapterError, BundleError, CheckpointError, InputError
from loragraft.trace import training
from loragraft.trace.chain import trace_chain
from loragraft.trace.request import TraceRequest
from tests.support.pico import build_adapter
from tests.trace.conftest import Chain

Build = Callable[[str], Chain]


def test_base_and_adapter_swapped(chain: Build) -> None:
    found = chain("qwen3")
    request = replace(found.request(), base=found.adapter, adapter=found.base)
    with pytest.raises((AdapterError, CheckpointError), match=r"adapter|config\.json"):
        trace_chain(request)


def test_a_bundle_as_base(chain: Build) -> None:
    found = chain("qwen3")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        trace_chain(replace(found.request(), base=found.bundle))


def test_an_adapter_as_bundle(chain: Build) -> None:
    with pytest.raises(BundleError, match="It is an adapter"):
        open_model(chain("qwen3").adapter)


def test_an_adapter_of_another_model(chain: Build) -> None:
    found, other = chain("qwen3"), chain("pico-llama")
    with pytest.raises(AdapterError):
        trace_chain(replace(found.request(), adapter=other.adapter))


def test_a_bundle_with_an_adapter_needs_it(chain: Build) -> None:
    with pytest.raises(InputError, match=r"was merged with .*but no adapter is given"):
        trace_chain(replace(chain("qwen3").request(), adapter=None))


def test_a_bundle_of_two_adapters_is_refused(chain: Build) -> None:
    request = chain("qwen3").request()
    metadata = {**request.model.metadata, "adapters": [{"name": "a"}, {"name": "b"}]}
    with pytest.raises(InputError, match=r"merged from 2 adapters \(a, b\)"):
        trace_chain(replace(request, model=replace(request.model, metadata=metadata)))


@pytest.mark.parametrize("option", ["merged", "unquantized"])
def test_a_path_that_is_not_there(chain: Build, tmp_path: Path, option: str) -> None:
    missing: dict[str, Path] = {option: tmp_path / "gone"}
    with pytest.raises(InputError, match=f"given by --{option}, is not there"):
        chain("qwen3").trace(**missing)


def test_a_merged_folder_that_is_none(chain: Build, tmp_path: Path) -> None:
    report = chain("qwen3").trace(merged=tmp_path)
    assert report.guilty is not None
    assert (report.guilty.key, report.guilty.causes[0].code) == ("merged", "cannot_run")


def test_a_bundle_of_another_architecture(chain: Build) -> None:
    report = chain("qwen3").trace(chain("pico-llama").gguf())
    assert report.guilty is not None
    assert "architecture" in {cause.code for cause in report.guilty.causes}


def test_without_torch_the_rest_is_still_compared(
    chain: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = chain("qwen3")
    monkeypatch.setattr(training, "PACKAGES", ("torch_that_nobody_has",))
    report = found.trace()
    assert report.healthy, report.headline
    base, adapter, _, floats, quantized, _ = report.stages
    assert 'pip install "loragraft[peft]"' in adapter.notes[0]
    assert base.cells["distribution"].verdict == "not seen"
    assert floats.cells["distribution"].verdict == "first"
    assert quantized.cells["distribution"].verdict == "same"
    assert quantized.cells["ids"].verdict == "same"


def test_too_little_memory_leaves_out_what_does_not_fit(
    chain: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = chain("qwen3")
    monkeypatch.setattr(space, "available_memory", lambda: 1 << 20)
    report = found.trace()
    assert report.healthy, report.headline
    assert "1.0 MiB are available" in report.stages[1].notes[0]


def test_no_template_anywhere(chain: Build, tmp_path: Path) -> None:
    from loragraft.export.job import run_export
    from loragraft.export.request import ExportRequest

    base = tmp_path / "base"
    shutil.copytree(chain("qwen3").base, base)
    for path in base.glob("chat_template*"):
        path.unlink()
    config = base / "tokenizer_config.json"
    import json

    settings = {k: v for k, v in json.loads(config.read_text()).items() if k != "chat_template"}
    config.write_text(json.dumps(settings))
    adapter = build_adapter(base, tmp_path / "adapter")
    for path in adapter.glob("chat_template*"):
        path.unlink()
    adapters = ((adapter, 1.0),)
    bundle = run_export(ExportRequest(base, adapters, tmp_path, "out", ("Q8_0",), threads=1)).bundle
    report = trace_chain(
        TraceRequest(base, adapter, open_model(bundle), build=False, tokens=4, threads=1)
    )
    assert report.healthy, report.headline
    assert any("No chat template anywhere" in note for note in report.notes)
