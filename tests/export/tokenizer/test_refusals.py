"""Tokenizers that are refused for reasons the other files here do not show."""

from __future__ import annotations

import copy
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragraft.errors import LoragraftError, TemplateError, TokenizerError, UnavailableError
from loragraft.export.tokenizer.files import MAX_JSON_BYTES, TokenizerFiles, read_files
from loragraft.export.tokenizer.inventory import read_inventory
from loragraft.export.tokenizer.parity import check_token_parity, require_reference
from loragraft.export.tokenizer.vocabulary import build_vocabulary
from tests.export.tokenizer import support

EOS = "<|endoftext|>"
BYTES = [chr(c) for c in (*range(33, 127), *range(161, 173), *range(174, 324))][:256]


def pico() -> dict[str, Any]:
    """Return a byte-level tokenizer.json of 260 tokens, all sound."""
    fields = {
        "tokens": [*BYTES, "ab", "abc", EOS, "<|im_end|>"],
        "token_type": [support.NORMAL] * 258 + [support.CONTROL] * 2,
        "merges": ["a b", "ab c"],
    }
    return support.byte_level_json(fields, support.GPT2_STEP)


CONFIG: dict[str, Any] = {"eos_token": EOS, "additional_special_tokens": ["abc"]}


def build(folder: Path, config: object = None) -> int:
    """Build the vocabulary of a folder; return how many tokens it has."""
    support.write_folder(folder, None, CONFIG if config is None else config)  # type: ignore[arg-type]
    return len(build_vocabulary(folder, config={}, architecture="qwen2", vocab_size=300).tokens)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return support.write_folder(tmp_path / "hf", pico(), CONFIG)


def test_a_healthy_folder_is_taken(folder: Path) -> None:
    assert build(folder) == 300


def test_a_file_too_large_to_be_one_is_not_read(folder: Path) -> None:
    os.truncate(folder / "tokenizer.json", MAX_JSON_BYTES + 1)  # a hole: no bytes on the disk
    with pytest.raises(TokenizerError, match=r"tokenizer\.json has 536,870,913 bytes; .* at most"):
        read_files(folder)


def test_merges_are_checked_before_they_are_tried(folder: Path) -> None:
    tokenizer = pico()
    tokenizer["model"]["ignore_merges"] = True
    support.write_folder(folder, tokenizer)
    assert build(folder) == 300
    tokenizer["model"]["merges"].append(["a", "z"])
    support.write_folder(folder, tokenizer)
    with pytest.raises(TokenizerError, match=r"merge 2 \('a', 'z'\) needs the token 'az'"):
        build(folder)


@pytest.mark.parametrize("token_id", ["5", -1, 1.5, True, None])
def test_an_older_list_of_added_tokens_must_hold_ids(folder: Path, token_id: object) -> None:
    (folder / "added_tokens.json").write_text(json.dumps({"<x>": 299}))
    assert read_files(folder).added_tokens == {"<x>": 299}
    (folder / "added_tokens.json").write_text(json.dumps({"<x>": token_id}))
    with pytest.raises(TokenizerError, match=r"added_tokens\.json gives the token '<x>' the id"):
        read_files(folder)


