"""What a GGUF file says of conversations, and where answers stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFWriter

from loragraft.checkpoint.gguf_chat import ChatFacts, read_chat_facts
from loragraft.checkpoint.turn_ends import stop_tokens, text_after_answer, turn_ends
from loragraft.errors import BundleError

TOKENS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "a", "##"]
TYPES = [2, 3, 3, 3, 4, 1, 1]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def build(tokens: list[str] | None = TOKENS, **more: Any) -> Path:  # noqa: ANN401
        path = tmp_path / "m.gguf"
        writer = GGUFWriter(path, "llama")
        writer.add_context_length(512)
        if tokens is not None:
            writer.add_tokenizer_model("llama")
            writer.add_token_list(tokens)
            writer.add_token_types(TYPES)
        settings: Mapping[str, Any] = {"bos": 1, "eos": 2, "eot": 4, **more}
        for name, value in settings.items():
            if name == "add_bos":
                writer.add_add_bos_token(value)
            elif name == "template":
                writer.add_chat_template(value)
            else:
                writer.add_uint32(f"tokenizer.ggml.{name}_token_id", value)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return build


def test_the_file_s_own_words_are_read(write: Write) -> None:
    facts = read_chat_facts(write(add_bos=False, template=CHATML))
    assert (facts.architecture, facts.context_length) == ("llama", 512)
    assert facts.variables == {"bos_token": "<s>", "eos_token": "</s>"}
    assert (facts.bos_id, facts.eos_id, facts.end_ids) == (1, 2, (2, 4))
    assert facts.control == {1, 2, 3, 4}
    assert not facts.add_bos
    assert facts.template == CHATML


def test_named_templates_are_apart(write: Write) -> None:
    named = [{"name": "default", "template": CHATML}, {"name": "tool_use", "template": "T"}]
    facts = read_chat_facts(write(template=named))
    assert (facts.template, facts.templates) == (CHATML, {"tool_use": "T"})


def test_a_sentencepiece_file_that_does_not_say_adds_bos_as_llama_cpp_does(write: Write) -> None:
    assert read_chat_facts(write()).add_bos


def test_ids_outside_the_vocabulary_are_no_tokens(write: Write) -> None:
    facts = read_chat_facts(write(bos=99, eot=7))
    assert (facts.bos, facts.bos_id, facts.end_ids) == (None, None, (2,))


def test_a_file_without_vocabulary_is_no_model(write: Write) -> None:
    with pytest.raises(BundleError, match="holds no vocabulary"):
        read_chat_facts(write(tokens=None))


@pytest.fixture
def facts() -> ChatFacts:
    return ChatFacts(
        architecture="llama", vocabulary=tuple(TOKENS), control=frozenset({1, 2, 3, 4}),
        template=CHATML, templates={}, bos="<s>", eos="</s>", bos_id=1, eos_id=2, add_bos=True,
        end_ids=(2,), context_length=512,
    )  # fmt: skip


def test_the_template_s_turn_end_stops_although_eos_is_another_token(facts: ChatFacts) -> None:
    assert turn_ends(CHATML, facts) == (4,)
    stops = stop_tokens(facts)
    assert (stops.ids, stops.texts) == ((2, 4), ("</s>", "<|im_end|>"))


def test_plain_text_after_an_answer_is_no_stop(facts: ChatFacts) -> None:
    alpaca = (
        "{% for m in messages %}{% if m.role == 'user' %}## {{ m.content }}\n{% else %}"
        "{{ m.content }}##{% endif %}{% endfor %}"
    )
    assert turn_ends(alpaca, facts) == ()
    assert text_after_answer(alpaca, {}) == ("##", "#### b\n")


def test_a_template_that_refuses_conversations_ends_no_turn(facts: ChatFacts) -> None:
    assert turn_ends("{{ raise_exception('no') }}", facts) == ()
    assert turn_ends("{% for m in messages %}{{ m.content }}", facts) == ()
    assert turn_ends("{{ messages[0].content }}", facts) == ()


def test_further_stops_must_be_tokens(facts: ChatFacts) -> None:
    stops = stop_tokens(replace(facts, template=None), [4, "</s>", "<|gone|>", 99, "a"])
    assert stops.ids == (2, 4, 5)
    assert len(stops.warnings) == 2
    assert "'<|gone|>' is named as an end of answers but is no token" in stops.warnings[0]
