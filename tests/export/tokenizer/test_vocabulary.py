"""Building vocabularies: types, special ids, flags, adapters, padding, refusals."""

# ruff: noqa: RUF001  (DeepSeek spells its tokens with a wide bar)
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loragraft.errors import TokenizerError
from loragraft.export.tokenizer.vocabulary import Vocabulary, build_vocabulary, vocabulary_items
from tests.export.tokenizer import support
from tests.export.tokenizer.support import BYTE, CONTROL, NORMAL, UNUSED, USER_DEFINED

EOS = "<|endoftext|>"
BYTE_ALPHABET = [chr(c) for c in (*range(33, 127), *range(161, 173), *range(174, 324))][:256]


def pico(**parts: object) -> dict[str, Any]:
    """Return a byte-level tokenizer.json of 260 tokens: bytes, two merges, two added tokens."""
    texts = [*BYTE_ALPHABET, "ab", "abc", EOS, "<|im_end|>"]
    fields = {
        "tokens": texts,
        "token_type": [NORMAL] * 258 + [CONTROL] * 2,
        "merges": ["a b", "ab c"],
    }
    return {**support.byte_level_json(fields, support.GPT2_STEP), **parts}


def pico_spm(**parts: object) -> dict[str, Any]:
    """Return a SentencePiece-like tokenizer.json: 3 special tokens, 256 bytes, 5 pieces."""
    texts = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{b:02X}>" for b in range(256)),
        "▁",
        "a",
        "b",
        "ab",
        "▁ab",
    ]
    kinds = [2, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * 5
    scores = [0.0] * 259 + [-1000.0, -1001.0, -1002.0, -1.0, -2.0]
    fields = {"tokens": texts, "token_type": kinds, "scores": scores}
    return {**support.sentencepiece_json(fields, normalizer=support.LLAMA_NORMALIZER), **parts}


def build(folder: Path, size: int = 260, **arguments: object) -> Vocabulary:
    """Build with defaults for what a test is not about."""
    defaults: dict[str, Any] = {"config": {}, "architecture": "qwen2"}
    return build_vocabulary(folder, vocab_size=size, **{**defaults, **arguments})


def test_healthy_vocabulary_becomes_metadata(tmp_path: Path) -> None:
    config = {"eos_token": EOS, "pad_token": {"content": EOS}, "chat_template": "{{ messages }}"}
    vocabulary = build(support.write_folder(tmp_path, pico(), config), 262)
    items = {key: (value, kind) for key, value, kind in vocabulary_items(vocabulary)}
    tokens, kind = items["tokenizer.ggml.tokens"]
    assert kind == "[string]"
    assert tokens[256:] == ["ab", "abc", EOS, "<|im_end|>", "[PAD260]", "[PAD261]"]
    types = items["tokenizer.ggml.token_type"][0]
    assert types[255:] == [NORMAL, NORMAL, NORMAL, CONTROL, CONTROL, UNUSED, UNUSED]
    assert items["tokenizer.ggml.merges"] == (["a b", "ab c"], "[string]")
    assert items["tokenizer.ggml.eos_token_id"] == (258, "u32")
    assert items["tokenizer.ggml.padding_token_id"] == (258, "u32")
    assert items["tokenizer.ggml.add_bos_token"] == (False, "bool")
    assert items["tokenizer.chat_template"] == ("{{ messages }}", "string")
    assert "tokenizer.ggml.scores" not in items
    assert vocabulary.warnings == ()


def test_merges_may_be_pairs_or_lines(tmp_path: Path) -> None:
    lines, pairs = pico(), pico()
    lines["model"]["merges"] = ["a b", "ab c"]
    assert pairs["model"]["merges"] == [["a", "b"], ["ab", "c"]]
    first = build(support.write_folder(tmp_path / "lines", lines))
    assert first.merges == build(support.write_folder(tmp_path / "pairs", pairs)).merges


@pytest.mark.parametrize(
    ("content", "special", "expected", "kind"),
    [
        ("<tool>", True, "<tool>", CONTROL),
        ("<tool>", False, "<tool>", USER_DEFINED),
        ("<|tool|>", False, "<|tool|>", CONTROL),
        ("<｜tool｜>", False, "<｜tool｜>", CONTROL),
        ("<unused7>", False, "<unused7>", CONTROL),
        ("<mask>", False, "<mask>", CONTROL),
        ("▁▁", False, "  ", USER_DEFINED),
    ],
)
def test_added_tokens_get_their_types(
    content: str, special: bool, expected: str, kind: int, tmp_path: Path
) -> None:
    tokenizer = pico()
    tokenizer["added_tokens"].append(support.added_token(260, content, special=special))
    vocabulary = build(support.write_folder(tmp_path, tokenizer), 261)
    assert (vocabulary.tokens[260], vocabulary.types[260]) == (expected, kind)


def test_configuration_flags_go_before_those_of_tokenizer_json(tmp_path: Path) -> None:
    tokenizer = pico()
    tokenizer["added_tokens"].append(support.added_token(260, "<tool>", special=False))
    config = {"added_tokens_decoder": {"260": {"content": "<tool>", "special": True}}}
    assert build(support.write_folder(tmp_path, tokenizer, config), 261).types[260] == CONTROL


def test_appointed_tokens_become_special_and_unknown_ones_are_reported(tmp_path: Path) -> None:
    config = {"eos_token": "abc", "pad_token": "[PAD]", "additional_special_tokens": ["ab"]}
    vocabulary = build(support.write_folder(tmp_path, pico(), config))
    assert vocabulary.types[256:258] == (CONTROL, CONTROL)
    assert vocabulary.special == {"eos_token_id": 257}
    assert any("'[PAD]'" in warning for warning in vocabulary.warnings)


TEMPLATE_BOS = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": EOS, "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ],
    "pair": [],
    "special_tokens": {EOS: {"id": EOS, "ids": [258], "tokens": [EOS]}},
}
TEMPLATE_EOS = {
    **TEMPLATE_BOS,
    "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "<|im_end|>"}}],
}
TEMPLATE_SEP = {
    **TEMPLATE_BOS,
    "single": [],
    "pair": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": EOS}}, {"Sequence": {"id": "B"}}],
}


