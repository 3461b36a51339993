"""llama.cpp's own token vectors through our export."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragraft.engine.llama_vocabulary import open_vocabulary
from loragraft.export.tokenizer.parity import check_token_parity
from loragraft.export.tokenizer.vocabulary import build_vocabulary
from tests.export.tokenizer import support

SEPARATOR = "\n__ggml_vocab_test__\n"
BYTE_LEVEL = {
    "qwen2": "qwen2",
    "llama-bpe": "llama-bpe",
    "gpt-2": "gpt-2",
    "starcoder": "starcoder",
    "falcon": "falcon",
    "deepseek-llm": "deepseek-llm",
    "deepseek-coder": "deepseek-coder",
    "refact": "refact",
    "command-r": "command-r",
    "qwen35": "qwen35",
    "mpt": "olmo",
}
# of two of a size, one runs with the quick tests
SLOW = ("command-r", "qwen35", "deepseek-llm", "mpt", "refact")


def check_vectors(vocabulary_file: Path, gguf: Path) -> None:
    """Assert that a GGUF file gives every id of a vector file."""
    texts = Path(f"{vocabulary_file}.inp").read_text(encoding="utf-8").split(SEPARATOR)
    lines = Path(f"{vocabulary_file}.out").read_text(encoding="utf-8").splitlines()
    with open_vocabulary(gguf) as llama:
        found = [llama.encode(text, add_special=False, parse_special=False) for text in texts]
    assert len(lines) > 40
    expected = [[int(token_id) for token_id in line.split()] for line in lines]
    assert found[: len(expected)] == expected


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in BYTE_LEVEL]
)
def test_byte_level_families_give_every_id(
    name: str, llama_cpp_source: Path, tmp_path: Path
) -> None:
    vocabulary_file = llama_cpp_source / "models" / f"ggml-vocab-{name}.gguf"
    fields = support.read_vocabulary_file(vocabulary_file)
    tokenizer = support.byte_level_json(
        fields, support.PRE_TOKENIZERS[name], ignore_merges=name == "llama-bpe"
    )
    folder = support.write_folder(tmp_path / "hf", tokenizer)
    vocabulary = build_vocabulary(
        folder, config={}, architecture="qwen2", vocab_size=len(fields["tokens"])
    )
    assert (vocabulary.model, vocabulary.pre) == ("gpt2", BYTE_LEVEL[name])
    assert list(vocabulary.tokens) == fields["tokens"]
    assert list(vocabulary.merges or ()) == fields["merges"]
    gguf = support.write_gguf(tmp_path / "v.gguf", vocabulary)
    check_vectors(vocabulary_file, gguf)
    report = check_token_parity(gguf, folder)
    assert report.mismatches == ()
    assert report.explained == ()


@pytest.mark.slow
def test_gemma_gives_every_id_from_tokenizer_json_alone(
    llama_cpp_source: Path, tmp_path: Path
) -> None:
    vocabulary_file = llama_cpp_source / "models" / "ggml-vocab-gemma-4.gguf"
    fields = support.read_vocabulary_file(vocabulary_file)
    tokenizer = support.sentencepiece_json(fields, normalizer=support.GEMMA_NORMALIZER, bos="<bos>")
    tokenizer["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"String": " "},
        "behavior": "MergedWithPrevious",
        "invert": False,
    }
    folder = support.write_folder(tmp_path / "hf", tokenizer)
    vocabulary = build_vocabulary(
        folder, config={}, architecture="gemma3", vocab_size=len(fields["tokens"])
    )
    assert vocabulary.flags["add_space_prefix"] is False
    gguf = support.write_gguf(tmp_path / "v.gguf", vocabulary)
    check_vectors(vocabulary_file, gguf)
    assert check_token_parity(gguf, folder).mismatches == ()


@pytest.mark.parametrize("files", ["json", "model", "both"])
@pytest.mark.parametrize(("name", "architecture"), [("llama-spm", "llama"), ("phi-3", "phi3")])
def test_sentencepiece_families_give_every_id_from_either_file(
    name: str, architecture: str, files: str, llama_cpp_source: Path, tmp_path: Path
) -> None:
    vocabulary_file = llama_cpp_source / "models" / f"ggml-vocab-{name}.gguf"
    fields = support.read_vocabulary_file(vocabulary_file)
    tokenizer = support.sentencepiece_json(fields, normalizer=support.LLAMA_NORMALIZER)
    model = support.sentencepiece_file(fields)
    folder = support.write_folder(
        tmp_path / "hf",
        tokenizer if files != "model" else None,
        model=model if files != "json" else None,
    )
    vocabulary = build_vocabulary(
        folder, config={}, architecture=architecture, vocab_size=len(fields["tokens"])
    )
    assert (vocabulary.model, vocabulary.pre) == ("llama", "default")
    assert list(vocabulary.tokens) == fields["tokens"]
    if files == "both":
        assert list(vocabulary.scores or ()) == fields["scores"]
    gguf = support.write_gguf(tmp_path / "v.gguf", vocabulary)
    check_vectors(vocabulary_file, gguf)
    report = check_token_parity(gguf, folder)
    assert report.mismatches == ()
    assert report.explained == ()
