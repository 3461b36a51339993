"""Hugging Face tokenizer folders made from llama.cpp's vocabulary files, and back to GGUF."""

# ruff: noqa: RUF001  (regexes of many scripts)
from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from gguf import GGUFValueType, GGUFWriter

from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.export.tokenizer import structures
from loragraft.export.tokenizer.vocabulary import Vocabulary, vocabulary_items

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": False,
}
GPT2_STEP = {**BYTE_LEVEL, "use_regex": True}
# The cased letters DeepSeek LLM's tokenizer.json lists, as code points.
DEEPSEEK_RANGES = (
    "41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F 386 "
    "388-38A 38C 38E-3A1 3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA "
    "1CBD-1CBF 1D00-1D2B 1D6B-1D77 1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 "
    "1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 1FD6-1FDB "
    "1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 212A-212D "
    "212F-2134 2139 213C-213F 2145-2149 214E 2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 "
    "A640-A66D A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A "
    "FF41-FF5A 10400-1044F 104B0-104D3 104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF "
    "1E900-1E943 "
)


def letters(ranges: str) -> str:
    """Return a regex character class of code point ranges."""
    spans = [span.split("-") for span in ranges.split()]
    return "[" + "".join("-".join(chr(int(end, 16)) for end in span) for span in spans) + "]"


def split(regex: str) -> dict[str, Any]:
    """Return a Split step as tokenizer.json has it."""
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def digits(individual: bool) -> dict[str, Any]:
    """Return a Digits step."""
    return {"type": "Digits", "individual_digits": individual}


def sequence(*steps: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pre-tokenizer of several steps."""
    return {"type": "Sequence", "pretokenizers": list(steps)}


# The pre-tokenizer of each family as its own tokenizer.json has it.
PRE_TOKENIZERS: Mapping[str, Mapping[str, Any]] = {
    "qwen2": sequence(split(structures.QWEN2), BYTE_LEVEL),
    "qwen35": sequence(split(structures.QWEN35), BYTE_LEVEL),
    "llama-bpe": sequence(split(structures.LLAMA3), BYTE_LEVEL),
    "gpt-2": GPT2_STEP,
    "mpt": GPT2_STEP,
    "starcoder": sequence(digits(True), GPT2_STEP),
    "refact": sequence(digits(True), GPT2_STEP),
    "command-r": sequence(digits(True), GPT2_STEP),
    "deepseek-llm": sequence(
        split("[\r\n]"),
        split("\\s?" + letters(DEEPSEEK_RANGES) + "+"),
        split("\\s?[!-/:-~！-／：-～‘-‟　-。]+"),
        split("\\s+$"),
        split("[一-龥ࠀ-一가-퟿]+"),
        digits(False),
        BYTE_LEVEL,
    ),
    "deepseek-coder": sequence(
        split("[\r\n]"),
        split("\\s?\\p{L}+"),
        split("\\s?\\p{P}+"),
        split("[一-龥ࠀ-一가-퟿]+"),
        digits(True),
        BYTE_LEVEL,
    ),
    "falcon": sequence(
        {"type": "Punctuation", "behavior": "Contiguous"},
        GPT2_STEP,
        digits(False),
        split("[0-9][0-9][0-9]"),
    ),
}
LLAMA_NORMALIZER = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ],
}
GEMMA_NORMALIZER = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}


@lru_cache(maxsize=2)
def read_vocabulary_file(path: Path) -> dict[str, Any]:
    """Return the tokenizer fields of a GGUF file, without their prefix."""
    prefix = "tokenizer.ggml."
    with GgufFile(path) as file:
        keys = [key for key in file.keys if key.startswith(prefix)]
        return {key.removeprefix(prefix): file.get(key) for key in keys}


def byte_level_json(
    vocabulary: Mapping[str, Any],
    pre_tokenizer: Mapping[str, Any],
    *,
    ignore_merges: bool = False,
    post_processor: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the tokenizer.json of a byte-level vocabulary read from a GGUF file."""
    rows = list(enumerate(zip(vocabulary["tokens"], vocabulary["token_type"], strict=True)))
    added = [
        (token_id, text, kind)
        for token_id, (text, kind) in rows
        if kind in (CONTROL, USER_DEFINED) and text != f"[PAD{token_id}]"
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            added_token(token_id, text, special=kind == CONTROL) for token_id, text, kind in added
        ],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor or {"type": "ByteLevel", **_trim()},
        "decoder": {"type": "ByteLevel", **_trim()},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": ignore_merges,
            "vocab": _model_part(rows),
            "merges": [merge.split(" ") for merge in vocabulary["merges"]],
        },
    }


