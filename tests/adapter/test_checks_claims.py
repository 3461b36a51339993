"""Checks of claims: names, sizes, families, quantizations, scaling and dates."""

from __future__ import annotations

import json
import os
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loragraft.adapter import checks_claims
from loragraft.adapter.checks_claims import CLAIM_CHECKS
from loragraft.adapter.findings import Finding, Severity
from loragraft.adapter.verify import VerifyRequest, verify_adapter
from tests.adapter.builders import PREFIX, Arrays, write_adapter, write_base

BASES = {  # hidden, query, key_value, layers
    "Qwen/Qwen2.5-1.5B-Instruct": (1536, 1536, 256, 28),
    "Qwen/Qwen3-4B": (2560, 4096, 1024, 36),
    "google/gemma-2-2b-it": (2304, 2048, 1024, 26),
}


def shaped(name: str, layers: int | None = None) -> Arrays:
    """Return an adapter of rank 1 on q, k and v in the shapes of a published base."""
    hidden, query, key_value, depth = BASES[name]
    arrays: Arrays = {}
    for layer in range(depth if layers is None else layers):
        for leaf, out in (("q_proj", query), ("k_proj", key_value), ("v_proj", key_value)):
            key = f"{PREFIX}model.layers.{layer}.self_attn.{leaf}"
            arrays[f"{key}.lora_A.weight"] = np.ones((1, hidden), np.float16)
            arrays[f"{key}.lora_B.weight"] = np.ones((out, 1), np.float16)
    return arrays


def found(folder: Path, shapes: str, claim: str | None, **options: Any) -> dict[str, Finding]:  # noqa: ANN401
    config = {"r": 1, "target_modules": ["q_proj", "k_proj", "v_proj"]}
    arrays = shaped(shapes, options.pop("layers", None))
    adapter = write_adapter(folder / "adapter", arrays, base_model_name_or_path=claim, **config)
    report = verify_adapter(VerifyRequest(adapter, values=False, **options))
    return {finding.code: finding for finding in report.findings}


QWEN, QWEN3, GEMMA = BASES


def test_the_adapter_that_cost_four_hours(tmp_path: Path) -> None:
    """Called 4b, claiming 1.5B, shaped as a 4B: PEFT loads it and every prediction is 0.0."""
    findings = found(tmp_path / "a", QWEN3, QWEN, source_name="someone/reddit-4b-think")
    assert findings["claim.shape"].severity is Severity.FAIL
    assert "Qwen3-4B" in findings["claim.shape"].next_step
    assert findings["name.size"].severity is Severity.FAIL
    findings = found(tmp_path / "b", QWEN, QWEN, source_name="someone/reddit-4b-think")
    assert findings["name.size"].severity is Severity.FAIL
    assert findings["name.size"].measured == "4B in the name 'reddit-4b-think'"
    assert "Qwen2.5-1.5B" in findings["name.size"].expected


@pytest.mark.parametrize(
    ("shapes", "claim", "name"),
    [
        (QWEN, QWEN, "qwen2.5-1.5b-rules"),
        (QWEN, QWEN, "rules-1-5b"),
        (QWEN3, QWEN3, "reddit-4b-think"),
        (QWEN3, QWEN3, "think-r16-4bit-v2-2025-01-07"),
        (GEMMA, GEMMA, "gemma-2-2b-lora"),
        (GEMMA, "unsloth/gemma-2-2b-it-bnb-4bit", "gemma-lora"),
    ],
)
def test_honest_names_stay_silent(shapes: str, claim: str, name: str, tmp_path: Path) -> None:
    findings = found(tmp_path, shapes, claim, source_name=name).values()
    assert [str(f) for f in findings if f.severity is not Severity.PASS] == []


def test_a_name_against_a_claim_alone_is_a_warning(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "x", base_model_name_or_path="someone/odd-1.5b")
    report = verify_adapter(VerifyRequest(adapter, source_name="odd-4b"))
    finding = next(f for f in report.findings if f.code == "name.size")
    assert finding.severity is Severity.WARN


