"""The configuration's types, PEFT's pattern rules, and what cannot be streamed."""

from __future__ import annotations

import math
from typing import Any

import pytest

from loragraft.adapter.config import parse_config, streamable, unmergeable
from loragraft.errors import AdapterError

LORA: dict[str, Any] = {"peft_type": "LORA", "r": 8, "lora_alpha": 16}


def test_defaults_are_pefts() -> None:
    config = parse_config({"peft_type": "LORA"})
    assert (config.r, config.lora_alpha, config.bias) == (8, 8.0, "none")
    assert config.scaling_of("model.layers.0.q_proj") == 1.0


def test_null_counts_as_absent_and_unknown_keys_are_kept() -> None:
    config = parse_config({**LORA, "rank_pattern": None, "from_the_future": {"x": 1}})
    assert config.rank_pattern == {}
    assert config.raw["from_the_future"] == {"x": 1}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("peft_type", 3), ("r", 0), ("r", -1), ("r", 8.0), ("r", True), ("r", "8"),
        ("lora_alpha", "16"), ("lora_alpha", math.nan), ("lora_alpha", math.inf),
        ("lora_alpha", 10**400), ("use_rslora", 1), ("use_dora", "yes"),
        ("rank_pattern", []), ("rank_pattern", {"q_proj": 0}), ("rank_pattern", {"q_proj": "4"}),
        ("alpha_pattern", {"q_proj": None}), ("target_modules", 7), ("target_modules", ["q", 3]),
        ("layers_to_transform", "3"), ("layers_to_transform", [1, "2"]),
        ("fan_in_fan_out", 0), ("bias", "some"), ("bias", ["all"]), ("lora_bias", "no"),
        ("modules_to_save", 5), ("modules_to_save", [None]),
        ("trainable_token_indices", ["1"]), ("trainable_token_indices", {"embed_tokens": 4}),
        ("trainable_token_indices", [-1]), ("base_model_name_or_path", ["x"]),
        ("target_parameters", "x"), ("init_lora_weights", 3),
    ],
)  # fmt: skip
def test_a_wrong_type_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(AdapterError, match=key):
        parse_config({**LORA, key: value})


def test_a_missing_type_is_refused() -> None:
    with pytest.raises(AdapterError, match="no 'peft_type'"):
        parse_config({"r": 8})


@pytest.mark.parametrize(
    "broken",
    [
        {"rank_pattern": {"(": 4}}, {"alpha_pattern": {"[": 4}}, {"target_modules": "*"},
        {"exclude_modules": "(?P<"}, {"layers_pattern": "(", "layers_to_transform": [0]},
        {"modules_to_save": ["("]}, {"rank_pattern": {"a{99999999999999999999}": 4}},
    ],
)  # fmt: skip
def test_a_pattern_that_is_none_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(AdapterError, match="no regular expression"):
        parse_config({**LORA, **broken})


def test_the_first_pattern_that_matches_the_end_wins() -> None:
    config = parse_config({
        **LORA,
        "rank_pattern": {"layers.0.q_proj": 2, "q_proj": 4, r"layers\.\d+\.v_proj": 6},
        "alpha_pattern": {"q_proj": 3.5},
    })  # fmt: skip
    assert config.rank_of("model.layers.0.q_proj") == 2
    assert config.rank_of("model.layers.10.q_proj") == 4
    assert config.rank_of("model.layers.1.v_proj") == 6
    assert config.rank_of("model.layers.1.my_q_proj") == 8
    assert config.scaling_of("model.layers.1.q_proj") == 3.5 / 4


def test_rslora_divides_by_the_root() -> None:
    config = parse_config({**LORA, "use_rslora": True, "rank_pattern": {"v_proj": 4}})
    assert config.scaling_of("a.q_proj") == 16 / math.sqrt(8)
    assert config.scaling_of("a.v_proj") == 8.0


