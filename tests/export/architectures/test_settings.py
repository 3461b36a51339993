"""Any value in config.json gives metadata that can be written, or an error that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from loragraft.errors import CheckpointError, LoragraftError, UnsupportedError
from loragraft.export.architectures import Family, find_family
from loragraft.export.writer import write_header

COMMON: dict[str, Any] = {
    "vocab_size": 48, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
}  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}  # fmt: skip
LONGROPE = {"type": "longrope", "short_factor": [1.0, 1.0], "long_factor": [1.0, 2.0]}
HEALTHY: dict[str, dict[str, Any]] = {
    "LlamaForCausalLM": {"rope_scaling": LLAMA3},
    "MistralForCausalLM": {"rope_scaling": {"type": "yarn", "factor": 4.0}},
    "Qwen2ForCausalLM": {"rope_theta": 1e6},
    "Qwen3ForCausalLM": {"head_dim": 8},
    "Gemma2ForCausalLM": {"head_dim": 8, "query_pre_attn_scalar": 8},
    "Gemma3ForCausalLM": {
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
        "final_logit_softcapping": 30.0,
    },
    "Phi3ForCausalLM": {"rope_scaling": LONGROPE, "original_max_position_embeddings": 16},
}


def config_of(name: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    return {**COMMON, "architectures": [name], **HEALTHY[name], **changes}


def family_of(name: str) -> Family:
    return find_family({"architectures": [name]})


def write(config: dict[str, Any], path: Path) -> None:
    """Do with a configuration all that an export does with it."""
    family = family_of(config["architectures"][0])
    family.shape(config)
    for values in family.generate(family.settings(config)).values():
        assert np.isfinite(values).all()
    write_header(path, family.gguf_arch, family.metadata(config), [])


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_configurations_are_written(name: str, tmp_path: Path) -> None:
    write(config_of(name), tmp_path / "header")


INFINITE, ENDLESS = float("inf"), 10**400


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("LlamaForCausalLM", {"rope_theta": INFINITE}, "'rope_theta' is inf, expected a number"),
        ("LlamaForCausalLM", {"rope_theta": ENDLESS}, "'rope_theta' is 1000"),
        ("LlamaForCausalLM", {"rope_theta": -1}, "'rope_theta' is -1, expected a number above 0"),
        ("LlamaForCausalLM", {"rms_norm_eps": float("nan")}, "'rms_norm_eps' is nan"),
        ("LlamaForCausalLM", {"rms_norm_eps": -1e-5}, "'rms_norm_eps' is -1e-05"),
        ("LlamaForCausalLM", {"max_position_embeddings": 2**32}, "is 4294967296, expected a whole"),
        ("LlamaForCausalLM", {"num_hidden_layers": 2**32 - 1}, "is 4294967295, expected 1024 at"),
        ("Gemma2ForCausalLM", {"query_pre_attn_scalar": "x"}, "'query_pre_attn_scalar' is 'x'"),
        ("LlamaForCausalLM", {"head_dim": 5}, "heads of 5 elements cannot be rotated in pairs"),
        ("LlamaForCausalLM", {"rope_scaling": {**LLAMA3, "factor": 0}}, "'factor' is 0"),
        ("LlamaForCausalLM", {"rope_scaling": {**LLAMA3, "factor": "8"}}, "'factor' is '8'"),
        ("LlamaForCausalLM", {"rope_scaling": {**LLAMA3, "low_freq_factor": 4}}, "not above low_f"),
        (
            "LlamaForCausalLM",
            {"rope_scaling": {**LLAMA3, "original_max_position_embeddings": 0}},
            "is 0, which is no context length",
        ),
        ("LlamaForCausalLM", {"rope_parameters": {"rope_theta": "x"}, "rope_scaling": None}, "'x'"),
        ("MistralForCausalLM", {"rope_scaling": {"type": "yarn"}}, "'factor' is None, expected"),
        ("Gemma2ForCausalLM", {"sliding_window": "wide"}, "'sliding_window' is 'wide'"),
        ("Gemma2ForCausalLM", {"final_logit_softcapping": []}, r"_softcapping' is \[\]"),
        ("Gemma3ForCausalLM", {"final_logit_softcapping": "x"}, "'final_logit_softcapping' is 'x'"),
        ("Gemma3ForCausalLM", {"sliding_window": -4}, "'sliding_window' is -4"),
        ("Gemma3ForCausalLM", {"rope_parameters": "x"}, "'rope_parameters' is 'x', expected an"),
        ("Gemma3ForCausalLM", {"rope_scaling": [1]}, r"'rope_scaling' is \[1\], expected an obj"),
        ("Phi3ForCausalLM", {"rope_scaling": "longrope"}, "'rope_scaling' is 'longrope'"),
        ("Phi3ForCausalLM", {"sliding_window": "x"}, "'sliding_window' is 'x'"),
        ("Phi3ForCausalLM", {"partial_rotary_factor": 2}, "'partial_rotary_factor' is 2, expected"),
        (
            "Phi3ForCausalLM",
            {"rope_scaling": {**LONGROPE, "long_factor": [1.0, "x"]}},
            "'long_factor' is 'x', expected a number",
        ),
        ("Phi3ForCausalLM", {"original_max_position_embeddings": 1}, "is 1, which is no context"),
    ],
)
def test_values_that_no_file_can_hold_are_named(
    name: str, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=rf"config\.json: .*{words}"):
        write(config_of(name, **changes), tmp_path / "header")


SLIDING, FULL = "sliding_attention", "full_attention"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("Gemma2ForCausalLM", {"layer_types": [SLIDING, FULL]}),
        ("Gemma2ForCausalLM", {"head_dim": None, "query_pre_attn_scalar": 4}),
        (  # the model with 27 billion parameters, whose heads are not as long
            "Gemma2ForCausalLM",
            {"num_hidden_layers": 46, "hidden_size": 36, "query_pre_attn_scalar": 9},
        ),
        ("Gemma3ForCausalLM", {"layer_types": [SLIDING, SLIDING]}),
        ("Gemma3ForCausalLM", {"sliding_window_pattern": 6}),
        ("Gemma3ForCausalLM", {"sliding_window_pattern": 1}),
        ("Gemma3ForCausalLM", {"sliding_window": None, "layer_types": [FULL, FULL]}),
    ],
)
def test_the_attention_that_llama_cpp_computes_is_taken(
    name: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    write(config_of(name, **changes), tmp_path / "header")


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        (
            "Gemma2ForCausalLM",
            {"query_pre_attn_scalar": 7},
            r"by 1/sqrt\(7\).*1/sqrt\(8\) built in",
        ),
        ("Gemma2ForCausalLM", {"num_hidden_layers": 46}, r"1/sqrt\(4\) built in"),
        ("Gemma2ForCausalLM", {"layer_types": [FULL, SLIDING]}, "'full_attention' of layer 0"),
        ("Gemma2ForCausalLM", {"layer_types": [SLIDING]}, "says nothing of layer 1"),
        ("Gemma3ForCausalLM", {"query_pre_attn_scalar": 256}, r"by 1/sqrt\(256\)"),
        ("Gemma3ForCausalLM", {"layer_types": [SLIDING, FULL]}, "'full_attention' of layer 1"),
        ("Gemma3ForCausalLM", {"layer_types": [FULL, FULL]}, "'full_attention' of layer 0"),
        ("Gemma3ForCausalLM", {"sliding_window_pattern": 2}, "'full_attention' of layer 1"),
        (
            "Gemma3ForCausalLM",
            {"sliding_window": None, "layer_types": [SLIDING, FULL]},
            "'sliding_attention' of layer 0, but llama.cpp has full_attention",
        ),
    ],
)
def test_an_attention_that_llama_cpp_computes_otherwise_is_refused(
    name: str, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedError, match=words):
        write(config_of(name, **changes), tmp_path / "header")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**20), 2**20) | st.floats() | st.text(max_size=5)
    | st.sampled_from([0, 1, 2, 2**32, 10**400, "yarn", "linear"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["rope_type", "type", "factor", "rope_theta", "full_attention",
                         "sliding_attention", "long_factor", "short_factor",
                         "original_max_position_embeddings", "low_freq_factor"]),
        inner, max_size=4),
    max_leaves=6,
)  # fmt: skip
KEYS = st.sampled_from([
    *COMMON, "head_dim", "rope_theta", "rope_scaling", "rope_parameters", "rope_local_base_freq",
    "partial_rotary_factor", "original_max_position_embeddings", "sliding_window",
    "sliding_window_pattern", "layer_types", "query_pre_attn_scalar", "attn_logit_softcapping",
    "final_logit_softcapping",
    "attention_bias", "mlp_bias",
])  # fmt: skip


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.sampled_from(sorted(HEALTHY)), changes=st.dictionaries(KEYS, JSON, max_size=2))
@example(name="Phi3ForCausalLM", changes={"rope_scaling": {"type": "longrope", "long_factor": 3}})
def test_any_value_is_written_or_refused_in_our_words(
    name: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    try:
        write(config_of(name, **changes), tmp_path / "header")
    except LoragraftError:
        return