def broken(change: str) -> dict[str, Any]:
    """Return a tokenizer.json with one fault."""
    tokenizer = copy.deepcopy(pico())
    model, added = tokenizer["model"], tokenizer["added_tokens"]
    faults: dict[str, Any] = {
        "two texts, one id": lambda: model["vocab"].update(xyz=3),
        "negative": lambda: model["vocab"].update(xyz=-1),
        "no whole number": lambda: model["vocab"].update(xyz=1.5),
        "truth": lambda: model["vocab"].update(xyz=True),
        "empty": lambda: model.update(vocab={}),
        "unigram": lambda: model.update(type="Unigram", vocab=[["a", -1.0]]),
        "no model": lambda: tokenizer.update(model=None),
        "no merges": lambda: model.update(merges=None),
        "merge of three": lambda: model["merges"].append("a b c"),
        "merge of numbers": lambda: model["merges"].append([1, 2]),
        "merge of nothing": lambda: model["merges"].append(["", "a"]),
        "merge to no token": lambda: model["merges"].append(["a", "z"]),
        "added no list": lambda: tokenizer.update(added_tokens={"a": 1}),
        "added no object": lambda: added.append("x"),
        "added negative": lambda: added.append({"id": -5, "content": "x"}),
        "added twice": lambda: added.append(support.added_token(258, "other", special=True)),
        "added two ids": lambda: added.append(support.added_token(300, EOS, special=True)),
        "added with a gap": lambda: added.append(support.added_token(270, "x y", special=True)),
        "added over model": lambda: added.append(support.added_token(3, "other", special=True)),
        "pad text": lambda: added.append(support.added_token(260, "[PAD261]", special=True)),
    }
    faults[change]()
    return tokenizer


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("two texts, one id", "same id 3"),
        ("negative", "id -1"),
        ("no whole number", "id 1.5"),
        ("truth", "id True"),
        ("empty", "no BPE vocabulary"),
        ("unigram", "Unigram"),
        ("no model", "no BPE vocabulary"),
        ("no merges", "no merges"),
        ("merge of three", "'a b c'"),
        ("merge of numbers", r"\[1, 2\]"),
        ("merge of nothing", "merge 2"),
        ("merge to no token", "'az'"),
        ("added no list", "no list"),
        ("added no object", "added token 'x'"),
        ("added negative", "-5"),
        ("added twice", "same id 258"),
        ("added two ids", "two ids"),
        ("added with a gap", "gives it 260"),
        ("added over model", "same id 3"),
        ("pad text", "llama.cpp aborts"),
    ],
)
def test_broken_tokenizers_are_refused_with_what_was_found(
    change: str, says: str, tmp_path: Path
) -> None:
    folder = support.write_folder(tmp_path, broken(change))
    with pytest.raises(TokenizerError, match=says) as caught:
        build_vocabulary(folder, config={}, architecture="qwen2", vocab_size=400)
    assert str(tmp_path) in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (json.dumps(pico()).encode()[:-1000], "not valid JSON"),
        (b"[1, 2]", "list"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"", "not valid JSON"),
    ],
)
def test_broken_files_are_refused(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(TokenizerError, match=says):
        build_vocabulary(tmp_path, config={}, architecture="qwen2", vocab_size=260)


def test_missing_files_are_refused_with_the_way_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="is not a folder"):
        read_files(tmp_path / "nowhere")
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(TokenizerError, match="save_pretrained"):
        build_vocabulary(tmp_path, config={}, architecture="qwen2", vocab_size=260)


def test_an_inventory_needs_the_file(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"has no tokenizer\.json"):
        read_inventory(TokenizerFiles(tmp_path, None, {}))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"additional_special_tokens": 5}, "additional_special_tokens = 5, but a list of tokens"),
        ({"extra_special_tokens": "<x>"}, "extra_special_tokens = '<x>', but a list of tokens"),
        ({"added_tokens_decoder": ["<a>"]}, "added_tokens_decoder is no object"),
        ({"added_tokens_decoder": {"x": {"content": "<a>"}}}, "with the id 'x'; an object with"),
        ({"added_tokens_decoder": {"259": "<a>"}}, "has the added token '<a>' with the id 259"),
        ({"added_tokens_decoder": {"3": {"content": "<a>"}}}, "'<a>' the id 3; beside this"),
        ({"added_tokens_decoder": {"260": {"content": EOS}}}, "it is loaded as 258"),
    ],
)
def test_broken_settings_say_which(folder: Path, config: dict[str, Any], words: str) -> None:
    with pytest.raises(TokenizerError, match=rf"tokenizer_config\.json.*{words}"):
        build(folder, config)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it holds no pieces"),
        (b"\x0a\x05ab", "a field of 5 bytes at byte 2 of 4"),
        (b"\x0b", "wire type 3 at byte 1"),
        (b"\xff" * 20, "an endless number at byte 10"),
        (b"\x0a\x02\x0a\xff", "index out of range"),
        (b"\x0a\x03\x0a\x01\xff", "can't decode byte"),
        (b"\x0a\x02\x18\x09", "9 is not a valid PieceType"),
        (b"IQ== 0\nIg== 1\n", "it holds no pieces"),
    ],
)
def test_broken_sentencepiece_files_say_where(tmp_path: Path, content: bytes, words: str) -> None:
    support.write_folder(tmp_path, model=content)
    with pytest.raises(TokenizerError, match=rf"tokenizer\.model is no SentencePiece .*{words}"):
        build_vocabulary(tmp_path, config={}, architecture="llama", vocab_size=300)


