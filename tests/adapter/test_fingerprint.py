"""What the shapes say about the base."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from loragraft.adapter.findings import Severity
from loragraft.adapter.fingerprint import (
    KNOWN_BASES,
    Fingerprint,
    candidates,
    compare_fingerprint,
    expected_widths,
    fingerprint,
    is_derived,
    known_base,
)
from loragraft.adapter.reader import open_adapter
from tests.adapter.builders import PREFIX, WIDTHS, lora_arrays

Make = Callable[..., Path]
CONFIG = {
    "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 128,
}  # fmt: skip


def test_all_widths_are_read(make_adapter: Make) -> None:
    arrays = lora_arrays(targets=tuple(WIDTHS))
    arrays[f"{PREFIX}lm_head.weight"] = np.ones((128, 64), np.float32)
    with open_adapter(make_adapter(arrays)) as adapter:
        assert fingerprint(adapter) == Fingerprint(64, 64, 32, 96, 128, 2)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("self_attn.q_proj", {"hidden": 64, "query": 64}),
        ("self_attn.k_proj", {"hidden": 64, "key_value": 32}),
        ("self_attn.o_proj", {"hidden": 64, "query": 64}),
        ("mlp.down_proj", {"hidden": 64, "intermediate": 96}),
    ],
)
def test_one_projection_says_its_part(
    target: str, expected: dict[str, int], make_adapter: Make
) -> None:
    with open_adapter(make_adapter(lora_arrays(targets=(target,)))) as adapter:
        assert fingerprint(adapter).widths() == expected


def test_an_encoders_projections_are_read(make_adapter: Make) -> None:
    arrays = {}
    for name in ("query", "value"):
        key = f"{PREFIX}encoder.layer.1.attention.self.{name}"
        arrays[f"{key}.lora_A.weight"] = np.ones((4, 48), np.float32)
        arrays[f"{key}.lora_B.weight"] = np.ones((48, 4), np.float32)
    with open_adapter(make_adapter(arrays, target_modules=["query", "value"])) as adapter:
        found = fingerprint(adapter)
    assert found == Fingerprint(hidden=48, query=48, key_value=48, layers=2)
    config = {"hidden_size": 48, "num_attention_heads": 4, "num_hidden_layers": 2}
    assert compare_fingerprint(found, config)[0].severity is Severity.PASS
    wider = compare_fingerprint(found, {**config, "hidden_size": 64})
    assert wider[0].code == "fingerprint.hidden"


def test_fused_projections_and_other_towers(make_adapter: Make) -> None:
    key = f"{PREFIX}model.layers.0.mlp.gate_up_proj"
    tower = f"{PREFIX}model.vision_tower.layers.9.q_proj"
    arrays = {
        f"{key}.lora_A.weight": np.ones((2, 64), np.float32),
        f"{key}.lora_B.weight": np.ones((192, 2), np.float32),
        f"{tower}.lora_A.weight": np.ones((2, 7), np.float32),
        f"{tower}.lora_B.weight": np.ones((7, 2), np.float32),
    }
    with open_adapter(make_adapter(arrays)) as adapter:
        assert fingerprint(adapter).widths() == {"hidden": 64, "intermediate": 96}


def test_two_values_of_one_width_are_a_conflict(make_adapter: Make) -> None:
    arrays = lora_arrays(layers=1)
    other = lora_arrays(layers=2, width=0.5)
    arrays |= {key: value for key, value in other.items() if ".layers.1." in key}
    with open_adapter(make_adapter(arrays)) as adapter:
        found = fingerprint(adapter)
    assert found.hidden is None
    assert "hidden: 32 and 64" in found.conflicts
    assert any(f.code == "fingerprint.conflict" for f in compare_fingerprint(found, CONFIG))


def test_widths_of_a_configuration() -> None:
    assert expected_widths({**CONFIG, "head_dim": 32})["query"] == 128
    assert expected_widths({"hidden_size": "x", "vocab_size": None}) == {}
    assert "query" not in expected_widths({**CONFIG, "model_type": "qwen3_next"})
    no_groups = {k: v for k, v in CONFIG.items() if k != "num_key_value_heads"}
    assert expected_widths(no_groups)["key_value"] == 64


def test_the_right_base_passes() -> None:
    (finding,) = compare_fingerprint(Fingerprint(64, 64, 32, 96, 128, 2), CONFIG)
    assert finding.severity is Severity.PASS


@pytest.mark.parametrize(
    ("found", "code", "severity"),
    [
        (Fingerprint(hidden=65), "fingerprint.hidden", Severity.FAIL),
        (Fingerprint(query=128), "fingerprint.query", Severity.FAIL),
        (Fingerprint(key_value=64), "fingerprint.key_value", Severity.FAIL),
        (Fingerprint(intermediate=97), "fingerprint.intermediate", Severity.FAIL),
        (Fingerprint(vocabulary=100), "fingerprint.vocabulary", Severity.FAIL),
        (Fingerprint(vocabulary=130), "fingerprint.vocabulary", Severity.WARN),
        (Fingerprint(hidden=64, layers=3), "fingerprint.deeper", Severity.FAIL),
        (Fingerprint(layers=1), "fingerprint.width", Severity.WARN),
    ],
)
def test_each_difference_is_named(found: Fingerprint, code: str, severity: Severity) -> None:
    (finding,) = compare_fingerprint(found, CONFIG)
    assert (finding.code, finding.severity) == (code, severity)


def test_candidates_are_ranked_by_depth() -> None:
    names = [base.name for base in candidates(Fingerprint(hidden=4096, key_value=1024, layers=32))]
    assert names[:2] == ["Llama-3.1-8B", "Mistral-7B"]
    assert "Qwen3-8B" in names
    assert candidates(Fingerprint()) == ()
    assert candidates(Fingerprint(hidden=7)) == ()


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Qwen/Qwen2.5-1.5B-Instruct", "Qwen2.5-1.5B"),
        ("unsloth/Qwen2.5-1.5B-Instruct-bnb-4bit", "Qwen2.5-1.5B"),
        ("unsloth/Meta-Llama-3.1-8B-Instruct", "Llama-3.1-8B"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM2-135M"),
        ("google/gemma-2-2b-it", "Gemma-2-2B"),
        ("/data/models/Qwen3-4B", "Qwen3-4B"),
        ("reddit-4b-think", None),
        ("Qwen/Qwen2.5-VL-7B-Instruct", None),
        ("Qwen/Qwen2.5-05B", None),
    ],
)
def test_names_stand_for_known_bases(name: str, known: str | None) -> None:
    base = known_base(name)
    assert (base.name if base else None) == known


@pytest.mark.parametrize(
    ("name", "derived"),
    [
        ("Qwen/Qwen2.5-1.5B-Instruct", False),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", False),
        ("mistralai/Mistral-7B-Instruct-v0.3", False),
        ("unsloth/Phi-3-mini-4k-instruct", False),
        ("google/gemma-3-1b-pt", False),
        ("/models/Qwen2.5-7B/", False),
        ("Qwen/Qwen3-4B-Thinking-2507-FP8", False),
        ("me/Qwen2.5-7B-pruned-24L", True),
        ("me/deep-Qwen2.5-7B", True),
        ("mergekit-community/SmolLM2-135M-passthrough", True),
    ],
)
def test_a_name_may_be_that_of_a_derived_model(name: str, derived: bool) -> None:
    known = known_base(name)
    assert known is not None
    assert is_derived(name, known) is derived


def test_known_bases_are_named_once() -> None:
    assert len({base.name for base in KNOWN_BASES}) == len(KNOWN_BASES)
