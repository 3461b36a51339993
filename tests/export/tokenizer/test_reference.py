"""Metadata of our vocabularies against llama.cpp's own converter."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.export.tokenizer.parity import check_token_parity
from loragraft.export.tokenizer.vocabulary import build_vocabulary
from tests.export.tokenizer import support
from tests.support.converter import Converter

pytestmark = pytest.mark.slow

FAST = {"tokenizer_class": "PreTrainedTokenizerFast"}
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


@dataclass(frozen=True)
class Case:
    """A checkpoint without weights. `sentencepiece`: settings of the tokenizer.model to write."""

    architecture: str
    model: str
    vocabulary: str
    size: int
    tokenizer: Callable[[Mapping[str, Any]], dict[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    sentencepiece: Mapping[str, int] | None = None


def bos_template(text: str, token_id: int) -> dict[str, Any]:
    """Return the post-processor that puts one token in front."""
    start = {"SpecialToken": {"id": text, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [start, first],
        "pair": [start, first, start, second],
        "special_tokens": {text: {"id": text, "ids": [token_id], "tokens": [text]}},
    }


def llama3(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return Llama 3's tokenizer.json."""
    steps = [{"type": "ByteLevel"}, bos_template("<|begin_of_text|>", 128000)]
    return support.byte_level_json(
        fields,
        support.PRE_TOKENIZERS["llama-bpe"],
        ignore_merges=True,
        post_processor={
            "type": "Sequence",
            "processors": [{**support.BYTE_LEVEL, **steps[0]}, steps[1]],
        },
    )


def byte_level(name: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Return the maker of a family's tokenizer.json."""
    return lambda fields: support.byte_level_json(fields, support.PRE_TOKENIZERS[name])


def llama2(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return Llama 2's tokenizer.json."""
    return support.sentencepiece_json(fields, normalizer=support.LLAMA_NORMALIZER)


def gemma(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tokenizer.json made as Gemma's: no space in front."""
    return support.sentencepiece_json(fields, normalizer=support.GEMMA_NORMALIZER)


def decoder(**tokens: bool) -> dict[str, Any]:
    """Return added_tokens_decoder: Llama 2's special tokens and three more."""
    known = [("<unk>", True), ("<s>", True), ("</s>", True)]
    entries = {
        str(token_id): {"content": text, "special": s} for token_id, (text, s) in enumerate(known)
    }
    # as Gemma lists its HTML tags and turns; the third looks special
    entries["32000"] = {"content": "<table>", "special": False, "normalized": False}
    entries["32001"] = {"content": "<start_of_turn>", "special": True, "normalized": False}
    entries["32002"] = {"content": "<unused1>", "special": False, "normalized": False}
    return {"added_tokens_decoder": entries, **tokens}


LLAMA2_SETTINGS = {
    **FAST,
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "add_bos_token": True,
    "add_eos_token": False,
    "chat_template": TEMPLATE,
}
GEMMA_CONFIG = {"head_dim": 16, "sliding_window": 64}
GEMMA_2_CONFIG = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
CASES = {
    "qwen2": Case(
        "Qwen2ForCausalLM",
        "qwen2",
        "qwen2",
        151936,
        byte_level("qwen2"),
        {
            **FAST,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "chat_template": TEMPLATE,
        },
        {"bos_token_id": 151643, "eos_token_id": 151645},
    ),
    "qwen3": Case("Qwen3ForCausalLM", "qwen3", "qwen2", 151936, byte_level("qwen2"), FAST),
    "llama3": Case(
        "LlamaForCausalLM",
        "llama",
        "llama-bpe",
        128256,
        llama3,
        {**FAST, "bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"},
        {"eos_token_id": [128001, 128008]},
    ),
    "granite": Case(
        "LlamaForCausalLM",
        "llama",
        "starcoder",
        49152,
        byte_level("starcoder"),
        {**FAST, "eos_token": "<|endoftext|>", "add_prefix_space": False},
        {"bos_token_id": 0},
    ),
    "llama2": Case(
        "LlamaForCausalLM", "llama", "llama-spm", 32000, llama2, LLAMA2_SETTINGS, sentencepiece={}
    ),
    "codellama": Case(
        "LlamaForCausalLM", "llama", "llama-spm", 32016, llama2, LLAMA2_SETTINGS, sentencepiece={}
    ),
    "phi3": Case(
        "Phi3ForCausalLM",
        "phi3",
        "phi-3",
        32064,
        llama2,
        {**LLAMA2_SETTINGS, "eos_token": "<|endoftext|>"},
        {"original_max_position_embeddings": 128, "pad_token_id": 32000, "sliding_window": 64},
        sentencepiece={},
    ),
    **{
        name: Case(
            architecture,
            name,
            "llama-spm",
            32064,
            gemma,
            {**LLAMA2_SETTINGS, **decoder()},
            {**GEMMA_CONFIG, **softcapping},
            sentencepiece={"dummy_prefix": 0},
        )
        for name, architecture, softcapping in (
            ("gemma", "GemmaForCausalLM", {}),
            ("gemma2", "Gemma2ForCausalLM", GEMMA_2_CONFIG),
            ("gemma3_text", "Gemma3ForCausalLM", {}),
        )
    },
}
ARCHITECTURES = {"gemma3_text": "gemma3"}


def write_checkpoint(case: Case, source: Path, folder: Path) -> dict[str, Any]:
    """Write the files of a case and return its config.json."""
    fields = support.read_vocabulary_file(source / "models" / f"ggml-vocab-{case.vocabulary}.gguf")
    model = None
    if case.sentencepiece is not None:
        model = support.sentencepiece_file(fields, **case.sentencepiece)
    support.write_folder(folder, case.tokenizer(fields), case.settings, model)
    config = {
        "architectures": [case.architecture],
        "model_type": case.model,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vocab_size": case.size,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        **case.config,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return config


def tokenizer_metadata(path: Path) -> dict[str, Any]:
    """Return every tokenizer key of a GGUF file, floats as float32."""
    with GgufFile(path) as file:
        return {key: file.get(key) for key in file.keys if key.startswith("tokenizer.")}


@pytest.mark.parametrize("name", CASES)
def test_metadata_equals_the_reference_converter(
    name: str, llama_cpp_source: Path, converter: Converter, tmp_path: Path
) -> None:
    case = CASES[name]
    folder = tmp_path / "hf"
    config = write_checkpoint(case, llama_cpp_source, folder)
    reference = tmp_path / "reference.gguf"
    converter(folder, reference, "--vocab-only")
    architecture = ARCHITECTURES.get(case.model, case.model)
    vocabulary = build_vocabulary(
        folder, config=config, architecture=architecture, vocab_size=case.size
    )
    ours = support.write_gguf(tmp_path / "ours.gguf", vocabulary, architecture)
    found, expected = tokenizer_metadata(ours), tokenizer_metadata(reference)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, list):
            differing = [
                i
                for i, pair in enumerate(zip(found[key], value, strict=True))
                if pair[0] != pair[1]
            ]
            assert not differing, (
                key,
                differing[:10],
                [(found[key][i], value[i]) for i in differing[:5]],
            )
        assert np.array_equal(found[key], value), key
    report = check_token_parity(ours, folder)
    assert report.mismatches == ()
