"""Both engines on the same adapters: what the stream makes is what PEFT's merge makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.errors import AdapterError, CheckFailedError, UnsupportedError
from loragraft.export.job import run_export
from loragraft.export.request import ExportReport, ExportRequest

pytestmark = pytest.mark.slow

TOLERANCE = 2e-6
"""Both add in float32; PEFT may sum in another order."""

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "patterns": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"down_proj": 64}},
    "layers": {"layers_to_transform": [1]},
    "bias-all": {"bias": "all"},
    "lora-bias": {"lora_bias": True, "target_modules": ["q_proj", "k_proj", "v_proj"]},
    "saved-head": {"modules_to_save": ["lm_head"]},
    "saved-both": {"modules_to_save": ["lm_head", "embed_tokens"]},
    "embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "token-rows": {"trainable_token_indices": [3, 17, 42]},
}
"""Options of PEFT's LoraConfig; the base has attention biases and an output head of its own."""


def export(
    base: Path,
    adapters: list[tuple[Path, float]],
    out: Path,
    **options: Any,  # noqa: ANN401
) -> ExportReport:
    options.setdefault("quants", ("F32",))
    return run_export(ExportRequest(base, tuple(adapters), out, "model", **options))


def tensors(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    with GgufFile(path) as file:
        return {name: file.rows(name).copy() for name in file.tensors}


def difference(left: Path, right: Path) -> dict[str, float]:
    ours, theirs = tensors(left), tensors(right)
    assert ours.keys() == theirs.keys()
    far = {name: float(np.abs(ours[name] - theirs[name]).max()) for name in ours}
    return {name: value for name, value in far.items() if value > TOLERANCE}


@pytest.mark.parametrize("name", OPTIONS)
def test_stream_equals_peft(
    name: str, pico: Callable[[str], Path], pico_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    base = pico("llama-bias")
    adapter = pico_adapter("llama-bias", **OPTIONS[name])
    stream = export(base, [(adapter, 1.0)], tmp_path / "s", engine="stream")
    peft = export(base, [(adapter, 1.0)], tmp_path / "p", engine="peft")
    assert stream.engine == "stream"
    assert peft.engine == "peft"
    assert difference(stream.bundle / "model.F32.gguf", peft.bundle / "model.F32.gguf") == {}


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "gemma3", "phi3", "mistral"])
def test_every_family(
    family: str, pico: Callable[[str], Path], pico_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    base, adapter = pico(family), pico_adapter(family)
    stream = export(base, [(adapter, 1.0)], tmp_path / "s", prove=True)
    peft = export(base, [(adapter, 1.0)], tmp_path / "p", engine="peft")
    assert difference(stream.bundle / "model.F32.gguf", peft.bundle / "model.F32.gguf") == {}
    gates = {gate.name: gate.verdict for gate in stream.gates}
    assert gates["prove"] == "pass"
    assert gates["effect"] == "pass"
    assert gates["tokenizer"] == "pass"
    assert gates["load"] == "pass"


def test_scaled_adapters_add_up(
    pico: Callable[[str], Path], pico_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    base, first = pico("llama"), pico_adapter("llama")
    second = pico_adapter("llama", use_rslora=True)
    both = [(first, 0.5), (second, -0.25)]
    stream = export(base, both, tmp_path / "s", prove=True)
    peft = export(base, both, tmp_path / "p", engine="peft")
    assert difference(stream.bundle / "model.F32.gguf", peft.bundle / "model.F32.gguf") == {}
    assert [g.verdict for g in stream.gates if g.name == "prove"] == ["pass", "pass"]


def test_a_changed_embedding_is_untied(
    pico: Callable[[str], Path], pico_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    base = pico("llama-tied")
    adapter = pico_adapter("llama-tied", target_modules=["q_proj", "embed_tokens"])
    report = export(base, [(adapter, 1.0)], tmp_path / "s")
    found = tensors(report.bundle / "model.F32.gguf")
    alone = tensors(export(base, [], tmp_path / "b").bundle / "model.F32.gguf")
    assert "output.weight" not in alone
    assert np.array_equal(found["output.weight"], alone["token_embd.weight"])
    assert not np.array_equal(found["token_embd.weight"], alone["token_embd.weight"])
    assert any("untied" in warning for warning in report.warnings)


def test_other_types_go_through_peft(
    pico: Callable[[str], Path], pico_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    base, adapter = pico("llama"), pico_adapter("llama", peft_type="LOHA")
    report = export(base, [(adapter, 1.0)], tmp_path / "s", prove=True)
    assert report.engine == "peft"
    assert "LOHA" in report.engine_reason.upper()
    with pytest.raises(UnsupportedError, match="--engine peft"):
        export(base, [(adapter, 1.0)], tmp_path / "t", engine="stream")


def test_an_adapter_of_another_base_is_refused(
    pico: Callable[[str], Path], pico_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    adapter = pico_adapter("llama")
    with pytest.raises((AdapterError, CheckFailedError), match=r"width|shape|base"):
        export(pico("llama-narrow"), [(adapter, 1.0)], tmp_path / "out")
    assert not (tmp_path / "out" / "model").exists()


def test_several_types_in_one_reading(
    pico: Callable[[str], Path], pico_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    base, adapter = pico("llama"), pico_adapter("llama")
    quants = ("Q4_K_M", "Q8_0", "BF16", "F32")
    report = export(base, [(adapter, 1.0)], tmp_path / "many", quants=quants)
    assert [file.quant for file in report.files] == list(quants)
    for quant in quants:
        one = export(base, [(adapter, 1.0)], tmp_path / quant, quants=(quant,))
        name = f"model.{quant}.gguf"
        assert (one.bundle / name).read_bytes() == (report.bundle / name).read_bytes()
    text = (report.bundle / "Modelfile").read_text()
    assert text.startswith("FROM ./model.Q4_K_M.gguf\n")
