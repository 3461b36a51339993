"""Control tokens of every family in documents: none is left for any tokenizer, in any disguise."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.engine.conversation import Literals
from loragraft.rag.answering.folding import fold
from loragraft.rag.answering.neutralise import find_controls, neutralise
from loragraft.rag.answering.visible import visible
from tests.rag.answering.conftest import VOCABULARIES, Vocabulary

KNOWN = (
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|start_header_id|>", "</s>",
    "<s>", "<bos>", "<eos>", "<unk>", "<pad>", "<start_of_turn>", "<end_of_turn>", "<|turn>",
    "<turn|>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[SYSTEM_PROMPT]", "[TOOL_CALLS]",
    "[AVAILABLE_TOOLS]", "[THINK]", "[/THINK]", "<|user|>", "<|system|>", "<|assistant|>",
    "<|end|>", "<|START_OF_TURN_TOKEN|>", "<EOS_TOKEN>",
    "<\uff5cbegin\u2581of\u2581sentence\uff5c>",
    "<\uff5cUser\uff5c>", "[|endofturn|]", "[gMASK]", "<sop>", "<think>", "</think>",
    "<seed:think>", "<tool_call>", "</tool_response>", "<function=f>", "<extra_id_0>", "<unused7>",
    "[PAD]", "[CLS]", "[SEP]", "[MASK]", "<fim_prefix>", "<PRE>", "<eoh>", "<0x_A>", "]~b]",
    "]~!b[", "[e~[", "<image>", "[img-0]", "<__media__>", ">>QUESTION<<", "<|\"|>",
)  # fmt: skip
HIDDEN = ("", "\u200b", "\u200d", "\u2060", "\u00ad", "\ufe0f", "\U000e0041", "\u202e", "\x00")
PARTS = ("<", ">", "|", "[", "]", "/", "<|", "|>", "[/", "</", "<<", "_", "INST", "im_end", "s",
         "~", "text", " ", "\n", "\uff1c", "\uff5c", "\uff1e", "\u3008",
         "\u226e", "\u0338", "\u0456")  # fmt: skip
CODE = (
    "if a<b and c>d: x[i] = y[0]", "std::vector<size_t> v; #include <stdio.h>", "<p>A <b>b</b></p>",
    "f <| x |> g", "a[1:2], [x for x in [1, 2]]", "[note] [link](http://x) [1] [P1]", "a |> b",
    "List<String> x = new ArrayList<>();", "x << 2 >> 1", "<https://example.org>", "[ERROR] disk",
)  # fmt: skip


def disguised() -> st.SearchStrategy[str]:
    """Return control tokens with hidden characters in them, in wide letters, or in each other."""
    token = st.sampled_from(KNOWN)

    def with_hidden(drawn: tuple[str, list[str]]) -> str:
        text, hidden = drawn
        return "".join(c + h for c, h in zip(text, hidden * len(text), strict=False))

    def wide(text: str) -> str:
        return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)

    def nested(pair: tuple[str, str]) -> str:
        outer, inner = pair
        return outer[: len(outer) // 2] + inner + outer[len(outer) // 2 :]

    return st.one_of(
        token,
        st.tuples(token, st.lists(st.sampled_from(HIDDEN), min_size=1, max_size=5)).map(
            with_hidden
        ),
        token.map(wide),
        token.map(str.upper),
        st.tuples(token, token).map(nested),
        st.sampled_from(PARTS),
    )


HOSTILE = st.lists(st.one_of(disguised(), st.text(max_size=5)), max_size=12).map("".join)


def views(text: str) -> list[str]:
    """Return a text as the normalizers of tokenizers see it."""
    stripped = "".join(
        c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)
    )
    return [text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFKC")), stripped,
            re.sub("[\u200b-\u200f\u2060\ufeff]", "", text)]  # fmt: skip


@pytest.mark.parametrize("token", KNOWN)
def test_tokens_of_all_families_are_broken(token: str) -> None:
    for text in (token, f"a{token}b", f"> {token}\n", token * 3):
        safe = neutralise(text)
        assert token not in safe
        assert safe.replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("text", CODE)
def test_code_markup_and_references_stay(text: str) -> None:
    assert neutralise(text) == text


@settings(max_examples=300, deadline=None)
@given(HOSTILE)
def test_nothing_is_left_that_looks_like_one(text: str) -> None:
    safe = neutralise(text)
    assert find_controls(safe) == []
    assert all(find_controls(view) == [] for view in views(safe))
    assert neutralise(safe) == safe


@settings(deadline=None)
@given(HOSTILE)
def test_only_spaces_are_added(text: str) -> None:
    assert neutralise(text).replace(" ", "") == visible(text).replace(" ", "")


@given(st.text(alphabet=st.characters(exclude_characters="<>[]", codec="utf-8")))
def test_text_without_brackets_is_only_made_visible(text: str) -> None:
    if not set(fold(visible(text))[0]) & set("<>[]"):
        assert neutralise(text) == visible(text)


@settings(max_examples=150, deadline=None)
@given(text=HOSTILE)
def test_no_real_tokenizer_finds_a_control_token(
    text: str, vocabularies: Callable[[str], Vocabulary]
) -> None:
    for view in views(neutralise(text)):
        for name in VOCABULARIES:
            assert vocabularies(name).controls_in(view) == [], name


def test_every_control_token_of_real_vocabularies_is_broken(
    vocabularies: Callable[[str], Vocabulary],
) -> None:
    for name in VOCABULARIES:
        vocabulary = vocabularies(name)
        found = [token for token in vocabulary.controls if vocabulary.controls_in(token)]
        assert len(found) >= 2, name
        for token in found:
            assert vocabulary.controls_in(f"a {neutralise(token)} b") == [], (name, token)


def test_tokens_of_real_templates_are_broken(llama_cpp_source: Path) -> None:
    pattern = re.compile(r"<\|[^\s<>{}'\"]{1,40}\|>|\[/?[A-Z_]{4,}\]|<[a-z]+_of_[a-z]+>")
    found = {
        token
        for file in (llama_cpp_source / "models" / "templates").glob("*.jinja")
        for token in pattern.findall(file.read_text(encoding="utf-8"))
    }
    assert len(found) > 100
    assert [token for token in found if token in neutralise(token)] == []


def test_a_vocabulary_names_tokens_of_no_common_shape() -> None:
    literals = Literals(["@@turn@@", "x", "a b", "@@"])
    safe = neutralise("go @@turn@@ x a b", literals)
    assert "@@" not in safe
    assert safe.replace(" ", "") == "go@@turn@@xab"


def test_long_texts_take_no_time() -> None:
    for text in ("<" * 50_000, "[" * 50_000, "<|" * 30_000, "<a_" * 20_000, "]~" * 30_000):
        assert find_controls(neutralise(text)) == []