@pytest.mark.parametrize(
    ("config", "module", "expected"),
    [
        ({"target_modules": ["q_proj"]}, "model.layers.0.self_attn.q_proj", True),
        ({"target_modules": ["q_proj"]}, "model.layers.0.self_attn.xq_proj", False),
        ({"target_modules": r".*\.layers\.[01]\..*q_proj"}, "model.layers.1.a.q_proj", True),
        ({"target_modules": r"q_proj"}, "model.layers.1.a.q_proj", False),
        ({"target_modules": ["q_proj"], "exclude_modules": ["layers.0.q_proj"]},
         "model.layers.0.q_proj", False),
        ({"target_modules": ["lm_head"], "modules_to_save": ["lm_head"]}, "lm_head", False),
        ({"target_modules": ["q_proj"], "layers_to_transform": [1]}, "model.layers.1.q_proj", True),
        ({"target_modules": ["q_proj"], "layers_to_transform": 1}, "model.layers.0.q_proj", False),
        ({"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "h"},
         "model.layers.1.q_proj", False),
        ({"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": ["x", "h"]},
         "model.h.1.q_proj", True),
        ({"target_modules": ["q_proj"], "layers_to_transform": []}, "model.layers.0.q_proj", True),
        ({}, "model.layers.0.q_proj", False),
    ],
)  # fmt: skip
def test_targets_follow_pefts_rules(config: dict[str, Any], module: str, expected: bool) -> None:
    assert parse_config({**LORA, **config}).targets(module) is expected


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"peft_type": "LOHA"}, "LOHA"),
        ({"peft_type": "LOKR"}, "engine peft"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"peft_type": "VERA"}, "VERA"),
        ({"peft_type": "ADALORA"}, "ADALORA"),
        ({"peft_type": "PROMPT_TUNING"}, "no merged weights"),
        ({"target_parameters": ["experts.gate_up_proj"]}, "bare parameters"),
        ({"layer_replication": [[0, 4], [2, 5]]}, "repeats layers"),
        ({"alora_invocation_tokens": [1, 2]}, "activated"),
        ({"arrow_config": {"top_k": 3}}, "Arrow"),
        ({"use_qalora": True}, "QA-LoRA"),
        ({"use_bdlora": {"nblocks": 2}}, "block-diagonal"),
        ({"kasa_config": {"beta": 1.0}}, "KaSA"),
        ({"monteclora_config": {"num_samples": 2}}, "MonteCLoRA"),
        ({"megatron_config": {"x": 1}}, "Megatron"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"init_lora_weights": "pissa_niter_16"}, "pissa_niter_16"),
        ({"init_lora_weights": "olora"}, "olora"),
        ({"init_lora_weights": "loftq"}, "loftq"),
        ({"init_lora_weights": "corda"}, "cannot repeat"),
        ({"init_lora_weights": "lora_ga"}, "cannot repeat"),
        ({"use_dora": True, "lora_bias": True}, "PEFT refuses"),
    ],
)
def test_what_cannot_be_streamed_says_why(config: dict[str, Any], reason: str) -> None:
    assert reason in (streamable(parse_config({**LORA, **config})) or "")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "is of type PROMPT_TUNING, which has no merged weights"),
        ({"peft_type": "XLORA"}, "no merged weights"),
        ({"alora_invocation_tokens": [1, 2]}, "is an activated LoRA"),
        ({"arrow_config": {"top_k": 3}}, "Arrow"),
        ({"use_qalora": True}, "QA-LoRA"),
        ({"init_lora_weights": "corda"}, "on the plain base the adapter does not do what"),
        ({"init_lora_weights": "lora_ga"}, "was initialised as lora_ga"),
        ({"use_dora": True, "lora_bias": True}, "PEFT refuses as well"),
    ],
)
def test_what_no_engine_can_merge_says_why(config: dict[str, Any], reason: str) -> None:
    parsed = parse_config({**LORA, **config})
    assert reason in (unmergeable(parsed) or "")
    assert streamable(parsed) == unmergeable(parsed)


@pytest.mark.parametrize(
    "config",
    [
        {}, {"peft_type": "LOHA"}, {"peft_type": "IA3"}, {"init_lora_weights": "pissa"},
        {"init_lora_weights": "olora"}, {"layer_replication": [[0, 4], [2, 5]]}, {"use_dora": True},
        {"lora_bias": True}, {"kasa_config": {"beta": 1.0}}, {"init_lora_weights": "eva"},
    ],
)  # fmt: skip
def test_what_some_engine_can_merge_is_not_refused(config: dict[str, Any]) -> None:
    assert unmergeable(parse_config({**LORA, **config})) is None


@pytest.mark.parametrize(
    "config",
    [
        {}, {"use_dora": True}, {"use_rslora": True}, {"lora_bias": True},
        {"init_lora_weights": "gaussian"}, {"init_lora_weights": "eva", "eva_config": {"rho": 2}},
        {"init_lora_weights": "orthogonal"}, {"init_lora_weights": "mica"},
        {"init_lora_weights": False}, {"velora_config": {"num_groups": 4}},
        {"layer_replication": None, "target_parameters": None, "loftq_config": {}},
    ],
)  # fmt: skip
def test_plain_lora_can_be_streamed(config: dict[str, Any]) -> None:
    assert streamable(parse_config({**LORA, **config})) is None
