"""The gate that compares token ids."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loragraft.errors import TokenizerError
from loragraft.export.tokenizer import battery
from loragraft.export.tokenizer.differences import KNOWN_DIFFERENCES, Facts, agrees_elsewhere
from loragraft.export.tokenizer.inventory import AddedToken
from loragraft.export.tokenizer.outline import fits, outline, split_added
from loragraft.export.tokenizer.parity import check_token_parity
from loragraft.export.tokenizer.structures import GPT4O
from loragraft.export.tokenizer.vocabulary import build_vocabulary
from tests.export.tokenizer import support


@pytest.fixture(scope="module")
def gpt2(llama_cpp_source: Path) -> dict[str, Any]:
    """Return GPT-2's tokenizer.json."""
    fields = support.read_vocabulary_file(llama_cpp_source / "models" / "ggml-vocab-gpt-2.gguf")
    return support.byte_level_json(fields, support.GPT2_STEP)


def export(folder: Path, tokenizer: Mapping[str, Any], size: int = 50300, **fields: object) -> Path:
    """Write a tokenizer folder and its GGUF file, with some fields of the vocabulary replaced."""
    support.write_folder(folder, tokenizer)
    vocabulary = build_vocabulary(folder, config={}, architecture="qwen2", vocab_size=size)
    return support.write_gguf(folder / "v.gguf", replace(vocabulary, **fields))


def with_added(
    tokenizer: Mapping[str, Any], *added: Mapping[str, Any], **parts: object
) -> dict[str, Any]:
    """Return a tokenizer.json with more added tokens."""
    return {**tokenizer, "added_tokens": [*tokenizer["added_tokens"], *added], **parts}


def test_faithful_file_passes(gpt2: dict[str, Any], tmp_path: Path) -> None:
    report = check_token_parity(export(tmp_path, gpt2), tmp_path, extra=["one more text"])
    assert report.passed
    assert report.cases > 90
    assert report.explained == ()
    assert report.vocabulary == 50300


def test_wrong_pre_tokenizer_is_found(gpt2: dict[str, Any], tmp_path: Path) -> None:
    report = check_token_parity(export(tmp_path, gpt2, pre="qwen2"), tmp_path)
    assert not report.passed
    assert report.explained == ()
    shown = report.as_json()
    assert shown["mismatch_count"] == len(report.mismatches) > 10
    assert len(shown["mismatches"]) <= 20


def test_wrong_special_flag_is_found(gpt2: dict[str, Any], tmp_path: Path) -> None:
    special = {"bos_token_id": 50256}
    gguf = export(tmp_path, gpt2, flags={"add_bos_token": True}, special=special)
    report = check_token_parity(gguf, tmp_path)
    assert {mismatch.special for mismatch in report.mismatches} == {True}


def test_lost_added_token_is_found(gpt2: dict[str, Any], tmp_path: Path) -> None:
    gguf = export(tmp_path, gpt2)
    token = support.added_token(50257, "<tool>", special=True)
    support.write_folder(tmp_path, with_added(gpt2, token))
    found = check_token_parity(gguf, tmp_path).mismatches
    assert found
    assert all("<tool>" in mismatch.text for mismatch in found)


@pytest.mark.parametrize(
    ("parts", "added", "name"),
    [
        ({"normalizer": {"type": "NFC"}}, {}, "composition"),
        ({}, {"lstrip": True}, "stripping"),
        ({}, {"single_word": True}, "stripping"),
    ],
)
def test_known_differences_are_counted_with_their_reason(
    parts: dict[str, Any], added: dict[str, bool], name: str, gpt2: dict[str, Any], tmp_path: Path
) -> None:
    token = support.added_token(50257, "<tool>", special=True, **added)
    report = check_token_parity(export(tmp_path, with_added(gpt2, token, **parts)), tmp_path)
    assert report.passed
    known = report.as_json()["known_differences"]
    assert list(known) == [name]
    assert known[name]["count"] > 0
    assert known[name]["reason"]


def test_known_difference_excuses_no_other_fault(gpt2: dict[str, Any], tmp_path: Path) -> None:
    composed = {**gpt2, "normalizer": {"type": "NFC"}}
    report = check_token_parity(export(tmp_path, composed, pre="qwen2"), tmp_path)
    assert not report.passed