@pytest.mark.parametrize(
    ("post", "config", "flags", "special"),
    [
        (None, {}, {}, {}),
        (None, {"add_bos_token": True}, {"add_bos_token": True}, {}),
        (TEMPLATE_BOS, {"bos_token": EOS}, {"add_bos_token": True}, {"bos_token_id": 258}),
        (TEMPLATE_BOS, {}, {"add_bos_token": True}, {"bos_token_id": 258}),
        (TEMPLATE_BOS, {"x": 1}, {"add_bos_token": True}, {"bos_token_id": 258}),
        (
            {"type": "Sequence", "processors": [{"type": "ByteLevel"}, TEMPLATE_BOS]},
            {"bos_token": EOS},
            {"add_bos_token": True, "add_eos_token": False},
            {"bos_token_id": 258},
        ),
        (
            TEMPLATE_EOS,
            {"eos_token": EOS},
            {"add_eos_token": True},
            {"eos_token_id": 259, "eot_token_id": 258},
        ),
        (
            TEMPLATE_SEP,
            {"eos_token": EOS},
            {"add_sep_token": True},
            {"eos_token_id": 258, "seperator_token_id": 258},
        ),
        (
            {"type": "RobertaProcessing", "cls": [EOS, 258], "sep": ["<|im_end|>", 259]},
            {"x": 1},
            {"add_bos_token": True, "add_eos_token": True, "add_sep_token": True},
            {"seperator_token_id": 259},
        ),
    ],
)
def test_post_processor_decides_flags_and_special_ids(
    post: object, config: dict[str, Any], flags: object, special: object, tmp_path: Path
) -> None:
    vocabulary = build(support.write_folder(tmp_path, pico(post_processor=post), config))
    assert vocabulary.flags == flags
    assert vocabulary.special == special


def test_post_processor_and_configuration_at_odds_are_reported(tmp_path: Path) -> None:
    config = {"bos_token": EOS, "add_bos_token": False}
    vocabulary = build(support.write_folder(tmp_path, pico(post_processor=TEMPLATE_BOS), config))
    assert vocabulary.flags == {"add_bos_token": True}
    assert any("does the opposite" in warning for warning in vocabulary.warnings)


def test_config_json_fills_what_the_tokenizer_leaves_open(tmp_path: Path) -> None:
    folder = support.write_folder(tmp_path, pico(), {"eos_token": EOS})
    config = {"eos_token_id": 5, "bos_token_id": 7, "pad_token_id": [1, 2], "unk_token_id": 999}
    vocabulary = build(folder, config=config)
    assert vocabulary.special == {"eos_token_id": 258, "bos_token_id": 7}
    assert any("unk has the id 999" in warning for warning in vocabulary.warnings)


@pytest.mark.parametrize(
    ("architecture", "size", "config", "flags", "special"),
    [
        ("llama", 49152, {}, {"add_bos_token": False, "add_eos_token": False}, {}),
        (
            "llama",
            32016,
            {},
            {"add_bos_token": False, "add_eos_token": False},
            {"eot_token_id": 32010},
        ),
        (
            "llama",
            260,
            {"add_prefix_space": False},
            {"add_bos_token": False, "add_eos_token": False, "add_space_prefix": False},
            {},
        ),
        ("gemma", 260, {}, {"add_bos_token": False, "add_eos_token": False}, {"eot_token_id": 107}),
    ],
)
def test_family_deviations(
    architecture: str,
    size: int,
    config: dict[str, Any],
    flags: object,
    special: object,
    tmp_path: Path,
) -> None:
    folder = support.write_folder(tmp_path, pico(), config)
    vocabulary = build(folder, size, architecture=architecture)
    assert vocabulary.flags == flags
    assert vocabulary.special == special


