"""Every failure that the command promises to find is found, with its reason in the first line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from loragraft.adapter.findings import Severity
from loragraft.adapter.verify import VerifyReport, VerifyRequest, verify_adapter
from loragraft.errors import AdapterError, CheckpointError, InputError
from tests.adapter.builders import PREFIX, Arrays, lora_arrays, write_adapter, write_base
from tests.adapter.merging import merge_into, randomise

Q0 = f"{PREFIX}model.layers.0.self_attn.q_proj"
HEAD = {f"{PREFIX}lm_head.weight": np.ones((128, 64), np.float32)}
QWEN2_SHAPE = {
    "hidden_size": 896, "num_attention_heads": 14, "num_key_value_heads": 2,
    "intermediate_size": 4864, "num_hidden_layers": 24, "vocab_size": 151936,
    "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"],
}  # fmt: skip
"""Of Qwen2.5-0.5B."""


def small(arrays: Arrays | None = None) -> Arrays:
    """Return factors of a size that training gives: the change is a few per cent of the weights."""
    found = lora_arrays() if arrays is None else arrays
    return {key: value * np.float32(0.02) for key, value in found.items()}


def changed(changes: Arrays) -> Arrays:
    return {**small(), **changes}


def filled(part: str, value: float) -> Arrays:
    return {k: np.full_like(v, value) if part in k else v for k, v in small().items()}


def without(part: str) -> Arrays:
    return {key: value for key, value in small().items() if part not in key}


@dataclass
class Case:
    """One broken adapter, and the code of the finding that must fail."""

    code: str
    arrays: Arrays | None = None
    config: dict[str, Any] = field(default_factory=dict)
    base: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    spoil: Callable[[Path, Path], object] | None = None


def truncate(adapter: Path, base: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def keep_header(adapter: Path, base: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: 8 + int.from_bytes(content[:8], "little")])


def empty(adapter: Path, base: Path) -> None:
    (adapter / "adapter_model.safetensors").write_bytes(b"")


def bloat_header(adapter: Path, base: Path) -> None:
    header = json.dumps({f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
                         for n in range(450_000)}).encode()  # fmt: skip
    content = len(header).to_bytes(8, "little") + header
    (adapter / "adapter_model.safetensors").write_bytes(content)


def break_config(adapter: Path, base: Path) -> None:
    (adapter / "adapter_config.json").write_text("{")


def remove_weights(adapter: Path, base: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()


def add_large_tokenizer(adapter: Path, base: Path) -> None:
    write_tokenizer(adapter, 130)


def write_tokenizer(folder: Path, size: int, shift: int = 0) -> None:
    vocabulary = {f"token{number}": (number + shift) % size for number in range(size)}
    content = {"model": {"type": "BPE", "vocab": vocabulary, "merges": []}, "added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(content))


def say_rslora(adapter: Path, base: Path) -> None:
    (adapter / "training.yaml").write_text("lora:\n  r: 4\n  use_rslora: true\n")


def pack_base(adapter: Path, base: Path) -> None:
    tensors: dict[str, np.ndarray] = load_file(base / "model.safetensors")
    tensors["model.layers.0.self_attn.q_proj.qweight"] = np.zeros((8, 64), np.int32)
    save_file(tensors, base / "model.safetensors")


def merge_twice(adapter: Path, base: Path) -> None:
    once = merge_into(base, adapter, base.parent / "merged")
    (once / "model.safetensors").replace(base / "model.safetensors")


BROKEN: dict[str, Case] = {
    "other width": Case("fingerprint.hidden", small(lora_arrays(width=0.5))),
    "deeper": Case("fingerprint.deeper", small(lora_arrays(layers=3))),
    "shallower": Case("depth", base={"layers": 3}),
    "lying name": Case("name.size", request={"source_name": "reddit-4b-think"}),
    "config claims another base": Case(
        "claim.shape", config={"base_model_name_or_path": "Qwen/Qwen2.5-1.5B-Instruct"}),
    "zero B": Case("effect.zero", filled("lora_B", 0.0)),
    "NaN": Case("values.nonfinite", filled("layers.1.self_attn.q_proj.lora_A", np.nan)),
    "Inf": Case("values.nonfinite", filled("layers.0.self_attn.v_proj.lora_B", np.inf)),
    "truncated": Case("file.header", spoil=truncate),
    "header only": Case("file.header", spoil=keep_header),
    "empty file": Case("file.header", spoil=empty),
    "huge header": Case("file.header", spoil=bloat_header),
    "no weights": Case("file.missing", spoil=remove_weights),
    "broken config": Case("file.config", spoil=break_config),
    "config PEFT refuses": Case("file.config", config={"r": "four"}),
    "other prefix": Case(
        "keys.unknown", {key.removeprefix(PREFIX): value for key, value in small().items()}),
    "A without B": Case("keys.unknown", without("layers.0.self_attn.q_proj.lora_B")),
    "rank_pattern": Case("rank", config={"rank_pattern": {"v_proj": 2}}),
    "rsLoRA flag lost": Case("rslora.lost", spoil=say_rslora),
    "modules_to_save in the file only": Case(
        "saved.undeclared", changed({f"{PREFIX}score.weight": HEAD[f"{PREFIX}lm_head.weight"]})),
    "modules_to_save in the config only": Case(
        "saved.missing", config={"modules_to_save": ["lm_head"]}),
    "quantized base": Case("base.quantized", base={
        "quantization_config": {"quant_method": "gptq", "bits": 4}}),
    "base that hides its quantization": Case("base.packed", spoil=pack_base),
    "merged twice": Case(
        "merged.already", {key: value * np.float32(0.1) for key, value in lora_arrays().items()},
        spoil=merge_twice),
    "large tokenizer": Case("tokenizer.size", spoil=add_large_tokenizer),
    "endless pattern": Case("unchecked", config={"target_modules": "((l|m|o|d|e|.)+)+!"}),
}  # fmt: skip


def verified(folder: Path, case: Case) -> VerifyReport:
    adapter = write_adapter(folder / "adapter", case.arrays or small(), **case.config)
    base = randomise(write_base(folder / "base", **case.base))
    if case.spoil is not None:
        case.spoil(adapter, base)
    return verify_adapter(VerifyRequest(adapter, base, **case.request))


@pytest.mark.parametrize("name", BROKEN)
def test_each_broken_adapter_fails_with_its_reason(name: str, tmp_path: Path) -> None:
    case = BROKEN[name]
    report = verified(tmp_path, case)
    finding = next(f for f in report.findings if f.code == case.code)
    assert finding.severity is Severity.FAIL
    assert finding.next_step
    assert report.verdict is Severity.FAIL
    assert report.first_line.startswith("FAIL ")
    assert "\n" not in report.first_line
    assert report.to_json()["verdict"] == "fail"


@pytest.mark.parametrize("strict", [False, True])
def test_a_healthy_adapter_is_silent(strict: bool, tmp_path: Path) -> None:
    report = verified(tmp_path, Case("", request={"strict": strict}))
    assert [str(f) for f in report.findings if f.severity is not Severity.PASS] == []
    assert report.first_line == f"PASS {len(report.findings)} checks"


def test_the_real_example_is_silent(example_adapter: Path, smollm2_checkpoint: Path) -> None:
    request = VerifyRequest(
        example_adapter, smollm2_checkpoint, "HuggingFaceTB/SmolLM2-135M-Instruct",
        "smollm2-135m-science", strict=True,
    )  # fmt: skip
    report = verify_adapter(request)
    assert [str(f) for f in report.findings if f.severity is not Severity.PASS] == []
    codes = {finding.code for finding in report.findings}
    assert {"values.nonfinite", "fingerprint.width", "coverage", "name.size", "merged.already",
            "claim.name", "file.size", "targets.missing"} <= codes  # fmt: skip


def test_the_real_example_fails_against_a_qwen2_shaped_base(
    example_adapter: Path, tmp_path: Path
) -> None:
    base = write_base(tmp_path / "qwen2", layers=2, **QWEN2_SHAPE)
    line = verify_adapter(VerifyRequest(example_adapter, base)).first_line
    assert line.startswith("FAIL fingerprint.hidden: found hidden width 576 in the adapter")
    assert "expected 896, the base's hidden_size" in line


@pytest.mark.parametrize("part", ["lora_A", "lora_B"])
def test_without_values_none_is_read(part: str, tmp_path: Path) -> None:
    report = verified(tmp_path, Case("", filled(part, np.nan), request={"values": False}))
    assert report.verdict is Severity.PASS
    assert not {"values.nonfinite", "effect.zero", "merged.already"} & {
        finding.code for finding in report.findings
    }


def test_findings_stand_worst_first(tmp_path: Path) -> None:
    case = Case("", small(lora_arrays(width=0.5)), request={"base_name": "someone/else"})
    severities = [finding.severity.value for finding in verified(tmp_path, case).findings]
    assert severities == sorted(severities, key=["fail", "warn", "pass"].index)
    assert set(severities) == {"fail", "warn", "pass"}


def test_strict_makes_a_warning_a_failure(tmp_path: Path) -> None:
    case = Case("", request={"base_name": "someone/else"})
    assert verified(tmp_path / "a", case).verdict is Severity.WARN
    case.request["strict"] = True
    report = verified(tmp_path / "b", case)
    assert report.verdict is Severity.FAIL
    assert report.first_line.startswith("FAIL claim.name")


def test_a_broken_config_does_not_hide_a_broken_file(tmp_path: Path) -> None:
    def spoil(adapter: Path, base: Path) -> None:
        truncate(adapter, base)
        break_config(adapter, base)

    failing = [f.code for f in verified(tmp_path, Case("", spoil=spoil)).findings
               if f.severity is Severity.FAIL]  # fmt: skip
    assert failing == ["file.config", "file.header"]


def test_a_broken_file_does_not_hide_what_lies_beside_it(tmp_path: Path) -> None:
    def spoil(adapter: Path, base: Path) -> None:
        truncate(adapter, base)
        say_rslora(adapter, base)
        (adapter / "train.jsonl").write_text("{}\n")

    codes = {f.code for f in verified(tmp_path, Case("", spoil=spoil)).findings}
    assert {"file.header", "rslora.lost", "leftovers.data"} <= codes


def test_a_whole_model_is_no_adapter(tmp_path: Path) -> None:
    report = verify_adapter(VerifyRequest(write_base(tmp_path / "base")))
    assert report.first_line.startswith("FAIL file.missing")
    assert "whole model" in report.first_line


@pytest.mark.parametrize("name", ["adapter.gguf", "adapter.zip", "adapter.npz"])
def test_other_files_are_named_for_what_they_are(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    report = verify_adapter(VerifyRequest(tmp_path / name))
    code = "file.missing" if name.endswith(".npz") else "file.format"
    assert [f.code for f in report.findings] == [code]


def test_a_trainers_output_is_followed(tmp_path: Path) -> None:
    write_adapter(tmp_path / "out" / "checkpoint-20", small())
    report = verify_adapter(VerifyRequest(tmp_path / "out"))
    finding = next(f for f in report.findings if f.code == "file.location")
    assert "checkpoint-20" in finding.measured


def test_unusable_input_is_an_error(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    with pytest.raises(AdapterError, match="does not exist"):
        verify_adapter(VerifyRequest(tmp_path / "none"))
    with pytest.raises(CheckpointError):
        verify_adapter(VerifyRequest(adapter, adapter))
    with pytest.raises(InputError, match="no base"):
        verify_adapter(VerifyRequest(adapter, clean_base=tmp_path))


class Watching:
    """A progress that remembers."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.total = self.done = 0
        self.ended = False

    def begin(self, stage: str, total: int) -> None:
        """Keep the total."""
        self.total = total

    def advance(self, count: int) -> None:
        """Add up."""
        self.done += count

    def note(self, text: str) -> None:
        """Ignore it."""

    def end(self) -> None:
        """Keep that it ended."""
        self.ended = True


def test_reading_values_tells_how_far_it_is(tmp_path: Path) -> None:
    watching = Watching()
    verify_adapter(VerifyRequest(write_adapter(tmp_path / "adapter", small())), watching)
    assert watching.ended
    assert watching.done == watching.total > 0


def test_the_report_is_json(tmp_path: Path) -> None:
    report = verified(tmp_path, Case("")).to_json()
    assert json.loads(json.dumps(report)) == report
    assert report["counts"] == {"fail": 0, "warn": 0, "pass": len(report["findings"])}
