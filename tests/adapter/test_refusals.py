"""Refusals and findings that the other files here do not show, each beside what passes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from loragraft.adapter.checks import CheckContext, run_checks
from loragraft.adapter.findings import Finding, Severity
from loragraft.adapter.locate import locate_adapter
from loragraft.adapter.reader import Adapter, open_adapter
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import AdapterError, UnsupportedError
from tests.adapter.builders import PREFIX, Arrays, lora_arrays

Make = Callable[..., Path]
Q0 = "model.layers.0.self_attn.q_proj"
ROWS = f"{PREFIX}model.embed_tokens.token_adapter.trainable_tokens_delta"
HEAD = np.ones((128, 64), np.float32)


def test_a_huge_configuration_is_not_read(make_adapter: Make) -> None:
    folder = make_adapter()
    os.truncate(folder / "adapter_config.json", 17 << 20)  # a hole: no bytes on the disk
    with pytest.raises(AdapterError, match="17825792 bytes; an adapter's configuration has some"):
        locate_adapter(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not readable as JSON"),
        ('{"r": ' + "9" * 5000 + "}", "is not readable as JSON"),
        ("[]", "holds a list, expected a JSON object"),
        ("null", "holds a NoneType, expected a JSON object"),
    ],
)
def test_a_configuration_that_is_none_says_what_it_is(
    text: str, words: str, make_adapter: Make
) -> None:
    folder = make_adapter()
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(AdapterError, match=rf"adapter_config\.json {words}"):
        locate_adapter(folder)


def test_a_device_is_no_adapter() -> None:
    with pytest.raises(AdapterError, match="is neither a file nor a folder"):
        locate_adapter(Path(os.devnull))


def test_a_folder_that_cannot_be_listed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(AdapterError, match=r"Cannot read .*Permission denied.*permissions"):
        locate_adapter(tmp_path)


def test_a_checkpoint_of_a_pickle_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-3" / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(UnsupportedError, match=r"checkpoint-3/adapter_model\.bin is a pickle"):
        locate_adapter(tmp_path)


@pytest.mark.parametrize("with_config", [True, False])
def test_a_link_that_leads_nowhere_is_named(make_adapter: Make, with_config: bool) -> None:
    """The Hub's cache consists of links; cleaning it leaves such ones."""
    folder = make_adapter()
    weights = folder / "adapter_model.safetensors"
    weights.unlink()
    weights.symlink_to(folder / "gone")
    if not with_config:
        (folder / "adapter_config.json").unlink()
    with pytest.raises(AdapterError, match=r"adapter_model\.safetensors is a link that leads no"):
        locate_adapter(folder)


def test_weights_that_vanish_are_said(make_adapter: Make) -> None:
    with open_adapter(make_adapter()) as adapter:
        adapter.path.unlink()
        with pytest.raises(AdapterError, match=r"Cannot read .*model\.safetensors: No such"):
            _ = adapter.sha256


@pytest.mark.parametrize(
    ("config", "error", "words"),
    [
        ({"fine_tune_type": "full"}, UnsupportedError, "full fine-tune, not an adapter"),
        ({"fine_tune_type": "other"}, UnsupportedError, "'other' is unknown; lora and dora"),
        ({"lora_parameters": None}, AdapterError, "has no 'lora_parameters'"),
        ({"lora_parameters": {"rank": 0}}, AdapterError, "rank = 0, expected a positive"),
        ({"lora_parameters": {"rank": True}}, AdapterError, "rank = True, expected a positive"),
        ({"lora_parameters": {"rank": 4}}, AdapterError, "scale = None, expected a finite"),
    ],
)
def test_mlx_refusals_have_their_kind(
    config: dict[str, object], error: type[Exception], words: str, make_adapter: Make
) -> None:
    arrays = {
        f"{Q0}.lora_a": np.ones((64, 4), np.float32),
        f"{Q0}.lora_b": np.ones((4, 64), np.float32),
    }
    healthy = {"fine_tune_type": "lora", "lora_parameters": {"rank": 4, "scale": 20.0}}
    folder = make_adapter(arrays)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(healthy))
    with open_adapter(folder) as adapter:
        assert adapter.findings == ()
    path.write_text(json.dumps({**healthy, **config}))
    with pytest.raises(error, match=words):
        open_adapter(folder)


