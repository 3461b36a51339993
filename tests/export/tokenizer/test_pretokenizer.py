"""Recognition of pre-tokenizers by their structure."""

# ruff: noqa: RUF001  (DeepSeek spells its tokens with a wide bar)
from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loragraft.errors import TokenizerError
from loragraft.export.tokenizer import structures
from loragraft.export.tokenizer.parity import check_token_parity
from loragraft.export.tokenizer.pretokenizer import canonical_regex, canonical_steps, recognise
from loragraft.export.tokenizer.structures import STRUCTURES, Structure
from loragraft.export.tokenizer.vocabulary import build_vocabulary
from tests.export.tokenizer import support

VOCAB = {chr(code): code - 33 for code in range(33, 127)} | {"ab": 94}


def tokenizer(pre_tokenizer: object, **model: object) -> dict[str, Any]:
    """Return the smallest tokenizer.json with a pre-tokenizer."""
    own = {"type": "BPE", "ignore_merges": False, "vocab": VOCAB, "merges": ["a b"]}
    return {"pre_tokenizer": pre_tokenizer, "model": {**own, **model}}


def name_of(pre_tokenizer: object, tokens: tuple[str, ...] = (), **model: object) -> str:
    """Return what is recognised for a pre-tokenizer and some more tokens."""
    known = dict.fromkeys(tokens, 0)
    return recognise(tokenizer(pre_tokenizer, **model), known, "t.json").name.pre


def pre_tokenizer_of(structure: Structure) -> dict[str, Any]:
    """Return the tokenizer.json form of a structure."""
    steps: list[Mapping[str, Any]] = []
    for step in structure.steps:
        if step == structures.BYTES:
            steps.append(support.BYTE_LEVEL)
        elif step == "punctuation":
            steps.append({"type": "Punctuation", "behavior": "Contiguous"})
        elif step == structures.DEEPSEEK_LETTERS:
            steps.append(support.split(r"\s?" + support.letters(support.DEEPSEEK_RANGES) + "+"))
        else:
            steps.append(support.split(step))
    return support.sequence(*steps)


FREE = [structure for structure in STRUCTURES if structure.bound_to is None]


# the others are slow only together
QUICK = ("qwen2", "dbrx", "refact")


@pytest.mark.parametrize(
    "structure",
    [
        pytest.param(
            s, id=s.names[-1].pre, marks=() if s.names[-1].pre in QUICK else pytest.mark.slow
        )
        for s in FREE
    ],
)
def test_every_structure_splits_as_llama_cpp_does_under_its_name(
    structure: Structure, llama_cpp_source: Path, tmp_path: Path
) -> None:
    fields = support.read_vocabulary_file(llama_cpp_source / "models" / "ggml-vocab-gpt-2.gguf")
    ignore_merges = structure.names[-1].ignore_merges
    folder = support.write_folder(
        tmp_path / "hf",
        support.byte_level_json(fields, pre_tokenizer_of(structure), ignore_merges=ignore_merges),
    )
    vocabulary = build_vocabulary(
        folder, config={}, architecture="qwen2", vocab_size=len(fields["tokens"])
    )
    assert vocabulary.pre == structure.names[-1].pre
    report = check_token_parity(support.write_gguf(tmp_path / "v.gguf", vocabulary), folder)
    assert report.mismatches == ()
    assert {mismatch.known for mismatch in report.explained} <= {"case classes"}


def test_structures_bound_to_a_vocabulary_are_few_and_covered_by_its_vectors() -> None:
    bound = [structure.names[-1].pre for structure in STRUCTURES if structure.bound_to]
    assert bound == ["deepseek-llm", "falcon"]


@pytest.mark.parametrize(
    ("pre", "tokens", "expected"),
    [
        ("qwen2", (), "qwen2"),
        ("qwen2", ("<｜Assistant｜>",), "deepseek-r1-qwen"),
        ("gpt-2", (), "gpt-2"),
        ("gpt-2", ("\t" * 9, "<|endoftext|>"), "phi-2"),
        ("gpt-2", ("<|padding|>", " " * 24), "olmo"),
        ("starcoder", ("<fim_prefix>", "<repo_name>"), "starcoder"),
        ("starcoder", ("<|im_start|>", "<repo_name>"), "smollm"),
        ("starcoder", ("<fim_prefix>", "<|im_start|>"), "refact"),
        ("starcoder", ("<|START_OF_TURN_TOKEN|>",), "command-r"),
        ("llama-bpe", ("[gMASK]", "<sop>"), "chatglm-bpe"),
        ("llama-bpe", ("<|begin_of_text|>",), "smaug-bpe"),
        ("llama-bpe", (), "dbrx"),
    ],
)
def test_names_of_one_structure_are_told_apart_by_tokens(
    pre: str, tokens: tuple[str, ...], expected: str
) -> None:
    assert name_of(support.PRE_TOKENIZERS[pre], tokens) == expected


def test_llama_3_is_known_by_ignoring_merges() -> None:
    pre = support.PRE_TOKENIZERS["llama-bpe"]
    assert name_of(pre, ignore_merges=True) == "llama-bpe"
    assert name_of(pre, ("[gMASK]", "<sop>"), ignore_merges=True) == "glm4"


def test_a_new_token_does_not_change_the_name() -> None:
    assert name_of(support.PRE_TOKENIZERS["qwen2"], ("<my new token>",)) == "qwen2"