def test_overlapping_added_tokens_are_a_known_difference(
    gpt2: dict[str, Any], tmp_path: Path
) -> None:
    tokens = [
        support.added_token(50257, "<ab>", special=True),
        support.added_token(50258, "b>cdefg", special=True),
    ]
    gguf = export(tmp_path, with_added(gpt2, *tokens))
    report = check_token_parity(gguf, tmp_path, extra=["x <ab>cdefg y"])
    assert report.passed
    assert [mismatch.known for mismatch in report.explained] == ["overlap"]


LSTRIP = support.added_token(50257, "<tool>", special=True, lstrip=True)


def test_stripping_excuses_only_what_stands_beside_the_token(
    gpt2: dict[str, Any], tmp_path: Path
) -> None:
    """A wrong pre-tokenizer, which splits digits one by one, shows beside the token as well."""
    text = "in 2024: <tool> 31 days"
    right = export(tmp_path, with_added(gpt2, LSTRIP))
    report = check_token_parity(right, tmp_path, extra=[text])
    assert report.passed
    assert text in [mismatch.text for mismatch in report.explained]
    wrong = export(tmp_path, with_added(gpt2, LSTRIP), pre="qwen2")
    report = check_token_parity(wrong, tmp_path, extra=[text])
    assert text in [mismatch.text for mismatch in report.mismatches]


def test_a_lost_token_is_found_though_it_strips(gpt2: dict[str, Any], tmp_path: Path) -> None:
    gguf = export(tmp_path, gpt2)
    support.write_folder(tmp_path, with_added(gpt2, LSTRIP))
    report = check_token_parity(gguf, tmp_path)
    assert "<tool>" in [mismatch.text for mismatch in report.mismatches]
    assert report.explained == ()


def test_case_classes_excuse_only_words_of_other_letters(
    gpt2: dict[str, Any], tmp_path: Path
) -> None:
    cased = {**gpt2, "pre_tokenizer": support.sequence(support.split(GPT4O), support.BYTE_LEVEL)}
    text = "ÀBc Жук in 2024"
    right = check_token_parity(export(tmp_path, cased), tmp_path, extra=[text])
    assert right.passed
    wrong = check_token_parity(export(tmp_path, cased, pre="qwen2"), tmp_path, extra=[text])
    assert text in [mismatch.text for mismatch in wrong.mismatches]


def token(number: int, content: str, **flags: bool) -> AddedToken:
    return AddedToken(number, content, normalized=False, **flags)


def letters(text: str) -> list[int]:
    return list(map(ord, text))


@pytest.mark.parametrize(
    ("text", "tokens", "parts"),
    [
        ("plain", [token(1, "<t>")], ["plain"]),
        ("a <t> b", [token(1, "<t>")], ["a ", 1, " b"]),
        ("a  <t>  b", [token(1, "<t>", lstrip=True)], ["a", 1, "  b"]),
        ("a <t>  b<t>", [token(1, "<t>", rstrip=True)], ["a ", 1, "b", 1]),
        ("<t>  <t>", [token(1, "<t>", lstrip=True, rstrip=True)], [1, 1]),
        ("a<t> <t> <t>b", [token(1, "<t>", single_word=True)], ["a<t> ", 1, " <t>b"]),
        ("<ab>c", [token(1, "<ab>"), token(2, "b>c")], [1, "c"]),
        ("<ab>", [token(1, "<a"), token(2, "<ab>")], [2]),
        ("a", [token(1, "", lstrip=True)], ["a"]),
    ],
)
def test_texts_are_cut_as_the_original_cuts_them(
    text: str, tokens: list[AddedToken], parts: list[str | int]
) -> None:
    """And the tokenizers library itself says so."""
    from tokenizers import AddedToken as Loaded
    from tokenizers import Tokenizer, models

    cut = split_added(text, tokens)
    assert [part.id if isinstance(part, AddedToken) else part for part in cut] == parts
    known = [t for t in tokens if t.content]
    alphabet = {chr(code): code for code in range(32, 127)}
    original = Tokenizer(models.BPE(alphabet, []))
    for t in known:
        flags = {"lstrip": t.lstrip, "rstrip": t.rstrip, "single_word": t.single_word}
        original.add_tokens([Loaded(t.content, normalized=False, **flags)])
    numbers = {original.token_to_id(t.content): t.id for t in known}
    found = [numbers.get(number, number) for number in original.encode(text).ids]
    assert found == [i for p in parts for i in ([p] if isinstance(p, int) else letters(p))]


