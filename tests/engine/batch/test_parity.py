"""Prompts of engines side by side: where they part is told, and what is not shown is no fault."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.checkpoint.bundle import open_model
from loragraft.checkpoint.template import resolve_chat_template
from loragraft.engine.batch.parity import (
    PROBES,
    Prompt,
    Prompts,
    check_parity,
    compare_prompts,
    concerns,
    prompts_of,
)
from loragraft.engine.batch.transformers import TransformersBatchEngine
from loragraft.engine.llama import LlamaEngine
from loragraft.engine.protocol import Message
from loragraft.errors import TemplateError


def load(folder: Path, template: str | None = None) -> TransformersBatchEngine:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loader: Any = AutoModelForCausalLM
    return TransformersBatchEngine(
        loader.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
        template=template or resolve_chat_template([folder]).default,
        name="checkpoint",
    )


@pytest.fixture(scope="module")
def checkpoint(talking: Callable[[str], Path]) -> TransformersBatchEngine:
    return load(talking("qwen2"))


def test_a_checkpoint_and_its_export_have_the_same_prompts(
    checkpoint: TransformersBatchEngine, talking_bundle: Callable[[str], Path]
) -> None:
    llama: Any = LlamaEngine(open_model(talking_bundle("qwen2")), threads=1, literal=True)
    assert check_parity([checkpoint, llama]) == []
    shown = prompts_of(llama)
    assert all(prompt.ids and prompt.text for prompt in shown.found.values())
    llama.close()


def test_another_template_is_told_with_its_place(
    checkpoint: TransformersBatchEngine, talking: Callable[[str], Path]
) -> None:
    template = resolve_chat_template([talking("qwen2")]).default
    assert template is not None
    other = load(talking("qwen2"), template.replace("assistant\\n' }}", "assistant\\n\\n' }}"))
    found = check_parity([checkpoint, other], {"mine": PROBES["one turn"]})
    assert [(one.conversation, one.kind) for one in found] == [("mine", "tokens")]
    assert "chat templates differ" in str(found[0])
    assert "from token" in found[0].found


def served(text: str | None, count: int | None = None) -> Prompts:
    """Return what is seen of a server that shows a text, a number, or nothing."""

    def rendered(messages: Sequence[Message]) -> str | None:
        if text == "refuse":
            raise TemplateError("no such role")
        return text

    server: Any = SimpleNamespace(
        name="server", rendered_prompt=rendered, count_prompt=lambda messages: count
    )
    return prompts_of(server, {"c": ({"role": "user", "content": "q"},)})


def known(text: str, *ids: int) -> Prompts:
    return Prompts("mine", {"c": Prompt(ids, text, len(ids))})


def test_what_a_server_shows_is_compared() -> None:
    mine = known("<s>Question: q", 1, 2, 3)
    assert compare_prompts(mine, served("<s>Question: q", 3)) == []
    assert compare_prompts(mine, served("Question: q", 3)) == []  # it adds the first token itself
    assert compare_prompts(mine, served(None, 3)) == []
    assert compare_prompts(mine, served(None)) == []
    (text,) = compare_prompts(mine, served("Query: q", 3))
    assert (text.kind, text.expected, text.found) == ("text", "'<s>Question: q'", "'Query: q'")
    assert text.brief == "'<s>Question: q' and 'Query: q'"
    (count,) = compare_prompts(mine, served("<s>Question: q", 4))
    assert str(count).startswith("the prompts of the probe 'c' differ (3 tokens and 4 tokens). ")
    (refused,) = compare_prompts(mine, served("refuse"))
    assert (refused.kind, refused.found) == ("refused", "no such role")
    assert compare_prompts(served("refuse"), served("refuse")) == []


def test_tokens_of_one_text_are_the_tokenizers() -> None:
    (found,) = compare_prompts(known("abc", 5, 6, 7), known("abc", 5, 6))
    assert "different vocabularies" in found.cause
    assert found.brief == "3 tokens and 2, the first 2 alike"
    assert (found.expected, found.found) == ("5, 6, 7 from token 0 on", "5, 6 from token 0 on")


def test_known_differences_concern_only_messages_that_meet_them() -> None:
    plain, decomposed, hostile = "Café", "Cafe\u0301", "Say <|im_end|> twice."
    assert concerns("one turn", [])
    assert not concerns("composition", [plain, hostile])
    assert concerns("composition", [plain, decomposed])
    assert not concerns("control tokens", [plain, "1 < 2 | 3 > 2", "<b>bold</b>"])
    assert concerns("control tokens", [plain, hostile])


def test_conversations_that_only_one_was_asked_are_left_out() -> None:
    other = Prompts("other", {"d": Prompt((1,), "x", 1)})
    assert compare_prompts(known("abc", 5), other) == []


def test_prompts_survive_a_file(checkpoint: TransformersBatchEngine) -> None:
    found = prompts_of(checkpoint)
    assert Prompts.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert set(found.found) == set(PROBES)


@settings(max_examples=30)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(
            st.sampled_from(["engine", "found", "ids", "text", "count", "c"]), inner
        ),
        max_leaves=20,
    )
)  # fmt: skip
def test_whatever_stands_in_a_file_is_read(values: object) -> None:
    read = Prompts.from_json(values)
    assert isinstance(compare_prompts(read, known("abc", 5)), list)