@pytest.mark.parametrize(
    "regex",
    [
        structures.QWEN2,
        structures.QWEN2.replace(r"\r", "\r").replace(r"\n", "\n"),
        structures.QWEN2.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)", "'(?i:[sdmt]|ll|ve|re)"),
    ],
)
def test_spellings_of_one_regex_are_one(regex: str) -> None:
    assert canonical_regex(regex) == structures.QWEN2


def test_keeping_matches_is_isolating_them_where_all_text_matches() -> None:
    step = support.split(structures.GPT4O)
    inverted = {**step, "behavior": "Removed", "invert": True}
    assert canonical_steps(inverted, "t") == canonical_steps(step, "t")
    partial = {**support.split(r"\p{L}+"), "behavior": "Removed", "invert": True}
    with pytest.raises(TokenizerError, match="which llama"):
        canonical_steps(partial, "t")


def changed(key: str, value: object) -> dict[str, Any]:
    """Return GPT-2's tokenizer.json with one part replaced."""
    return {**tokenizer(support.GPT2_STEP), key: value}


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (
            tokenizer(support.sequence(support.split(r"\w+|\W+"), support.BYTE_LEVEL)),
            r"\\w\+\|\\W\+",
        ),
        (tokenizer({**support.GPT2_STEP, "add_prefix_space": True}), "add_prefix_space"),
        (tokenizer({"type": "Whitespace"}), "Whitespace"),
        (tokenizer({"type": 7}), "no type"),
        (tokenizer("ByteLevel"), "no type"),
        (tokenizer({"type": "Sequence"}), "without steps"),
        (tokenizer(None), "byte_fallback"),
        (tokenizer(support.split("x"), byte_fallback=True), "merges over the whole text"),
        (tokenizer(support.GPT2_STEP, type="Unigram"), "Unigram"),
        (tokenizer(support.GPT2_STEP, type="WordPiece"), "WordPiece"),
        (tokenizer(support.GPT2_STEP, end_of_word_suffix="</w>"), "end_of_word_suffix"),
        (changed("normalizer", {"type": "Lowercase"}), "Lowercase"),
        (changed("normalizer", "NFC"), "normalizer .NFC., which has no type"),
        (changed("normalizer", {"type": "Sequence", "normalizers": [{"type": "NFKC"}]}), "NFKC"),
        (changed("model", None), "BPE was expected"),
        (
            {**tokenizer(None, byte_fallback=True), "normalizer": {"type": "NFKC"}},
            "only turns spaces",
        ),
    ],
)
def test_what_llama_cpp_cannot_do_is_refused_with_what_was_found(
    broken: dict[str, Any], says: str
) -> None:
    with pytest.raises(TokenizerError, match=says) as caught:
        recognise(
            broken, broken["model"]["vocab"] if broken["model"] else {}, "some/tokenizer.json"
        )
    assert "some/tokenizer.json" in str(caught.value)
    assert "Use a base with" in str(caught.value)


def test_composition_is_let_pass() -> None:
    healthy = changed("normalizer", {"type": "Sequence", "normalizers": [{"type": "NFC"}]})
    assert recognise(healthy, VOCAB, "t").name.pre == "gpt-2"


def test_long_tables_do_not_flood_the_message() -> None:
    broken = changed("normalizer", {"type": "Precompiled", "precompiled_charsmap": "A" * 100_000})
    with pytest.raises(TokenizerError) as caught:
        recognise(broken, VOCAB, "t")
    assert len(str(caught.value)) < 2000


def test_other_merge_rule_is_refused_only_where_it_matters() -> None:
    pre = support.PRE_TOKENIZERS["gpt-2"]
    assert name_of(pre, ignore_merges=True) == "gpt-2"
    unreachable = {**VOCAB, "xyz": 95}
    with pytest.raises(TokenizerError, match="'xyz'"):
        recognise(tokenizer(pre, ignore_merges=True, vocab=unreachable), unreachable, "t")


def sentencepiece(**parts: object) -> dict[str, Any]:
    """Return the smallest SentencePiece-like tokenizer.json."""
    return {**tokenizer(None, byte_fallback=True), "normalizer": support.LLAMA_NORMALIZER, **parts}


@pytest.mark.parametrize(
    "healthy",
    [
        sentencepiece(),
        sentencepiece(normalizer=support.GEMMA_NORMALIZER),
        sentencepiece(
            normalizer=support.GEMMA_NORMALIZER,
            pre_tokenizer={
                "type": "Split",
                "pattern": {"String": " "},
                "behavior": "MergedWithPrevious",
                "invert": False,
            },
        ),
        sentencepiece(
            normalizer=None,
            pre_tokenizer={
                "type": "Metaspace",
                "replacement": "▁",
                "prepend_scheme": "first",
                "split": False,
            },
        ),
    ],
)
def test_sentencepiece_is_recognised(healthy: dict[str, Any]) -> None:
    found = recognise(healthy, VOCAB, "t")
    assert (found.model, found.name.pre) == ("llama", "default")


def test_splitting_at_spaces_is_refused_where_tokens_span_words() -> None:
    step = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    parts = sentencepiece(normalizer=None, pre_tokenizer=step)
    assert recognise(parts, {"▁a": 0}, "t").model == "llama"
    with pytest.raises(TokenizerError, match="span several words"):
        recognise(copy.deepcopy(parts), {"▁a▁b": 0}, "t")
