"""Real tokenizers as Hugging Face folders, from llama.cpp's vocabulary files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.export.tokenizer import support
from tests.support.sources import llama_cpp_source

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def _fields(name: str) -> dict[str, Any]:
    path = llama_cpp_source() / "models" / f"ggml-vocab-{name}.gguf"
    return support.read_vocabulary_file(path)


def _settings(**special: str) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE,
        **special,
    }


def save_qwen2_tokenizer(folder: Path) -> Path:
    """Write Qwen2's tokenizer, its splitting steps restored; 151,936 rows with the padding."""
    tokenizer = support.byte_level_json(_fields("qwen2"), support.PRE_TOKENIZERS["qwen2"])
    special = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    template = TEMPLATE.removeprefix("{{ bos_token }}")
    return support.write_folder(
        folder, tokenizer, {**_settings(**special), "chat_template": template}
    )


def save_llama_bpe_tokenizer(folder: Path) -> Path:
    """Write Llama 3's tokenizer, its splitting steps and its start token restored."""
    bos, token_id = "<|begin_of_text|>", 128000
    start, first, second = (
        {"SpecialToken": {"id": bos, "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"Sequence": {"id": "B", "type_id": 1}},
    )
    processor = {
        "type": "Sequence",
        "processors": [
            support.BYTE_LEVEL,
            {
                "type": "TemplateProcessing",
                "single": [start, first],
                "pair": [start, first, start, second],
                "special_tokens": {bos: {"id": bos, "ids": [token_id], "tokens": [bos]}},
            },
        ],
    }
    tokenizer = support.byte_level_json(
        _fields("llama-bpe"),
        support.PRE_TOKENIZERS["llama-bpe"],
        ignore_merges=True,
        post_processor=processor,
    )
    special = {"bos_token": bos, "eos_token": "<|end_of_text|>"}
    return support.write_folder(folder, tokenizer, _settings(**special))
