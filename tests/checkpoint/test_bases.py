"""Names of quantized models and their full-precision originals."""

from __future__ import annotations

import pytest

from loragraft.checkpoint.bases import full_precision_name, quantization_of


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("unsloth/Qwen2.5-1.5B-Instruct-bnb-4bit", "unsloth/Qwen2.5-1.5B-Instruct"),
        (
            "unsloth/Meta-Llama-3.1-8B-Instruct-unsloth-bnb-4bit",
            "unsloth/Meta-Llama-3.1-8B-Instruct",
        ),
        ("unsloth/gemma-3-4b-it-GGUF", "unsloth/gemma-3-4b-it"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "Qwen/Qwen2.5-7B-Instruct"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8", "Qwen/Qwen2.5-7B-Instruct"),
        ("Qwen/Qwen3-8B-AWQ", "Qwen/Qwen3-8B"),
        ("Qwen/Qwen3-8B-FP8", "Qwen/Qwen3-8B"),
        ("Qwen/Qwen2.5-7B-Instruct-GGUF", "Qwen/Qwen2.5-7B-Instruct"),
        ("TheBloke/Mistral-7B-Instruct-v0.2-AWQ", "mistralai/Mistral-7B-Instruct-v0.2"),
        ("TheBloke/Mistral-7B-Instruct-v0.2-GPTQ", "mistralai/Mistral-7B-Instruct-v0.2"),
        ("bartowski/Qwen2.5-7B-Instruct-GGUF", "Qwen/Qwen2.5-7B-Instruct"),
        ("bartowski/Qwen_Qwen3-8B-GGUF", "Qwen/Qwen3-8B"),
        ("bartowski/gemma-2-9b-it-GGUF", "google/gemma-2-9b-it"),
        ("mlx-community/Qwen2.5-7B-Instruct-4bit", "Qwen/Qwen2.5-7B-Instruct"),
        (
            "hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4",
            "meta-llama/Meta-Llama-3.1-8B-Instruct",
        ),
        ("microsoft/Phi-3-mini-4k-instruct-GPTQ", "microsoft/Phi-3-mini-4k-instruct"),
    ],
)
def test_quantized_names_lead_to_their_base(name: str, base: str) -> None:
    found = full_precision_name(name)
    assert found is not None
    assert found[0] == base
    assert name in found[1]


@pytest.mark.parametrize(
    "name",
    [
        "Qwen/Qwen2.5-7B-Instruct",  # nothing to strip
        "unsloth/Qwen2.5-1.5B-Instruct",
        "TheBloke/SomebodysMerge-13B-AWQ",  # whose it is cannot be told
        "TheBloke/Llama-2-7B-Chat-GPTQ",  # the original is spelled otherwise
        "mlx-community/SomebodysMerge-4bit",
        "/home/someone/Qwen2.5-7B-AWQ",
        "./models/Qwen2.5-7B-AWQ",
        "Qwen2.5-7B-AWQ",
        "Qwen/Qwen2.5-AWQ-notes",
        "-AWQ",
        "",
    ],
)
def test_no_guess_is_made(name: str) -> None:
    assert full_precision_name(name) is None


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "GPTQ 4-bit"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "AWQ 4-bit"),
        (
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
            "bitsandbytes 4-bit",
        ),
        (
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
            "bitsandbytes 8-bit",
        ),
        ({"quantization_config": {"quant_method": "fp8"}}, "FP8"),
        ({"quantization_config": {}}, "an unnamed method"),
        ({"quantization": {"group_size": 64, "bits": 4}}, "MLX 4-bit"),
        ({"hidden_size": 64}, None),
        ({"quantization_config": None}, None),
    ],
)
def test_quantized_configurations_are_named(
    config: dict[str, object], expected: str | None
) -> None:
    assert quantization_of(config) == expected