def test_a_folders_own_name_counts(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "mine-7b", base_model_name_or_path="someone/odd-1.5b")
    assert verify_adapter(VerifyRequest(adapter)).first_line.startswith("WARN name.size")


def test_the_given_base_is_counted(tmp_path: Path) -> None:
    adapter, base = write_adapter(tmp_path / "x"), write_base(tmp_path / "base")
    report = verify_adapter(VerifyRequest(adapter, base, source_name="tiny-4b"))
    finding = next(f for f in report.findings if f.code == "name.size")
    assert finding.severity is Severity.FAIL
    assert "the parameters of the base" in finding.expected


def test_another_family_is_a_warning(tmp_path: Path) -> None:
    findings = found(tmp_path, QWEN, QWEN, source_name="gemma-rules")
    assert findings["name.family"].severity is Severity.WARN


@pytest.mark.parametrize(
    ("card", "severity"),
    [
        ("---\nlicense: mit\nbase_model: Qwen/Qwen2.5-1.5B\n---\n", Severity.PASS),
        ("---\nbase_model:\n- unsloth/qwen2.5-1.5b-bnb-4bit\n---\n", Severity.PASS),
        ("---\nbase_model: Qwen/Qwen3-4B\n---\n", Severity.WARN),
        ('---\nbase_model: "google/gemma-2-2b"\n---\n', Severity.WARN),
        ("---\nlicense: mit\n---\nbase_model: Qwen/Qwen3-4B\n", None),
        ("base_model: Qwen/Qwen3-4B\n", None),
    ],
)
def test_the_model_card_is_held_against_the_claim(
    card: str, severity: Severity | None, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter", base_model_name_or_path=QWEN)
    (adapter / "README.md").write_text(card)
    findings = {f.code: f for f in verify_adapter(VerifyRequest(adapter, values=False)).findings}
    assert (findings["claim.card"].severity if severity else "claim.card" in findings) == (
        severity or False
    )


def test_a_claim_of_more_layers_is_false(tmp_path: Path) -> None:
    findings = found(tmp_path, QWEN, QWEN, layers=20)
    assert findings["claim.depth"].severity is Severity.FAIL
    assert "claim.depth" not in found(tmp_path / "b", QWEN, QWEN)


@pytest.mark.parametrize(
    ("claim", "severity"),
    [
        ("Qwen/Qwen2.5-1.5B-Instruct-GPTQ-Int4", Severity.WARN),
        ("Qwen/Qwen2.5-1.5B-Instruct-AWQ", Severity.WARN),
        ("unsloth/Qwen2.5-1.5B-Instruct-bnb-4bit", Severity.PASS),
    ],
)
def test_the_variant_of_the_claimed_base_is_told(
    claim: str, severity: Severity, tmp_path: Path
) -> None:
    finding = found(tmp_path, QWEN, claim)["claim.quantized"]
    assert finding.severity is severity
    assert "Qwen2.5-1.5B-Instruct as the base" in f"{finding.measured} {finding.next_step}"


RSLORA = {
    "training_args.json": ('{"r": 16, "use_rslora": true}', Severity.FAIL),
    "axolotl.yaml": ("peft_use_rslora: true\n", Severity.FAIL),
    "config.toml": ("use_rslora = true\n", Severity.FAIL),
    "README.md": ("    LoraConfig(r=16, use_rslora=True)\n", Severity.WARN),
    "train.py": ("use_rslora = True\n", Severity.WARN),
    "train.ipynb": ('{"source": ["config(use_rslora = True)"]}', Severity.WARN),
}


@pytest.mark.parametrize("name", RSLORA)
def test_a_lost_rslora_flag_is_seen_in_training_files(name: str, tmp_path: Path) -> None:
    text, severity = RSLORA[name]
    adapter = write_adapter(tmp_path / "adapter")
    (adapter / name).write_text(text)
    report = verify_adapter(VerifyRequest(adapter))
    finding = next(f for f in report.findings if f.code == "rslora.lost")
    assert finding.severity is severity
    assert "a factor of 2.0" in finding.expected


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"use_rslora": True}, "use_rslora: true"),
        ({}, "use_rslora: false"),
        ({}, "we did not use rslora"),
        ({}, "not_use_rslora: true"),
        ({"r": 64, "lora_alpha": 8}, ""),
    ],
)
def test_rslora_is_not_guessed(config: dict[str, Any], text: str, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", **config)
    (adapter / "training.yaml").write_text(text)
    report = verify_adapter(VerifyRequest(adapter))
    assert not any(f.code == "rslora.lost" for f in report.findings)


DAY = date(2025, 6, 1)


def dated(folder: Path, files: dict[str, str], mtime: date | None = None, **days: date) -> Finding:
    adapter = write_adapter(folder / "adapter")
    for name, text in files.items():
        (adapter / name).parent.mkdir(parents=True, exist_ok=True)
        (adapter / name).write_text(text)
    if mtime is not None:
        stamp = datetime(mtime.year, mtime.month, mtime.day, 12, tzinfo=timezone.utc).timestamp()
        os.utime(adapter / "adapter_model.safetensors", (stamp, stamp))
    report = verify_adapter(VerifyRequest(adapter, **days))
    return next(f for f in report.findings if f.code == "dates")


DATES = {
    "metadata": ({"EXPERIMENT_METADATA.json": '{"created_at": "2025-03-04T05:06:07Z"}'},
                 "created_at in EXPERIMENT_METADATA.json"),
    "state": ({"trainer_state.json": json.dumps({"a": {"start_time": "2025-03-04 05:06"}})},
              "start_time in trainer_state.json"),
    "card": ({"README.md": "---\ndate: 2025-03-04\n---\n"}, "date in README.md"),
    "events": ({"runs/events.out.tfevents.1741064767.host.1.0": ""}, "events.out.tfevents"),
    "wandb": ({"wandb/run-20250304_050607-abc/x.txt": ""}, "run-20250304_050607-abc"),
}  # fmt: skip


@pytest.mark.parametrize("name", DATES)
def test_recorded_dates_are_judged(name: str, tmp_path: Path) -> None:
    files, source = DATES[name]
    finding = dated(tmp_path / "a", files, since=DAY)
    assert finding.severity is Severity.FAIL
    assert "2025-03-04" in finding.measured
    assert source in finding.measured
    assert dated(tmp_path / "b", files, until=DAY).severity is Severity.PASS


def test_file_times_only_warn(tmp_path: Path) -> None:
    finding = dated(tmp_path / "a", {}, date(2025, 3, 4), since=DAY)
    assert finding.severity is Severity.WARN
    assert "the file time of adapter_model.safetensors" in finding.measured
    assert dated(tmp_path / "b", {}, date(2025, 3, 4), until=DAY).severity is Severity.PASS


def test_recorded_dates_count_more_than_file_times(tmp_path: Path) -> None:
    files = DATES["metadata"][0]
    assert dated(tmp_path, files, date(2025, 7, 1), since=DAY).severity is Severity.FAIL


@pytest.mark.parametrize("text", ["{", '{"created_at": "2025-13-40"}', '{"updated": 3}', ""])
def test_records_without_a_date_are_passed_over(text: str, tmp_path: Path) -> None:
    finding = dated(tmp_path, {"trainer_state.json": text}, DAY, since=DAY, until=DAY)
    assert "the file time" in finding.measured


def test_no_days_no_finding(tmp_path: Path) -> None:
    report = verify_adapter(VerifyRequest(write_adapter(tmp_path / "adapter")))
    assert not any(f.code == "dates" for f in report.findings)


def test_every_check_is_listed() -> None:
    named = {value for name, value in vars(checks_claims).items() if name.startswith("check_")}
    assert named == set(CLAIM_CHECKS)
