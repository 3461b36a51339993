"""Every fault is made for real at the stage where it would occur, and that stage is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from loragraft.checkpoint.gguf_chat import read_chat_facts
from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.export.architectures import permute_rows, unpermute_rows
from loragraft.export.job import run_export
from loragraft.export.merge import merge_into
from loragraft.export.request import ExportRequest
from loragraft.trace.report import StageReport, TraceReport
from tests.support.pico import build_pico
from tests.trace.conftest import Chain
from tests.trace.editing import edit_checkpoint, edit_gguf, seal

OTHER_TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}[assistant]"
)
HEADS, HEADS_KV, LAYERS = 8, 4, 3
"""Of a pico llama."""
Build = Callable[[str], Chain]


def stage(report: TraceReport, key: str) -> StageReport:
    return next(found for found in report.stages if found.key == key)


def codes(report: TraceReport, key: str = "quantized") -> list[str]:
    return [cause.code for cause in stage(report, key).causes]


def assert_guilty(report: TraceReport, key: str, code: str, aspect: str, *words: str) -> None:
    """Check the stage, its cause, the cell, the headline, and that no stage before is blamed."""
    guilty = report.guilty
    assert guilty is not None
    assert (guilty.key, guilty.causes[0].code) == (key, code), report.headline
    assert guilty.cells[aspect].verdict == "parts"  # type: ignore[index]
    assert report.headline.startswith(f"parts at: {guilty.title}: {guilty.causes[0].cause}")
    assert guilty.causes[0].fix
    for word in words:
        assert word in report.headline
    assert len(guilty.causes) == 1, guilty.causes


def spoil(chain: Chain, out: Path, items: dict[str, Any]) -> Path:
    return edit_gguf(chain.gguf(), out / "spoilt.gguf", items)


def test_a_swapped_template(chain: Build, tmp_path: Path) -> None:
    found = chain("qwen3")
    path = spoil(found, tmp_path, {"tokenizer.chat_template": OTHER_TEMPLATE})
    report = found.trace(path)
    assert_guilty(report, "quantized", "template_swapped", "text", "'[user] What is", "became")
    cells = stage(report, "quantized").cells
    assert cells["ids"].verdict == "parts"
    assert cells["ids"].detail.endswith("as the texts differ")
    assert cells["distribution"].verdict == "same"


def test_a_lost_template(chain: Build, tmp_path: Path) -> None:
    found = chain("qwen3")
    report = found.trace(spoil(found, tmp_path, {"tokenizer.chat_template": None}))
    assert_guilty(report, "quantized", "template_missing", "text")


def test_a_template_in_other_words_is_none(chain: Build, tmp_path: Path) -> None:
    found = chain("llama")
    template = read_chat_facts(found.gguf()).template
    same = {"tokenizer.chat_template": "{# the same, said otherwise #}" + str(template)}
    assert found.trace(spoil(found, tmp_path, same)).healthy


@pytest.mark.parametrize(("family", "other"), [("llama", "<unk>"), ("qwen3", "<|endoftext|>")])
def test_a_lost_stop_token(chain: Build, tmp_path: Path, family: str, other: str) -> None:
    found = chain(family)
    token = read_chat_facts(found.gguf()).vocabulary.index(other)
    report = found.trace(spoil(found, tmp_path, {"tokenizer.ggml.eos_token_id": token}))
    assert_guilty(report, "quantized", "stop_lost", "stopping", repr(other))


def test_a_stop_token_that_llama_cpp_does_not_know_either(chain: Build, tmp_path: Path) -> None:
    found = chain("llama")
    with GgufFile(found.gguf()) as file:
        tokens = file.get("tokenizer.ggml.tokens")
        types = file.get("tokenizer.ggml.token_type")
    tokens[1], types[1] = "<finis>", 1  # </s> renamed: its text alone would give it away
    items = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types,
             "tokenizer.ggml.eos_token_id": 3}  # fmt: skip
    report = found.trace(spoil(found, tmp_path, items))
    lost = next(c for c in stage(report, "quantized").causes if c.code == "stop_lost")
    assert "in training also at '</s>' (1)" in lost.evidence
    assert "writes that token and goes on (probe 'one turn')" in lost.evidence
    answer = stage(report, "quantized").answers[0]
    assert (answer.finish, stage(report, "adapter").answers[0].finish) == ("length", "stop")
    assert {"vocabulary", "stop_lost"} <= set(codes(report))


def test_a_bos_doubled_by_the_template(chain: Build, tmp_path: Path) -> None:
    found = chain("mistral")
    template = "{{ bos_token }}" + str(read_chat_facts(found.gguf()).template)
    report = found.trace(spoil(found, tmp_path, {"tokenizer.chat_template": template}))
    assert_guilty(report, "quantized", "bos_doubled", "ids", "begin with '<s>' twice")


def test_a_bos_doubled_by_the_file(chain: Build, tmp_path: Path) -> None:
    found = chain("llama3")
    facts = read_chat_facts(found.gguf())
    assert not facts.add_bos
    report = found.trace(spoil(found, tmp_path, {"tokenizer.ggml.add_bos_token": True}))
    assert_guilty(report, "quantized", "bos_doubled", "ids", "add_bos_token is true")


def other_base(name: str, folder: Path) -> Path:
    """Write the same model with unrelated weights."""
    import torch

    torch.manual_seed(7)
    base = build_pico(name, folder)
    from safetensors.torch import load_file, save_file

    tensors = load_file(base / "model.safetensors")
    shuffled = {
        key: value[torch.randperm(len(value))] if value.ndim == 2 else value
        for key, value in tensors.items()
    }
    save_file(shuffled, base / "model.safetensors", {"format": "pt"})
    return base


def test_another_base_in_the_merged_checkpoint(chain: Build, tmp_path: Path) -> None:
    found = chain("pico-llama")
    merged = tmp_path / "merged"
    merge_into(other_base("llama", tmp_path / "other"), ((found.adapter, 1.0),), merged)
    bundle = run_export(ExportRequest(merged, (), tmp_path, "out", ("Q8_0",), threads=1)).bundle
    report = found.trace(bundle, merged=merged)
    assert_guilty(report, "merged", "wrong_base", "distribution", "nothing to do with the base's")
    quantized = stage(report, "quantized")
    assert [cause.code for cause in quantized.inherited] == ["wrong_base"]
    assert quantized.cells["distribution"].verdict == "as before"


def test_another_base_in_the_gguf_alone(chain: Build, tmp_path: Path) -> None:
    found = chain("pico-llama")
    other = other_base("llama", tmp_path / "other")
    adapters = ((found.adapter, 1.0),)
    bundle = run_export(ExportRequest(other, adapters, tmp_path, "out", threads=1)).bundle
    report = found.trace(bundle, unquantized=found.gguf("F16"))
    assert_guilty(report, "quantized", "wrong_base", "distribution")


def reorder(
    found: Chain, out: Path, change: Callable[[NDArray[Any], int], NDArray[Any]], quant: str
) -> Path:
    """Write a file with its query and key rows in another order."""

    def turn(heads: int) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
        return lambda raw: change(raw, heads)

    tensors = {
        f"blk.{layer}.attn_{part}.weight": turn(heads)
        for layer in range(LAYERS)
        for part, heads in (("q", HEADS), ("k", HEADS_KV))
    }
    return edit_gguf(found.gguf(quant), out / f"spoilt.{quant}.gguf", {}, tensors)


@pytest.mark.parametrize(
    ("family", "change", "words"),
    [
        ("pico-llama", unpermute_rows, "not permuted"),
        ("pico-llama", permute_rows, "permuted twice"),
        ("pico-qwen3", permute_rows, "rows are permuted"),
    ],
)
def test_query_and_key_rows_in_another_order(
    chain: Build,
    tmp_path: Path,
    family: str,
    change: Any,  # noqa: ANN401
    words: str,
) -> None:
    found = chain(family)
    report = found.trace(reorder(found, tmp_path, change, "Q4_K_M"))
    assert_guilty(report, "quantized", "qk_rows", "distribution", words, "6 tensors")


def test_rows_unordered_before_quantization_are_the_float_files_fault(
    chain: Build, tmp_path: Path
) -> None:
    found = chain("pico-llama")
    floats = reorder(found, tmp_path, unpermute_rows, "F16")
    quantized = reorder(found, tmp_path, unpermute_rows, "Q8_0")
    report = found.trace(quantized, unquantized=floats)
    assert_guilty(report, "unquantized", "qk_rows", "distribution", "not permuted")
    assert [cause.code for cause in stage(report, "quantized").inherited] == ["qk_rows"]


def test_a_wrong_rope_theta_in_the_file(chain: Build, tmp_path: Path) -> None:
    found = chain("pico-llama")
    report = found.trace(spoil(found, tmp_path, {"llama.rope.freq_base": 500000.0}))
    assert_guilty(
        report, "quantized", "rope_theta", "distribution", "is 500000", "config.json says 10000"
    )


def test_a_rope_theta_that_the_file_leaves_out(chain: Build, tmp_path: Path) -> None:
    found = chain("llama")
    assert found.trace(spoil(found, tmp_path, {"llama.rope.freq_base": None})).healthy  # default


def test_a_wrong_rope_theta_in_the_merged_checkpoint(chain: Build, tmp_path: Path) -> None:
    found = chain("pico-llama")
    merge_into(found.base, ((found.adapter, 1.0),), tmp_path / "right")
    rope = {"rope_type": "default", "rope_theta": 1e6}
    merged = edit_checkpoint(tmp_path / "right", tmp_path / "merged", rope_theta=1e6,
                             rope_parameters=rope)  # fmt: skip
    report = found.trace(merged=merged)
    assert_guilty(report, "merged", "rope_theta", "distribution", "1e+06")
    assert not codes(report)  # the bundle was made of the right one
    assert stage(report, "quantized").cells["distribution"].verdict == "same"


def test_a_replaced_pre_tokenizer(chain: Build, tmp_path: Path) -> None:
    found = chain("qwen3")
    report = found.trace(spoil(found, tmp_path, {"tokenizer.ggml.pre": "gpt-2"}))
    assert_guilty(report, "quantized", "pre_tokenizer", "ids", "'gpt-2'", "'qwen2'", "at token")


@pytest.mark.parametrize("where", ["merged", "quantized"])
def test_an_adapter_merged_twice(chain: Build, tmp_path: Path, where: str) -> None:
    found = chain("pico-llama")
    twice = tmp_path / "twice"
    merge_into(found.base, ((found.adapter, 1.0), (found.adapter, 1.0)), twice, dtype="float32")
    bundle = run_export(ExportRequest(twice, (), tmp_path, "out", threads=1)).bundle
    if where == "merged":
        report = found.trace(bundle, merged=twice)
        assert [c.code for c in stage(report, "quantized").inherited] == ["adapter_twice"]
    else:
        report = found.trace(bundle, unquantized=found.gguf("F16"))
    assert_guilty(report, where, "adapter_twice", "distribution", "the adapter is merged twice")


def test_an_adapter_that_is_not_merged(chain: Build, tmp_path: Path) -> None:
    found = chain("pico-llama")
    bundle = run_export(ExportRequest(found.base, (), tmp_path, "out", threads=1)).bundle
    report = found.trace(bundle)
    assert_guilty(report, "quantized", "adapter_missing", "distribution", "k = ")


def test_a_relative_of_the_base(chain: Build, tmp_path: Path) -> None:
    found = chain("pico-llama")
    from safetensors.torch import load_file, save_file

    relative = tmp_path / "relative"
    shutil.copytree(found.base, relative)
    tensors = load_file(relative / "model.safetensors")
    import torch

    torch.manual_seed(1)
    moved = {k: v + 0.3 * v.std() * torch.randn_like(v) for k, v in tensors.items()}
    save_file(moved, relative / "model.safetensors", {"format": "pt"})
    adapters = ((found.adapter, 1.0),)
    bundle = run_export(
        ExportRequest(relative, adapters, tmp_path, "out", ("Q8_0",), threads=1)
    ).bundle
    report = found.trace(bundle)
    assert_guilty(report, "quantized", "related_base", "distribution", "farther from base")


def test_two_faults_at_two_stages(chain: Build, tmp_path: Path) -> None:
    found = chain("pico-llama")
    floats = edit_gguf(found.gguf("F16"), tmp_path / "f.gguf", {"llama.rope.freq_base": 5e5})
    both = {"llama.rope.freq_base": 5e5, "tokenizer.chat_template": OTHER_TEMPLATE}
    report = found.trace(spoil(found, tmp_path, both), unquantized=floats)
    assert_guilty(report, "unquantized", "rope_theta", "distribution", "; 1 more below")
    assert codes(report) == ["template_swapped"]
    assert [c.code for c in stage(report, "quantized").inherited] == ["rope_theta"]


def test_two_faults_at_one_stage(chain: Build, tmp_path: Path) -> None:
    found = chain("pico-llama")
    both = {"llama.rope.freq_base": 5e5, "tokenizer.chat_template": OTHER_TEMPLATE}
    report = found.trace(spoil(found, tmp_path, both))
    assert codes(report) == ["template_swapped", "rope_theta"]


def test_a_phi3_under_a_name_that_llama_cpp_does_not_know(chain: Build, tmp_path: Path) -> None:
    found = chain("phi3")
    report = found.trace(spoil(found, tmp_path, {"general.name": "my model"}))
    assert_guilty(report, "quantized", "model_name", "ids", "'my model'")


def test_a_broken_checksum_is_said_first(chain: Build, tmp_path: Path) -> None:
    found = chain("llama")
    bundle = tmp_path / "bundle"
    shutil.copytree(found.bundle, bundle)
    path = bundle / found.gguf().name
    edit_gguf(found.gguf(), path, {"llama.rope.freq_base": 5e5})
    report = found.trace(bundle)
    assert "has SHA-256" in report.notes[0]
    assert codes(report) == ["rope_theta", "checksum"]
    seal(bundle)
    assert codes(found.trace(bundle)) == ["rope_theta"]


def test_a_damaged_file_ends_its_own_stage_only(chain: Build, tmp_path: Path) -> None:
    found = chain("llama")
    path = tmp_path / "cut.gguf"
    path.write_bytes(found.gguf().read_bytes()[:-5000])
    report = found.trace(path)
    assert_guilty(report, "quantized", "cannot_run", "distribution", "truncated")
    assert json.dumps(report.to_json())