@pytest.mark.parametrize(
    ("change", "config", "reason"),
    [
        ({}, {"peft_type": "LOHA"}, "a LoRA tensor in an adapter of type LOHA"),
        (
            {f"{PREFIX}{Q0}.lora_A.default.weight": np.ones((4, 64), np.float32)},
            {},
            "the second one of its kind on its module",
        ),
        (
            {
                f"{PREFIX}lm_head.weight": HEAD,
                f"{PREFIX}lm_head.modules_to_save.default.weight": HEAD,
            },
            {"modules_to_save": ["lm_head"]},
            "the second one for its tensor of the base",
        ),
        (
            {ROWS: np.ones((2, 64), np.float32)},
            {"trainable_token_indices": [1, 2, 3]},
            r"token rows of shape \[2, 64\] for 3 ids",
        ),
        (
            {ROWS: np.ones((2, 64), np.float32)},
            {"trainable_token_indices": [5, 5]},
            "token rows with an id named twice",
        ),
    ],
)
def test_keys_that_cannot_be_placed_have_their_reason(
    change: Arrays, config: dict[str, object], reason: str, make_adapter: Make
) -> None:
    with open_adapter(make_adapter({**lora_arrays(), **change}, **config)) as adapter:
        assert adapter.unknown
        (finding,) = found(adapter, "keys.unknown")
        assert finding.severity is Severity.FAIL
        assert finding.measured.startswith(f"{len(adapter.unknown)} keys ")
    assert re.search(reason, finding.measured), finding


def found(adapter: Adapter, code: str) -> list[Finding]:
    return [finding for finding in adapter.findings if finding.code == code]


@pytest.mark.parametrize(
    ("prefix", "source"),
    [("_fsdp_wrapped_module.", "FSDP"), ("transformer.", "kohya"), ("lora_unet_", "diffusion")],
)
def test_a_foreign_prefix_is_told_by_its_origin(
    prefix: str, source: str, make_adapter: Make
) -> None:
    arrays = {prefix + key: values for key, values in lora_arrays().items()}
    with open_adapter(make_adapter(arrays)) as adapter:
        (finding,) = found(adapter, "keys.unknown")
    assert source in finding.next_step
    assert "outside 'base_model.model.'" in finding.measured


def test_an_adapter_of_saved_modules_alone_is_a_warning(make_adapter: Make) -> None:
    folder = make_adapter({f"{PREFIX}lm_head.weight": HEAD}, modules_to_save=["lm_head"])
    with open_adapter(folder) as adapter:
        findings = {finding.code: finding for finding in run_checks(CheckContext(adapter))}
    assert findings["modules.any"].severity is Severity.WARN
    assert "no LoRA pair among 1 tensors" in findings["modules.any"].measured


def poisoned() -> Arrays:
    arrays = lora_arrays()
    arrays[f"{PREFIX}{Q0}.lora_B.weight"][63, 3] = np.nan
    return arrays


MEASURED: dict[str, tuple[Arrays | None, dict[str, object], dict[str, object], str, str]] = {
    "keys": ({"x.lora_A.weight": np.ones(1, np.float32)}, {}, {}, "keys.unknown", "1 keys outside"),
    "rank": (None, {"r": 8}, {}, "rank", r"rank 4 of 'model\.layers\.0"),
    "alpha": (
        None,
        {"alpha_pattern": {"q_proj": 8, "layers.0.self_attn.q_proj": 4}},
        {},
        "alpha.order",
        "several values of alpha_pattern fit 'model.layers.0.self_attn.q_proj'",
    ),
    "targets": (None, {"target_modules": ["q_proj"]}, {}, "targets.narrower", "2 modules not in"),
    "absent": (
        None, {"target_modules": ["q_proj", "v_proj", "k_proj"]}, {}, "targets.missing",
        "2 targets without a pair: 'model.layers.0.self_attn.k_proj'"),
    "claim": (
        None, {"base_model_name_or_path": "Qwen/Qwen2.5-1.5B-Instruct"}, {}, "claim.shape",
        "hidden 64, not 1536"),
    "name": (
        None, {"base_model_name_or_path": "someone/else"}, {}, "claim.name", "the base someone/pi"),
    "zero": (None, {"lora_alpha": 0}, {}, "effect.zero", "4 of 4 pairs are exactly zero"),
    "NaN": (poisoned(), {}, {}, "values.nonfinite", "1 values NaN or Inf in"),
    "width": (lora_arrays(width=0.5), {}, {}, "fingerprint.hidden", "hidden width 32 in the"),
    "shape": (
        lora_arrays(width=0.5), {}, {}, "shapes", r"q_proj wants \[32, 32\], the base has \[64,"),
    "deeper": (lora_arrays(layers=3), {}, {}, "fingerprint.deeper", "layer 2 in the adapter"),
    "depth": (None, {}, {"layers": 3}, "depth", "2 layers in the adapter"),
    "coverage": (lora_arrays(backbone="other."), {}, {}, "coverage", "4 parts have no place in"),
    "GPTQ": (
        None, {}, {"quantization_config": {"quant_method": "gptq", "bits": 4}}, "base.quantized",
        "weights quantized by GPTQ 4-bit"),
}  # fmt: skip


@pytest.mark.parametrize("name", MEASURED)
def test_findings_say_what_they_measured(name: str, make_adapter: Make, make_base: Make) -> None:
    arrays, config, base, code, words = MEASURED[name]
    with (
        open_adapter(make_adapter(arrays, **config)) as adapter,
        Checkpoint(make_base(**base)) as checkpoint,
    ):
        context = CheckContext(adapter, checkpoint, "someone/pico-llama")
        findings = {finding.code: finding for finding in run_checks(context)}
    assert re.search(words, findings[code].measured), findings[code]
