"""The gates of an export: which are passed, before writing and after, and what each one catches."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from loragraft.artifact.progress import Silent
from loragraft.checkpoint.model import Checkpoint
from loragraft.export.gates import GateResult
from loragraft.export.judging import gates_after, gates_before, load_gates
from loragraft.export.prepare import lay_out
from loragraft.export.request import ExportedFile, ExportRequest
from tests.export.pico_llama import (
    Weights,
    deltas,
    make_adapter,
    make_weights,
    merged_weights,
    save_base,
    write_model,
)

BASE = make_weights(91)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base"), BASE)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tmp_path_factory.mktemp("adapter"), 92)


def before(base: Path, adapter: Path) -> dict[str, GateResult]:
    request = ExportRequest(base, ((adapter, 1.0),), base.parent, "model")
    with Checkpoint(base) as checkpoint:
        return {gate.name: gate for gate in gates_before(request, checkpoint)}


def after(
    base: Path, adapter: Path, folder: Path, *written: tuple[str, Weights], peft: bool = False
) -> dict[str, GateResult]:
    """Judge files that were written without the code under test.

    With ``peft`` the layout is that of a merged checkpoint, as PEFT's engine leaves it.
    """
    files = []
    for quant, weights in written:
        path = write_model(folder / f"model.{quant}.gguf", weights, quant)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files.append(ExportedFile(path.name, quant, path.stat().st_size, digest, 8.5, {}, {}))
    request = ExportRequest(base, ((adapter, 1.0),), folder, "model", threads=1)
    with ExitStack() as stack:
        original = stack.enter_context(Checkpoint(base))
        if peft:
            whole = save_base(folder / "merged", merged_weights(BASE, deltas(adapter)))
            layout = lay_out(stack.enter_context(Checkpoint(whole)), (), ("Q8_0",), stack)
        else:
            layout = lay_out(original, request.adapters, ("Q8_0",), stack)
        gates = gates_after(request, original, layout, files, folder, folder, Silent())
    return {gate.name: gate for gate in gates}


def test_a_healthy_adapter_passes_before_writing(base: Path, adapter: Path) -> None:
    gates = before(base, adapter)
    assert {gate.verdict for gate in gates.values()} <= {"pass", "warn"}
    assert gates["values.nonfinite"].verdict == "pass"


def test_a_broken_adapter_fails_before_writing(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", 92, r=16)
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    next(iter(tensors.values()))[1, 1] = np.nan
    save_file(tensors, path)
    gates = before(base, adapter)
    assert {name for name, gate in gates.items() if gate.blocks} == {"rank", "values.nonfinite"}
    assert "1 values NaN or Inf" in gates["values.nonfinite"].measured
    assert gates["values.nonfinite"].next_step


def test_keys_of_other_types_are_left_to_peft(base: Path, tmp_path: Path) -> None:
    arrays = {
        f"base_model.model.model.layers.0.mlp.up_proj.hada_{name}": np.ones((2, 2), np.float32)
        for name in ("w1_a", "w1_b")
    }
    adapter = make_adapter(tmp_path / "adapter", 92, peft_type="LOHA")
    save_file(arrays, adapter / "adapter_model.safetensors")
    assert not any(name.startswith("keys.") for name in before(base, adapter))


@pytest.mark.parametrize("peft", [False, True], ids=["stream", "peft"])
def test_the_merge_is_read_back(base: Path, adapter: Path, tmp_path: Path, peft: bool) -> None:
    right = merged_weights(BASE, deltas(adapter))
    twice = merged_weights(BASE, deltas(adapter), 2.0)
    (tmp_path / "one").mkdir()
    gates = after(base, adapter, tmp_path / "one", ("Q8_0", right), peft=peft)
    assert {name: gate.verdict for name, gate in gates.items()} == dict.fromkeys(
        ("effect", "residual", "load", "tokenizer"), "pass"
    ), gates
    (tmp_path / "two").mkdir()
    gates = after(base, adapter, tmp_path / "two", ("Q8_0", twice), peft=peft)
    assert gates["effect"].verdict == "fail"
    assert "merged twice" in gates["effect"].measured


def test_each_of_several_files_is_judged_by_itself(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    right = merged_weights(BASE, deltas(adapter))
    gates = after(base, adapter, tmp_path, ("F16", right), ("Q8_0", BASE))
    assert gates["effect"].measured.startswith("Q8_0: k = ")
    assert "the adapter is not merged" in gates["effect"].measured


def test_a_file_that_does_not_load_is_a_failed_gate(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF")
    (gate,) = load_gates(path, base, 1)
    assert (gate.name, gate.verdict) == ("load", "fail")
    assert "cannot load" in gate.measured


def test_another_tokenizer_is_a_failed_gate(base: Path, tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf", BASE, "Q8_0")
    other = tmp_path / "other"
    other.mkdir()
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    vocab["he"] = vocab.pop("qz")
    tokenizer["model"]["merges"] = [["h", "e"]]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    gates = {gate.name: gate for gate in load_gates(path, base, 1)}
    assert gates["tokenizer"].verdict == "pass"
    gates = {gate.name: gate for gate in load_gates(path, other, 1)}
    assert gates["tokenizer"].verdict == "fail"
    assert "texts differ, for instance" in gates["tokenizer"].measured