def test_granite_sizes_add_no_bos_whatever_the_tokenizer_says(tmp_path: Path) -> None:
    config = {"bos_token": EOS}
    folder = support.write_folder(tmp_path, pico(post_processor=TEMPLATE_BOS), config)
    assert build(folder, 49152, architecture="llama").flags["add_bos_token"] is False
    assert build(folder, 49152, architecture="qwen2").flags["add_bos_token"] is True


@pytest.mark.parametrize(
    ("normalizer", "flags"),
    [
        (support.LLAMA_NORMALIZER, {}),
        (support.GEMMA_NORMALIZER, {"add_space_prefix": False}),
    ],
)
def test_space_in_front_follows_the_structure(
    normalizer: object, flags: dict[str, bool], tmp_path: Path
) -> None:
    folder = support.write_folder(tmp_path, pico_spm(normalizer=normalizer, post_processor=None))
    assert build(folder, 264, architecture="gemma2").flags == flags


def test_gemma_3_may_lack_a_row_for_its_image_token(tmp_path: Path) -> None:
    tokenizer = pico_spm()
    tokenizer["added_tokens"].append(support.added_token(264, "<image_soft_token>", special=True))
    folder = support.write_folder(tmp_path, tokenizer)
    vocabulary = build(folder, 264, architecture="gemma3")
    assert len(vocabulary.tokens) == 264
    assert any("no row" in warning for warning in vocabulary.warnings)
    with pytest.raises(TokenizerError, match="265 ids"):
        build(folder, 264, architecture="gemma2")


def test_phi_3_keeps_added_tokens_literal(tmp_path: Path) -> None:
    tokenizer = pico_spm()
    tokenizer["added_tokens"].append(support.added_token(264, "<|user|>", special=False))
    folder = support.write_folder(tmp_path, tokenizer)
    assert build(folder, 265, architecture="phi3").types[264] == USER_DEFINED
    assert build(folder, 265, architecture="llama").types[264] == CONTROL


def test_scores_follow_the_order_of_merges(tmp_path: Path) -> None:
    vocabulary = build(support.write_folder(tmp_path, pico_spm()), 264, architecture="llama")
    scores = dict(zip(vocabulary.tokens, vocabulary.scores or (), strict=True))
    assert scores["ab"] == -1.0
    assert scores["▁ab"] == -2.0
    assert vocabulary.merges is None


def test_missing_merges_of_a_sentencepiece_like_file_are_reported(tmp_path: Path) -> None:
    tokenizer = pico_spm()
    assert tokenizer["model"]["merges"] == [["a", "b"], ["▁", "ab"]]
    tokenizer["model"]["merges"].pop()
    vocabulary = build(support.write_folder(tmp_path, tokenizer), 264, architecture="llama")
    assert any("no merge for 1 pairs" in warning for warning in vocabulary.warnings)


def spm_fields() -> dict[str, Any]:
    """Return the pico SentencePiece vocabulary as GGUF fields."""
    model = pico_spm()["model"]
    texts = sorted(model["vocab"], key=model["vocab"].get)
    kinds = [2, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * 5
    return {
        "tokens": texts,
        "token_type": kinds,
        "scores": [0.0] * 259 + [-7.0, -8.0, -9.0, -1.5, -2.5],
    }


def test_tokenizer_model_alone_does_with_older_files_beside_it(tmp_path: Path) -> None:
    config = {
        "bos_token": "<s>",
        "eos_token": "<|end|>",
        "added_tokens_decoder": {"265": {"content": "<|end|>", "special": True}},
    }
    folder = support.write_folder(tmp_path, None, config, support.sentencepiece_file(spm_fields()))
    (folder / "added_tokens.json").write_text(json.dumps({"<x>": 264}))
    vocabulary = build(folder, 267, architecture="llama")
    assert vocabulary.tokens[262:] == ("ab", "▁ab", "<x>", "<|end|>", "[PAD266]")
    assert vocabulary.types[262:] == (NORMAL, NORMAL, USER_DEFINED, CONTROL, UNUSED)
    assert vocabulary.scores is not None
    assert vocabulary.scores[262:] == (-1.5, -2.5, -1000.0, -1000.0, -10000.0)
    assert vocabulary.special == {"bos_token_id": 1, "eos_token_id": 265}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model_type": 1}, "UNIGRAM"),
        ({"extra_spaces": 0}, "remove_extra_whitespaces"),
    ],
)
def test_sentencepiece_models_llama_cpp_cannot_follow_are_refused(
    settings: dict[str, int], says: str, tmp_path: Path
) -> None:
    model = support.sentencepiece_file(spm_fields(), **settings)
    with pytest.raises(TokenizerError, match=says):
        build(support.write_folder(tmp_path, model=model), 264, architecture="llama")


