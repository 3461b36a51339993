"""Probes of real models: the answers are measured, never assumed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from loragraft.adapter.findings import Severity
from loragraft.adapter.probe import ProbeReport, probe_adapter
from loragraft.adapter.probe_prompts import ProbePrompt, read_prompts
from loragraft.errors import InputError, TemplateError, UnsupportedError
from tests.adapter.builders import edit_adapter
from tests.adapter.trained import train_answers

pytestmark = pytest.mark.usefixtures("one_torch_thread")
Build = Callable[..., Path]


def severities(report: ProbeReport) -> dict[str, Severity]:
    return {finding.code: finding.severity for finding in report.findings}


def ask(text: str) -> ProbePrompt:
    return ProbePrompt(({"role": "user", "content": text},), id=text)


def quick(base: Path, adapter: Path) -> ProbeReport:
    prompts = [ask("word 1"), ask("the quick brown")]
    return probe_adapter(base, adapter, prompts=prompts, max_new_tokens=4)


def test_a_sound_adapter_has_an_effect(pico: Build, pico_adapter: Build) -> None:
    report = quick(pico("llama"), pico_adapter("llama"))
    found = severities(report)
    assert found["probe.keys"] is Severity.PASS
    assert found["probe.finite"] is Severity.PASS
    assert found["probe.effect"] is Severity.PASS
    assert all(sample.noise == 0 for sample in report.samples)
    assert all(sample.effect > 0.01 for sample in report.samples)
    json.dumps(report.to_json(), allow_nan=False)


def test_b_of_zeros_has_none(pico: Build, pico_adapter: Build, tmp_path: Path) -> None:
    adapter = edit_adapter(
        pico_adapter("llama"), tmp_path / "a", lambda key, v: (key, v * ("lora_B" not in key))
    )
    report = quick(pico("llama"), adapter)
    assert severities(report)["probe.keys"] is Severity.PASS
    assert severities(report)["probe.effect"] is Severity.FAIL
    assert {sample.effect for sample in report.samples} == {0.0}
    assert report.verdict is Severity.FAIL


def test_a_prefix_that_lands_nowhere_is_said(
    pico: Build, pico_adapter: Build, tmp_path: Path
) -> None:
    adapter = edit_adapter(
        pico_adapter("llama"),
        tmp_path / "a",
        lambda key, v: (key.replace("model.model.", "model.model.model."), v),
    )
    found = severities(quick(pico("llama"), adapter))
    assert found["probe.keys"] is Severity.FAIL
    assert found["probe.effect"] is Severity.FAIL


def test_nan_is_caught(pico: Build, pico_adapter: Build, tmp_path: Path) -> None:
    adapter = edit_adapter(
        pico_adapter("llama"), tmp_path / "a", lambda key, v: (key, v * float("nan"))
    )
    report = quick(pico("llama"), adapter)
    assert severities(report)["probe.finite"] is Severity.FAIL
    assert "probe.effect" not in severities(report)


def test_an_adapter_of_another_width_is_one_finding(pico: Build, pico_adapter: Build) -> None:
    report = quick(pico("llama"), pico_adapter("llama-narrow"))
    assert [f.code for f in report.findings] == ["probe.load"]
    assert "size mismatch" in report.findings[0].measured
    assert len(report.findings[0].measured) < 900


def test_a_resized_vocabulary_is_taken(pico: Build, pico_adapter: Build, tmp_path: Path) -> None:
    source = pico_adapter("llama", modules_to_save=["lm_head", "embed_tokens"])
    adapter = edit_adapter(
        source, tmp_path / "a",
        lambda key, v: (key, np.concatenate([v, v[:1]]) if "lora_" not in key else v),
    )  # fmt: skip
    assert severities(quick(pico("llama"), adapter))["probe.keys"] is Severity.PASS


def test_a_quantized_base_is_refused(pico: Build, pico_adapter: Build, tmp_path: Path) -> None:
    base = shutil.copytree(pico("llama"), tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedError, match="GPTQ"):
        quick(base, pico_adapter("llama"))


@pytest.mark.slow
def test_the_example_adapter_on_smollm2(smollm2_checkpoint: Path, example_adapter: Path) -> None:
    report = probe_adapter(smollm2_checkpoint, example_adapter, max_new_tokens=16)
    assert report.verdict is not Severity.FAIL
    assert len(report.samples) == 5
    assert severities(report)["probe.outputs"] is Severity.PASS
    assert "Paris" in report.samples[0].tuned.text


def test_answers_without_scores_are_told_from_their_distribution(
    pico: Build, pico_adapter: Build
) -> None:
    report = probe_adapter(
        pico("llama"), pico_adapter("llama"), prompts=[ask("the fox")] * 3, task="score",
        max_new_tokens=2,
    )  # fmt: skip
    found = severities(report)
    assert found["probe.parse"] is Severity.FAIL
    assert found["probe.scores"] is Severity.WARN
    assert "probe.std" not in found


SCORE_PROMPTS = [ask(text) for text in ("word 1", "the fox", "dogs", "quick 49", "over lazy")]


def probe_scores(base: Path, adapter: Path) -> ProbeReport:
    return probe_adapter(base, adapter, prompts=SCORE_PROMPTS, task="score", max_new_tokens=8)


@pytest.mark.slow
def test_trained_scores_that_collapse_are_caught_though_all_parse(
    pico: Build, tmp_path: Path
) -> None:
    adapter = train_answers(pico("llama"), tmp_path / "a", SCORE_PROMPTS, ["0.0"] * 5)
    report = probe_scores(pico("llama"), adapter)
    assert [sample.tuned.text.strip() for sample in report.samples] == ["0.0"] * 5
    found = severities(report)
    assert found["probe.parse"] is Severity.PASS
    for code in ("probe.std", "probe.highest", "probe.distinct"):
        assert found[code] is Severity.FAIL


@pytest.mark.slow
def test_trained_scores_that_spread_pass(pico: Build, tmp_path: Path) -> None:
    answers = ["0.9", "0.1", "0.6", "0.3", "1.0"]
    adapter = train_answers(pico("llama"), tmp_path / "a", SCORE_PROMPTS, answers)
    report = probe_scores(pico("llama"), adapter)
    assert [sample.tuned.text.strip() for sample in report.samples] == answers
    assert report.verdict is Severity.PASS


def test_a_tokenizer_beyond_the_vocabulary_is_one_finding(
    pico: Build, pico_adapter: Build, tmp_path: Path
) -> None:
    adapter = shutil.copytree(pico_adapter("llama"), tmp_path / "a")
    tokenizer = AutoTokenizer.from_pretrained(pico("llama"))
    tokenizer.add_tokens(["zebra"])
    tokenizer.save_pretrained(adapter)
    report = probe_adapter(pico("llama"), adapter, prompts=[ask("a zebra")])
    assert [finding.code for finding in report.findings] == ["probe.load"]
    assert "were not saved" in report.findings[0].measured


def test_a_template_that_refuses_is_our_error(
    pico: Build, pico_adapter: Build, tmp_path: Path
) -> None:
    adapter = shutil.copytree(pico_adapter("llama"), tmp_path / "a")
    (adapter / "chat_template.jinja").write_text("{{ raise_exception('no') }}")
    with pytest.raises(TemplateError):
        quick(pico("llama"), adapter)


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        "{}",
        '{"prompt": ""}',
        '{"prompt": "x", "messages": []}',
        '{"messages": [{"role": "x", "content": "y"}]}',
        '{"messages": [{"role": "assistant", "content": "y"}]}',
        '{"prompt": "x", "expected": true}',
        "",
    ],
)
def test_prompts_that_are_none_are_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(line)
    with pytest.raises(InputError):
        read_prompts(path)


def test_a_training_record_serves_as_prompt(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    path.write_text(json.dumps({"messages": turns, "expected": 0.5, "id": "one"}))
    (prompt,) = read_prompts(path)
    assert prompt.messages == ({"role": "user", "content": "q"},)
    assert (prompt.expected, prompt.id) == ("0.5", "one")