def test_a_file_that_the_tokenizers_library_refuses_is_no_reference(folder: Path) -> None:
    tokenizer = {**pico(), "decoder": {"type": "NoSuchDecoder"}}
    support.write_folder(folder, tokenizer)
    with pytest.raises(TokenizerError, match=r"library does not load .*tokenizer\.json"):
        check_token_parity(folder / "v.gguf", folder)


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("llama_cpp", "needs llama-cpp-python, which is not installed"),
        ("sentencepiece", "needs the package sentencepiece"),
    ],
)
def test_a_missing_package_names_the_command_that_installs_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, words: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as the import system marks what is not there
    if package == "sentencepiece":
        folder = support.write_folder(tmp_path / "model", model=b"any")
    with pytest.raises(UnavailableError, match=rf"(?s){words}.*pip install {package[:5]}"):
        check_token_parity(tmp_path / "v.gguf", folder)


def test_half_a_character_is_no_token(folder: Path) -> None:
    tokenizer = pico()
    tokenizer["added_tokens"].append(support.added_token(260, "\U0001f600", special=True))
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(tokenizer))  # as two escapes, which are one character
    assert build(folder) == 300
    path.write_text(json.dumps(tokenizer).replace("\\ud83d\\ude00", "\\ud83d"))
    with pytest.raises(TokenizerError, match=r"tokenizer\.json .*'\\ud83d' is half of a character"):
        build(folder)
    raw = json.dumps(tokenizer, ensure_ascii=False).replace("\U0001f600", "\ud83d")
    path.write_bytes(raw.encode("utf-8", "surrogatepass"))
    with pytest.raises(TokenizerError, match="is half of a character"):
        build(folder)


def test_half_a_character_is_no_template(folder: Path) -> None:
    path = folder / "chat_template.json"
    path.write_text(json.dumps({"chat_template": "\U0001f600 {{ messages }}"}))
    assert build(folder) == 300
    path.write_text(json.dumps({"chat_template": "\ud83d {{ messages }}"}))
    with pytest.raises(TemplateError, match=r"chat_template\.json holds .* half of a character"):
        build(folder)


def test_a_reader_that_will_be_needed_is_asked_for_beforehand(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = support.write_folder(tmp_path / "model", model=b"any")
    require_reference(other)
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    require_reference(folder)
    with pytest.raises(UnavailableError, match=r"(?s)tokenizer\.model.*pip install sentencepiece"):
        require_reference(other)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "content", "id", "normalizers", "pretokenizers", EOS]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)
PLACES: list[tuple[str, ...]] = [
    ("tokenizer", key)
    for key in (*pico(), "truncation", "normalizer", "pre_tokenizer", "post_processor")
]
PLACES += [("tokenizer", "model", key) for key in pico()["model"]]
PLACES += [("tokenizer", "added_tokens", "0", key) for key in ("id", "content", "special")]
PLACES += [("tokenizer", "pre_tokenizer", key) for key in ("type", "add_prefix_space", "pattern")]
PLACES += [
    ("config", key)
    for key in (
        "eos_token", "bos_token", "added_tokens_decoder", "additional_special_tokens",
        "extra_special_tokens", "add_bos_token", "add_prefix_space", "chat_template",
    )
]  # fmt: skip


def put(root: dict[str, Any], place: tuple[str, ...], value: object) -> None:
    """Replace a value deep inside lists and objects."""
    *path, last = place
    inner: Any = root
    for part in path:
        inner = inner[int(part)] if isinstance(inner, list) else inner[part]
    inner[last] = value


@settings(
    max_examples=150, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(place=st.sampled_from(PLACES), value=JSON)
def test_any_value_anywhere_is_taken_or_refused_in_our_words(
    place: tuple[str, ...], value: object, folder: Path
) -> None:
    root = {"tokenizer": copy.deepcopy(pico()), "config": dict(CONFIG)}
    put(root, place, value)
    support.write_folder(folder, root["tokenizer"], root["config"])
    try:
        build_vocabulary(folder, config={}, architecture="qwen2", vocab_size=300)
    except LoragraftError:
        return