def test_sentencepiece_model_without_bytes_is_refused(tmp_path: Path) -> None:
    fields = spm_fields()
    part = {key: values[259:] for key, values in fields.items()}
    model = support.sentencepiece_file(part)
    with pytest.raises(TokenizerError, match="256 bytes"):
        build(support.write_folder(tmp_path, model=model), 264, architecture="llama")


def test_no_dummy_prefix_means_no_space_in_front(tmp_path: Path) -> None:
    model = support.sentencepiece_file(spm_fields(), dummy_prefix=0)
    vocabulary = build(support.write_folder(tmp_path, model=model), 264, architecture="gemma2")
    assert vocabulary.flags == {"add_space_prefix": False}


def test_files_of_different_models_in_one_folder_are_refused(tmp_path: Path) -> None:
    fields = spm_fields()
    fields["tokens"][262], fields["tokens"][261] = fields["tokens"][261], fields["tokens"][262]
    folder = support.write_folder(tmp_path, pico_spm(), None, support.sentencepiece_file(fields))
    with pytest.raises(TokenizerError, match="different models"):
        build(folder, 264, architecture="llama")


def test_adapter_tokenizer_goes_first_and_differences_are_named(tmp_path: Path) -> None:
    base = support.write_folder(tmp_path / "base", pico(), {"eos_token": EOS})
    tokenizer = pico()
    tokenizer["added_tokens"].append(support.added_token(260, "<|tool|>", special=True))
    adapter = support.write_folder(tmp_path / "adapter", tokenizer, {"eos_token": "<|im_end|>"})
    vocabulary = build(base, 261, adapter=adapter)
    assert vocabulary.tokens[260] == "<|tool|>"
    assert vocabulary.special == {"eos_token_id": 259}
    assert vocabulary.source == adapter
    (warning,) = vocabulary.warnings
    assert "'<|tool|>'" in warning
    assert "eos is '<|im_end|>'" in warning


def test_adapter_with_the_same_tokenizer_says_nothing(tmp_path: Path) -> None:
    base = support.write_folder(tmp_path / "base", pico(), {"eos_token": EOS})
    adapter = support.write_folder(tmp_path / "adapter", pico(), {"eos_token": EOS})
    assert build(base, adapter=adapter).warnings == ()


def test_adapter_without_vocabulary_takes_the_base_tokenizer(tmp_path: Path) -> None:
    base = support.write_folder(tmp_path / "base", pico(), {"eos_token": EOS})
    adapter = support.write_folder(tmp_path / "adapter", None, {"chat_template": "mine"})
    vocabulary = build(base, adapter=adapter)
    assert vocabulary.source == base
    assert vocabulary.chat_template == "mine"


def test_adapter_json_keeps_the_scores_of_the_base_model_file(tmp_path: Path) -> None:
    model = support.sentencepiece_file(spm_fields())
    base = support.write_folder(tmp_path / "base", pico_spm(), {}, model)
    adapter = support.write_folder(tmp_path / "adapter", pico_spm(), {})
    vocabulary = build(base, 264, adapter=adapter, architecture="llama")
    assert (vocabulary.scores or ())[262:] == (-1.5, -2.5)


def test_more_tokens_than_rows_names_both_numbers(tmp_path: Path) -> None:
    folder = support.write_folder(tmp_path, pico())
    with pytest.raises(TokenizerError, match=r"260 ids .* has 259 rows"):
        build(folder, 259)


@pytest.mark.slow
def test_a_million_tokens_are_refused_in_time_or_taken(tmp_path: Path) -> None:
    tokenizer = pico(added_tokens=[])
    tokenizer["model"]["vocab"].update({f"w{i}": i for i in range(258, 1_000_000)})
    folder = support.write_folder(tmp_path, tokenizer)
    with pytest.raises(TokenizerError, match="1000000 ids"):
        build(folder, 260)
    assert len(build(folder, 1_000_000).tokens) == 1_000_000


def test_lost_digit_step_is_suspected(tmp_path: Path) -> None:
    tokenizer = pico(added_tokens=[])
    tokenizer["model"]["vocab"].update({f"w{'x' * i}": i for i in range(258, 10_400)})
    warnings = build(support.write_folder(tmp_path / "a", tokenizer), 10_400).warnings
    assert any("Digits step was probably lost" in warning for warning in warnings)
    tokenizer["pre_tokenizer"] = support.PRE_TOKENIZERS["starcoder"]
    warnings = build(support.write_folder(tmp_path / "b", tokenizer), 10_400).warnings
    assert not any("Digits" in warning for warning in warnings)