def _model_part(rows: Sequence[tuple[int, tuple[str, int]]]) -> dict[str, int]:
    """Return the vocabulary up to the last normal token: added tokens below it are its own."""
    last = max(token_id for token_id, (_, kind) in rows if kind == NORMAL)
    return {text: token_id for token_id, (text, _) in rows if token_id <= last}


def _trim() -> dict[str, bool]:
    return {"add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def added_token(token_id: int, content: str, *, special: bool, **flags: bool) -> dict[str, Any]:
    """Return an entry of added_tokens."""
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": token_id, "content": content, **plain, "special": special, **flags}


def sentencepiece_json(
    vocabulary: Mapping[str, Any], *, normalizer: Mapping[str, Any], bos: str | None = "<s>"
) -> dict[str, Any]:
    """Return the tokenizer.json that transformers makes of a SentencePiece BPE vocabulary."""
    rows = list(enumerate(zip(vocabulary["tokens"], vocabulary["token_type"], strict=True)))
    model = _model_part(rows)
    added = [
        added_token(token_id, text, special=kind != USER_DEFINED)
        for token_id, (text, kind) in rows
        if kind in (UNKNOWN, CONTROL, USER_DEFINED) and text != f"[PAD{token_id}]"
    ]
    unknown = "<unk>" if "<unk>" in model else None
    sequence_a = {"Sequence": {"id": "A", "type_id": 0}}
    start = [{"SpecialToken": {"id": bos, "type_id": 0}}] if bos else []
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [*start, sequence_a],
            "pair": [*start, sequence_a, *start, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {bos: {"id": bos, "ids": [model[bos]], "tokens": [bos]}}
            if bos
            else {},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": unknown,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": model,
            "merges": [m.split(" ") for m in vocabulary.get("merges", ())]
            or _merges_by_score(model, vocabulary["scores"]),
        },
    }


def _merges_by_score(model: Mapping[str, int], scores: Sequence[float]) -> list[list[str]]:
    """Return every split of every token into two tokens, best score first."""
    merges: list[tuple[float, int, int, list[str]]] = []
    for text, token_id in model.items():
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in model and right in model:
                merges.append((-scores[token_id], model[left], model[right], [left, right]))
    return [pair for *_, pair in sorted(merges)]


def sentencepiece_file(
    vocabulary: Mapping[str, Any],
    *,
    model_type: int = 2,
    dummy_prefix: int = 1,
    extra_spaces: int = 1,
) -> bytes:
    """Return a tokenizer.model with the pieces of a vocabulary (padding left out)."""
    prepare = field(1, b"identity") + number(3, dummy_prefix) + number(4, 1 - extra_spaces)
    data = b""
    rows = zip(vocabulary["tokens"], vocabulary["scores"], vocabulary["token_type"], strict=True)
    for token_id, (text, score, kind) in enumerate(rows):
        if text == f"[PAD{token_id}]":
            continue
        data += field(1, piece(text, score, kind))
    return data + field(2, number(3, model_type) + number(35, 1)) + field(3, prepare)


def piece(text: str, score: float, kind: int) -> bytes:
    """Return one SentencePiece message."""
    return field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + number(3, kind)


def field(tag: int, value: bytes) -> bytes:
    """Return a length-delimited protobuf field."""
    return varint(tag << 3 | 2) + varint(len(value)) + value


def number(tag: int, value: int) -> bytes:
    """Return a varint protobuf field."""
    return varint(tag << 3) + varint(value)


def varint(value: int) -> bytes:
    """Return a protobuf number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_folder(
    folder: Path,
    tokenizer: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    model: bytes | None = None,
) -> Path:
    """Write tokenizer.json, tokenizer_config.json and tokenizer.model, where given."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("tokenizer.json", tokenizer), ("tokenizer_config.json", config)):
        if content is not None:
            (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    if model is not None:
        (folder / "tokenizer.model").write_bytes(model)
    return folder


def write_gguf(path: Path, vocabulary: Vocabulary, architecture: str = "llama") -> Path:
    """Write a GGUF file that holds a vocabulary and nothing else."""
    writer = GGUFWriter(path, architecture)
    adders = {
        "string": writer.add_string,
        "bool": writer.add_bool,
        "u32": writer.add_uint32,
        "[string]": writer.add_array,
    }
    for key, value, kind in vocabulary_items(vocabulary):
        if kind == "[i32]":
            writer.add_key_value(key, value, GGUFValueType.ARRAY, GGUFValueType.INT32)
        elif kind == "[f32]":
            writer.add_key_value(key, value, GGUFValueType.ARRAY, GGUFValueType.FLOAT32)
        else:
            adders[kind](key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path
