"""Each check: a broken adapter that it catches, and a healthy one on which it stays silent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from loragraft.adapter import checks
from loragraft.adapter.checks import CHECKS, CheckContext, run_checks
from loragraft.adapter.findings import Finding, Severity, quote, worst
from loragraft.adapter.reader import open_adapter
from loragraft.adapter.values import BLOCK_BYTES, scan_values
from loragraft.checkpoint.model import Checkpoint
from tests.adapter.builders import PREFIX, Arrays, lora_arrays, write_adapter, write_base

Make = Callable[..., Path]
Q0 = f"{PREFIX}model.layers.0.self_attn.q_proj"
ROWS = f"{PREFIX}model.embed_tokens.token_adapter.trainable_tokens_delta"
WIDE = np.ones((128, 64), np.float32)


def changed(changes: Arrays, **options: object) -> Arrays:
    return {**lora_arrays(**options), **changes}  # type: ignore[arg-type]


def poisoned(value: float) -> Arrays:
    b = lora_arrays()[f"{Q0}.lora_B.weight"]
    b[63, 3] = value
    return changed({f"{Q0}.lora_B.weight": b})


def zeroed(part: str, count: int | None = None) -> Arrays:
    arrays = lora_arrays()
    for key in [key for key in arrays if part in key][:count]:
        arrays[key] = np.zeros_like(arrays[key])
    return arrays


def found(
    folder: Path,
    arrays: Arrays | None = None,
    config: dict[str, object] | None = None,
    base: dict[str, object] | None = None,
    base_name: str | None = "someone/pico-llama",
) -> dict[str, Finding]:
    """Write an adapter and a base, run every check, and return the findings by code."""
    adapter_folder = write_adapter(folder / "adapter", arrays, **(config or {}))
    base_folder = write_base(folder / "base", **(base or {}))  # type: ignore[arg-type]
    with open_adapter(adapter_folder) as adapter, Checkpoint(base_folder) as checkpoint:
        context = CheckContext(adapter, checkpoint, base_name)
        return {finding.code: finding for finding in run_checks(context)}


def test_a_healthy_adapter_passes_every_check(tmp_path: Path) -> None:
    findings = found(tmp_path)
    assert [f for f in findings.values() if f.severity is not Severity.PASS] == []
    applicable = len(CHECKS) - 3  # no known base is claimed, no layer left out, no pattern there
    assert len(findings) == applicable


HEALTHY: dict[str, tuple[Arrays | None, dict[str, object], dict[str, object]]] = {
    "rank pattern": (
        changed({f"{Q0}.lora_A.weight": np.ones((2, 64), np.float32),
                 f"{Q0}.lora_B.weight": np.ones((64, 2), np.float32)}),
        {"rank_pattern": {"layers.0.self_attn.q_proj": 2}}, {}),
    "alpha patterns of one value": (
        None, {"alpha_pattern": {"q_proj": 8, "layers.0.self_attn.q_proj": 8, "v_proj": 4}}, {}),
    "some layers": (lora_arrays(layers=1), {"layers_to_transform": [0]}, {}),
    "layers by regex": (lora_arrays(layers=1),
                        {"target_modules": r".*layers\.0\.self_attn\.[qv]_proj"}, {}),
    "layers by name": (lora_arrays(layers=1),
                       {"target_modules": ["layers.0.self_attn.q_proj",
                                           "layers.0.self_attn.v_proj"]}, {}),
    "other style": (None, {}, {"backbone": "model.language_model."}),
    "head untied": (changed({f"{PREFIX}lm_head.weight": WIDE}),
                    {"modules_to_save": ["lm_head"]}, {"tied": True}),
    "token rows": (changed({ROWS: np.ones((2, 64), np.float32)}),
                   {"trainable_token_indices": [0, 127]}, {}),
    "embedding": (changed({
        f"{PREFIX}model.embed_tokens.lora_embedding_A": np.ones((4, 128), np.float32),
        f"{PREFIX}model.embed_tokens.lora_embedding_B": np.ones((64, 4), np.float32)}),
        {"target_modules": ["q_proj", "v_proj", "embed_tokens"]}, {}),
    "bias": (changed({f"{Q0}.base_layer.bias": np.ones(64, np.float32)}),
             {"bias": "lora_only"}, {}),
    "DoRA": (
        changed({f"{Q0}.lora_magnitude_vector": np.ones(64, np.float32)}
                | {f"{key}.lora_magnitude_vector": np.ones(n, np.float32) for key, n in (
                    (Q0.replace("q_proj", "v_proj"), 32),
                    (Q0.replace(".0.", ".1."), 64),
                    (Q0.replace(".0.", ".1.").replace("q_proj", "v_proj"), 32))}),
        {"use_dora": True}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_variants_stay_silent(name: str, tmp_path: Path) -> None:
    arrays, config, base = HEALTHY[name]
    findings = found(tmp_path, arrays, config, base)
    assert [str(f) for f in findings.values() if f.severity is not Severity.PASS] == []


BROKEN: dict[str, tuple[str, Arrays | None, dict[str, object], dict[str, object]]] = {
    "other width": ("fingerprint.hidden", lora_arrays(width=0.5), {}, {}),
    "other width, shapes": ("shapes", lora_arrays(width=0.5), {}, {}),
    "deeper": ("fingerprint.deeper", lora_arrays(layers=3), {}, {}),
    "deeper, coverage": ("coverage", lora_arrays(layers=3), {}, {}),
    "shallower": ("depth", lora_arrays(layers=2), {}, {"layers": 3}),
    "shallower, targets": ("targets.missing", lora_arrays(layers=2), {}, {"layers": 3}),
    "names of another model": ("coverage", lora_arrays(backbone="transformer."), {}, {}),
    "rank of the config": ("rank", None, {"r": 8}, {}),
    "rank pattern": ("rank", None, {"rank_pattern": {"v_proj": 2}}, {}),
    "targets narrower": ("targets.narrower", None, {"target_modules": ["q_proj"]}, {}),
    "targets wider": ("targets.missing", None, {"target_modules": ["q_proj", "v_proj", "k_proj"]},
                      {}),
    "NaN": ("values.nonfinite", poisoned(np.nan), {}, {}),
    "Inf": ("values.nonfinite", poisoned(np.inf), {}, {}),
    "B zero": ("effect.zero", zeroed("lora_B"), {}, {}),
    "A zero": ("effect.zero", zeroed("lora_A"), {}, {}),
    "alpha zero": ("effect.zero", None, {"lora_alpha": 0}, {}),
    "GPTQ base": ("base.quantized", None, {},
                  {"quantization_config": {"quant_method": "gptq", "bits": 4}}),
    "MLX base": ("base.quantized", None, {}, {"quantization": {"group_size": 64, "bits": 4}}),
    "lying claim": ("claim.shape", None,
                    {"base_model_name_or_path": "Qwen/Qwen2.5-1.5B-Instruct"}, {}),
    "claims fewer layers": (
        "claim.shape", lora_arrays(layers=25), {"base_model_name_or_path": "Qwen/Qwen2.5-0.5B"},
        {"layers": 25}),
    "empty": ("modules.any", {"nothing": np.ones(1, np.float32)}, {}, {}),
    "saved shape": ("shapes", changed({f"{PREFIX}lm_head.weight": np.ones((128, 32), np.float32)}),
                    {"modules_to_save": ["lm_head"]}, {}),
    "bias shape": ("shapes", changed({f"{Q0}.base_layer.bias": np.ones(3, np.float32)}),
                   {"bias": "lora_only"}, {}),
    "token outside": ("shapes", changed({ROWS: np.ones((1, 64), np.float32)}),
                      {"trainable_token_indices": [128]}, {}),
    "saved without a place": ("coverage", changed({f"{PREFIX}score.weight": WIDE}),
                              {"modules_to_save": ["score"]}, {}),
    "saved in the file only": ("saved.undeclared", changed({f"{PREFIX}score.weight": WIDE}), {},
                               {}),
    "wrong prefix": ("keys.unknown", {k.removeprefix(PREFIX): v for k, v in lora_arrays().items()},
                     {}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_each_failure_is_caught(name: str, tmp_path: Path) -> None:
    code, arrays, config, base = BROKEN[name]
    finding = found(tmp_path, arrays, config, base)[code]
    assert finding.severity is Severity.FAIL
    assert finding.measured
    assert finding.expected
    assert finding.next_step


@pytest.mark.parametrize(
    ("code", "arrays", "config"),
    [
        ("effect.zero", zeroed("lora_B", count=1), {}),
        (
            "effect.zero",
            {**zeroed("lora_B"), f"{PREFIX}lm_head.weight": WIDE},
            {"modules_to_save": ["lm_head"]},
        ),
        ("claim.name", None, {"base_model_name_or_path": "someone/another"}),
        ("claim.shape", None, {"base_model_name_or_path": "me/Qwen2.5-7B-pruned-24L"}),
        ("alpha.order", None, {"alpha_pattern": {"q_proj": 8, "layers.0.self_attn.q_proj": 4}}),
    ],
)
def test_what_may_be_meant_is_a_warning(
    code: str, arrays: Arrays | None, config: dict[str, object], tmp_path: Path
) -> None:
    assert found(tmp_path, arrays, config)[code].severity is Severity.WARN


@pytest.mark.parametrize(
    ("claimed", "given"),
    [
        ("unsloth/Qwen2.5-0.5B-bnb-4bit", "Qwen/Qwen2.5-0.5B"),
        ("Qwen/Qwen2.5-0.5B-GPTQ-Int4", "/models/Qwen2.5-0.5B/"),
        ("meta-llama/Meta-Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        (
            "Qwen/Qwen2.5-0.5B",
            "/home/me/.cache/huggingface/hub/models--Qwen--Qwen2.5-0.5B/snapshots/0a1b2c",
        ),
    ],
)
def test_one_base_under_two_names_passes(claimed: str, given: str, tmp_path: Path) -> None:
    config: dict[str, object] = {"base_model_name_or_path": claimed}
    findings = found(tmp_path, config=config, base_name=given)
    assert findings["claim.name"].severity is Severity.PASS


def test_the_quantized_bases_original_is_named(tmp_path: Path) -> None:
    findings = found(
        tmp_path,
        config={"base_model_name_or_path": "Qwen/Qwen2.5-7B-Instruct"},
        base={"quantization_config": {"quant_method": "awq", "bits": 4}},
        base_name="Qwen/Qwen2.5-7B-Instruct-AWQ",
    )
    step = findings["base.quantized"].next_step
    assert step == "Give Qwen/Qwen2.5-7B-Instruct as the base."


def test_a_rewrite_is_said(tmp_path: Path) -> None:
    finding = found(tmp_path, base={"backbone": "language_model.model."})["coverage"]
    assert "'model.' → 'language_model.model.'" in finding.measured


def test_without_base_and_values_only_headers_speak(make_adapter: Make) -> None:
    with open_adapter(make_adapter(poisoned(np.nan))) as adapter:
        findings = run_checks(CheckContext(adapter, values=False))
    assert {f.code for f in findings} == {"modules.any", "rank", "targets.narrower"}
    assert worst(findings) is Severity.PASS


def test_a_trained_bias_of_b_counts_as_an_effect(tmp_path: Path) -> None:
    arrays = zeroed("lora_B")
    for key in [key for key in arrays if "lora_B" in key]:
        arrays[key.replace(".weight", ".bias")] = np.ones(arrays[key].shape[0], np.float32)
    findings = found(tmp_path, arrays, {"lora_bias": True})
    assert findings["effect.zero"].severity is Severity.PASS


def test_values_are_scanned_in_blocks(make_adapter: Make) -> None:
    columns = BLOCK_BYTES // 8 + 3
    a = np.zeros((4, columns), np.float16)
    a[3, -1] = np.inf
    arrays = {
        f"{PREFIX}x.lora_A.weight": a,
        f"{PREFIX}x.lora_B.weight": np.zeros((8, 4), np.float32),
        f"{PREFIX}x.lora_B.bias": np.full(8, np.nan, np.float32),
    }
    with open_adapter(make_adapter(arrays)) as adapter:
        scan = scan_values(adapter)
    assert scan.nonfinite == {f"{PREFIX}x.lora_A.weight": 1, f"{PREFIX}x.lora_B.bias": 8}
    assert scan.zero == {f"{PREFIX}x.lora_B.weight"}


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0x7F800001]], np.uint32).view(np.float32),  # a signalling NaN
        np.array([[0x7C01]], np.uint16).view(np.float16),
        np.array([[1e300]]),  # overflows to Inf in float32
    ],
)
def test_odd_values_are_counted_without_a_warning(values: np.ndarray, make_adapter: Make) -> None:
    with open_adapter(make_adapter({f"{PREFIX}x.lora_A.weight": values})) as adapter:
        assert scan_values(adapter).nonfinite == {f"{PREFIX}x.lora_A.weight": 1}


def test_every_check_is_listed() -> None:
    named = {value for name, value in vars(checks).items() if name.startswith("check_")}
    assert named == set(CHECKS)


def test_findings_read_as_lines_and_as_data() -> None:
    finding = Finding("a.b", Severity.FAIL, "x", "y", "Do z.")
    assert str(finding) == "a.b: found x, expected y. Do z."
    assert finding.as_dict()["severity"] == "fail"
    assert str(Finding("a.b", Severity.PASS, "x", "y")) == "a.b: x"
    assert quote(["a", "b", "c", "d"]) == "'a', 'b', 'c' and 1 more"
    assert worst([]) is Severity.PASS
