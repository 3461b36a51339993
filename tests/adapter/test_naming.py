"""Names say sizes, families and quantizations, and nothing that they do not say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.adapter.fingerprint import KNOWN_BASES
from loragraft.adapter.naming import format_size, read_name

SIZES = {
    "reddit-4b-think": (4.0,),
    "Qwen/Qwen2.5-1.5B-Instruct": (1.5,),
    "Qwen2.5-0.5B": (0.5,),
    "rules-7b-instruct-lora": (7.0,),
    "SmolLM2-135M-Instruct": (0.135,),
    "smollm2-1-7b": (1.7, 7.0),
    "gemma-3n-E4B-it": (4.0,),
    "Llama-3.2-1B": (1.0,),
    "llama-3-8b": (8.0,),
    "llama-3-2-1b-reddit": (1.0,),
    "qwen2-5-1-5b-instruct-gptq-int4": (1.5, 5.0),
    "qwen2-5-7b": (7.0,),
    "qwen2-1-5b": (1.5, 5.0),
    "qwen2dot5-0p5b": (0.5,),
    "gemma-2-2b-it": (2.0,),
    "gemma2b": (2.0,),
    "qwen7b": (7.0,),
    "llama-13b": (13.0,),
    "pythia-2.8b": (2.8,),
    "glm-4-9b-chat": (9.0,),
    "Qwen3-30B-A3B": (30.0,),
    "Mixtral-8x7B-v0.1": (56.0,),
    "distil-70b-to-8b": (70.0, 8.0),
    "/home/me/hub/models--Qwen--Qwen2.5-3B/snapshots/0a1b2c4b": (3.0,),
    "outputs\\adapters\\science-3B": (3.0,),
    "owner/model-3b@7b": (3.0,),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_read(name: str) -> None:
    assert read_name(name).sizes == SIZES[name]


@pytest.mark.parametrize(
    "name",
    [
        "lora-v2", "smollm2-lora", "qwen2.5-lora", "llama-3.1-adapter", "Llama-3.2", "adapter-r16",
        "lora-4bit", "lora-8bit-r32-a64", "ctx-8k", "qwen2.5-1M-context", "run-2025-01-07",
        "20251101", "checkpoint-4000", "fold_1", "w4a16", "nf4", "0a1b4c2d4b", "commit-a4b",
        "phi-3-mini", "gpt-2", "t5", "v0.3", "4-bit", "100m-tokens", "2b_tokens", "10m samples",
        "q4_k_m", "", "a-b", "exp3b", "5m",
    ],
)  # fmt: skip
def test_what_is_no_size_is_not_read_as_one(name: str) -> None:
    assert read_name(name).sizes == ()


def test_an_effective_size_is_marked() -> None:
    assert read_name("gemma-3n-e4b").effective
    assert not read_name("gemma-3-4b").effective


@pytest.mark.parametrize(
    ("name", "families", "quantization"),
    [
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", ("Qwen",), "GPTQ"),
        ("TheBloke/Mistral-7B-AWQ", ("Mistral",), "AWQ"),
        ("unsloth/Llama-3.2-1B-bnb-4bit", ("Llama",), "bitsandbytes"),
        ("gemma-2-2b-it-Q4_K_M", ("Gemma",), "GGUF"),
        ("DeepSeek-R1-Distill-Qwen-7B", ("Qwen", "DeepSeek"), None),
        ("mlx-community/Qwen3-4B-4bit-mlx", ("Qwen",), "4-bit"),
        ("reddit-4b-think", (), None),
        ("all-MiniLM-L6-v2", ("MiniLM",), None),
    ],
)
def test_families_and_quantizations_are_read(
    name: str, families: tuple[str, ...], quantization: str | None
) -> None:
    claim = read_name(name)
    assert (claim.families, claim.quantization) == (families, quantization)


def test_every_known_base_is_read_back() -> None:
    for base in KNOWN_BASES:
        claim = read_name(f"someone/{base.name.lower()}-lora-r16")
        assert claim.families, base.name
        assert claim.sizes or base.name == "Phi-3-mini", base.name


@pytest.mark.parametrize(
    ("size", "text"), [(0.135, "135M"), (0.5, "0.5B"), (1.5, "1.5B"), (7.62, "7.62B"), (30, "30B")]
)
def test_sizes_are_written_as_names_write_them(size: float, text: str) -> None:
    assert format_size(size) == text


def test_a_claim_reads_as_words() -> None:
    assert str(read_name("Qwen2.5-1.5B-GPTQ")) == "Qwen, 1.5B, GPTQ"
    assert str(read_name("adapter")) == "nothing"


@given(st.text(max_size=60))
def test_any_text_is_read(text: str) -> None:
    claim = read_name(text)
    assert all(size > 0 for size in claim.sizes)
