"""Whatever changed or was left between two runs, a bundle is of the inputs that were given."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from loragraft.artifact.progress import Silent
from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.errors import CheckFailedError, UnsupportedError
from loragraft.export.job import run_export
from loragraft.export.request import ExportReport, ExportRequest

PicoAdapter = Callable[..., Path]


class StopError(Exception):
    """The export is stopped in the middle of its writing."""


class Stopper(Silent):
    """Stops once so many bytes of the files are written."""

    def __init__(self, enough: int) -> None:
        """Say how many."""
        self.left, self.writing = enough, False

    def begin(self, stage: str, total: int) -> None:
        """Note whether files are written now."""
        self.writing = stage.startswith("Writing")

    def advance(self, count: int) -> None:
        """Count, and stop."""
        self.left -= count if self.writing else 0
        if self.left < 0:
            raise StopError


def request(base: Path, adapters: list[Path], out: Path, **options: Any) -> ExportRequest:  # noqa: ANN401
    options.setdefault("quants", ("F32",))
    return ExportRequest(base, tuple((a, 1.0) for a in adapters), out, "model", **options)


def copy(adapter: Path, folder: Path, **config: object) -> Path:
    shutil.copytree(adapter, folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return folder


def content(report: ExportReport) -> bytes:
    return (report.bundle / report.files[0].name).read_bytes()


def verdicts(report: ExportReport) -> dict[str, str]:
    return {gate.name: gate.verdict for gate in report.gates}


@pytest.mark.parametrize("change", [None, {"lora_alpha": 32}, {"use_rslora": True}])
def test_an_export_resumes_only_with_the_same_configuration(
    change: dict[str, object] | None,
    pico: Callable[[str], Path],
    pico_adapter: PicoAdapter,
    tmp_path: Path,
) -> None:
    base, adapter = pico("llama"), copy(pico_adapter("llama"), tmp_path / "adapter")
    stopped = request(base, [adapter], tmp_path / "out")
    with pytest.raises(StopError):
        run_export(stopped, Stopper(2_000_000))
    if change is not None:
        shutil.rmtree(adapter)
        copy(pico_adapter("llama"), adapter, **change)
    report = run_export(stopped)
    assert (report.resumed_tensors == 0) == (change is not None)
    assert content(report) == content(run_export(request(base, [adapter], tmp_path / "fresh")))


def test_a_base_of_the_same_size_and_time_is_another(
    pico: Callable[[str], Path], tmp_path: Path
) -> None:
    first, second = (Path(shutil.copytree(pico("llama"), tmp_path / name)) for name in "ab")
    with pytest.raises(StopError):
        run_export(request(first, [], tmp_path / "out"), Stopper(2_000_000))
    weights = bytearray((second / "model.safetensors").read_bytes())
    weights[-2] ^= 1  # the last digit of the last value
    (second / "model.safetensors").write_bytes(weights)
    stat = (first / "model.safetensors").stat()
    os.utime(second / "model.safetensors", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run_export(request(second, [], tmp_path / "out")).resumed_tensors == 0


def test_what_a_killed_run_left_in_the_staging_folder_is_not_published(
    pico: Callable[[str], Path], tmp_path: Path
) -> None:
    stopped = request(pico("llama"), [], tmp_path / "out")
    with pytest.raises(StopError):
        run_export(stopped, Stopper(2_000_000))
    left = tmp_path / "out" / ".model.scratch"
    left.mkdir()
    (left / "base-logits.f32").write_bytes(b"x")
    report = run_export(stopped)
    assert report.resumed_tensors > 0
    assert not [path for path in report.bundle.iterdir() if path.is_dir()]
    assert not left.exists()


@pytest.mark.slow
def test_a_merged_folder_that_a_killed_run_left_is_made_anew(
    pico: Callable[[str], Path], pico_adapter: PicoAdapter, tmp_path: Path
) -> None:
    left = tmp_path / "out" / ".model.merged"
    left.mkdir(parents=True)
    (left / "chat_template.jinja").write_text("stale")
    (left / "model.safetensors.index.json").write_text('{"weight_map": {"a": "gone"}}')
    report = run_export(
        request(pico("llama"), [pico_adapter("llama")], tmp_path / "out", engine="peft")
    )
    with GgufFile(report.bundle / "model.F32.gguf") as file:
        assert "stale" not in file.get("tokenizer.chat_template")
    assert not left.exists()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["stream", "peft"])
def test_of_several_adapters_the_last_tokenizer_counts(
    engine: str, pico: Callable[[str], Path], pico_adapter: PicoAdapter, tmp_path: Path
) -> None:
    base = pico("llama")
    first = copy(pico_adapter("llama"), tmp_path / "first")
    for name in ("tokenizer.model", "tokenizer.json", "tokenizer_config.json"):
        if (base / name).exists():
            shutil.copy(base / name, first)
    (first / "chat_template.jinja").write_text("{{ messages[0]['content'] }} of the first")
    second = copy(pico_adapter("llama"), tmp_path / "second")
    report = run_export(request(base, [first, second], tmp_path / "out", engine=engine))
    with GgufFile(report.bundle / "model.F32.gguf") as file:
        assert file.get("tokenizer.chat_template") == "{{ messages[0]['content'] }} of the first"


def test_a_base_alone_is_read_back(pico: Callable[[str], Path], tmp_path: Path) -> None:
    report = run_export(request(pico("llama"), [], tmp_path, quants=("Q8_0",)))
    gates = verdicts(report)
    assert (gates["effect"], gates["residual"]) == ("skipped", "pass")


@pytest.mark.slow
def test_an_adapter_that_peft_merges_to_nothing_is_refused(
    pico: Callable[[str], Path], pico_adapter: PicoAdapter, tmp_path: Path
) -> None:
    base = pico("llama")
    adapter = copy(pico_adapter("llama", peft_type="LOHA"), tmp_path / "idle")
    weights = load_file(adapter / "adapter_model.safetensors")
    idle = {name: np.zeros_like(value) for name, value in weights.items()}
    save_file(idle, adapter / "adapter_model.safetensors")
    with pytest.raises(CheckFailedError, match="PEFT's merge changed no matrix"):
        run_export(request(base, [adapter], tmp_path / "out"))
    assert not (tmp_path / "out" / "model").exists()


@pytest.mark.slow
def test_rows_that_peft_changed_are_found_wherever_they_are(
    pico: Callable[[str], Path], pico_adapter: PicoAdapter, tmp_path: Path
) -> None:
    adapter = pico_adapter("llama-bias", target_modules=["q_proj"], trainable_token_indices=[401])
    report = run_export(request(pico("llama-bias"), [adapter], tmp_path, engine="peft"))
    effect = next(gate for gate in report.gates if gate.name == "effect")
    assert effect.verdict == "pass"
    assert effect.details["tensors"] == 4  # q of three layers, and the embedding


@pytest.mark.parametrize("initialised", ["lora_ga", "corda"])
def test_an_adapter_that_no_merge_can_carry_is_refused(
    initialised: str, pico: Callable[[str], Path], pico_adapter: PicoAdapter, tmp_path: Path
) -> None:
    adapter = copy(pico_adapter("llama"), tmp_path / "a", init_lora_weights=initialised)
    for engine in ("auto", "peft"):
        with pytest.raises(UnsupportedError, match="No merged model does what it was trained to"):
            run_export(request(pico("llama"), [adapter], tmp_path / "out", engine=engine))


@pytest.mark.parametrize("options", [{"prove": True}, {"verify": "full"}])
def test_gates_that_need_peft_refuse_mlx_before_anything_is_written(
    options: dict[str, Any], pico: Callable[[str], Path], tmp_path: Path
) -> None:
    adapter = tmp_path / "mlx"
    adapter.mkdir()
    name = "model.layers.0.self_attn.q_proj"
    factors = {f"{name}.lora_a": np.ones((256, 4), np.float32) / 64,
               f"{name}.lora_b": np.ones((4, 256), np.float32) / 64}  # fmt: skip
    save_file(factors, adapter / "adapters.safetensors")
    config = {"fine_tune_type": "lora", "lora_parameters": {"rank": 4, "scale": 2.0}}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedError, match="is an MLX adapter"):
        run_export(request(pico("llama"), [adapter], tmp_path / "out", **options))
    assert not (tmp_path / "out").exists()
    healthy = run_export(request(pico("llama"), [adapter], tmp_path / "out"))
    assert healthy.engine == "stream"