@pytest.mark.parametrize(
    ("ids", "pieces", "fit"),
    [
        ([1, 2], [[1], [2]], True),
        ([1, 2, 3], [[1], [2]], False),
        ([1, 9, 9, 2], [[1], None, [2]], True),
        ([1, 2], [[1], None, [2]], True),
        ([1, 9], [[1], None, [2]], False),
        ([9, 1, 9], [None, [1], None], True),
        ([9, 9], [None, [1], None], False),
        ([9], [None], True),
        ([], [], True),
        ([1], [], False),
        ([1, 9, 1, 1], [[1], None, [1]], True),
        ([1, 1], [[1, 1], None, [1]], False),
    ],
)
def test_ids_fit_an_outline(ids: list[int], pieces: list[list[int] | None], fit: bool) -> None:
    assert fits(ids, pieces) is fit


def test_an_outline_leaves_gaps_only_where_ids_may_differ() -> None:
    options = {"prefix_first": False, "gap_in_words": False, "composed": False}

    def made(text: str, *tokens: AddedToken, **changed: bool) -> list[list[int] | None]:
        return outline(text, tokens, letters, **{**options, **changed})

    tool = token(1, "<t>", single_word=True)
    assert made("a <t> b", tool) == [letters("a "), [1], letters(" b")]
    assert made("a<t> b", tool) == [None], "llama.cpp takes the token there"
    assert made("a<t> b c", token(1, "<t>"), prefix_first=True) == [
        letters("a"),
        [1],
        letters("b c"),
    ]
    assert made("a<t>b c", token(1, "<t>"), prefix_first=True) == [
        letters("a"),
        [1],
        None,
        letters("c"),
    ]
    assert made("a Ж 12", gap_in_words=True) == [letters("a"), None, letters(" 12")]
    assert made("e\u0301", composed=True) == [letters("é")]


def test_an_empty_token_stands_in_no_text() -> None:
    empty = (AddedToken(1, "", lstrip=True, single_word=True),)
    facts = Facts(frozenset(), empty, "first", frozenset(), sentencepiece=False)
    assert not any(difference.applies(facts, "any text") for difference in KNOWN_DIFFERENCES)
    assert agrees_elsewhere(facts, "ab", letters("ab"), letters("ab"), letters, special=False)


def test_many_added_tokens_are_all_compared() -> None:
    tokens = [f"<t{i}>" for i in range(5000)]
    texts = list(battery.added_token_texts(tokens))
    assert len(texts) < 1000
    joined = "".join(texts)
    assert all(token in joined for token in tokens)


def test_battery_covers_what_it_promises() -> None:
    joined = "".join(battery.TEXTS)
    for sample in (
        "def ",
        "我",
        "한",
        "ส",
        "مر",
        "\u200d",
        "e\u0301",
        "\t\t",
        "\r\n",
        "\ufffd",
        "\x00",
    ):
        assert sample in joined or sample in battery.TEXTS
    assert len(set(battery.TEXTS)) == len(battery.TEXTS)
    assert any(text.endswith(" ") for text in battery.TEXTS)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the gate as a child process."""
    command = [sys.executable, "-m", "loragraft.export.tokenizer.parity", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_child_process_prints_one_json_object_and_no_log(
    gpt2: dict[str, Any], tmp_path: Path
) -> None:
    done = run(export(tmp_path, gpt2), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["passed"] is True
    assert report["mismatches"] == []
    assert report["cases"] > 90


def test_child_process_fails_on_mismatch_and_on_bad_input(
    gpt2: dict[str, Any], tmp_path: Path
) -> None:
    failed = run(export(tmp_path, gpt2, pre="qwen2"), tmp_path)
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["passed"] is False
    missing = run(tmp_path / "nothing.gguf", tmp_path)
    assert missing.returncode == 2
    assert "nothing.gguf is not there" in missing.stderr
    assert run().returncode == 2


def test_broken_inputs_are_refused(gpt2: dict[str, Any], tmp_path: Path) -> None:
    gguf = export(tmp_path / "hf", gpt2)
    (tmp_path / "bad.gguf").write_bytes(gguf.read_bytes()[:1000])
    with pytest.raises(TokenizerError, match="does not load the vocabulary"):
        check_token_parity(tmp_path / "bad.gguf", tmp_path / "hf")
    with pytest.raises(TokenizerError, match="neither"):
        check_token_parity(gguf, tmp_path)
