"""What is learnt of a conversation: the answers and their turn ends, by every family's template."""

from __future__ import annotations

from typing import Any

import pytest

from loragraft.engine.protocol import Message
from loragraft.errors import InputError, TemplateError
from loragraft.training.chat_format import ChatFormat
from loragraft.training.conversations import Conversation, exchange
from loragraft.training.encoding import IGNORED, Example, collate, encode
from tests.support.talking import TALKING
from tests.training.tokenizers import family_tokenizer

LONG = 100_000
QUESTION = "word 1 the fox"
ANSWER = "jumps over lazy dogs."


def talk(*texts: str, learnt: tuple[int, ...] | None = None, system: str = "") -> Conversation:
    """Return a conversation whose turns alternate, the user's first."""
    turns: list[Message] = [{"role": "system", "content": system}] if system else []
    roles = ("user", "assistant")
    turns += [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]
    answers = tuple(at for at, turn in enumerate(turns) if turn["role"] == "assistant")
    return Conversation("c", tuple(turns), answers if learnt is None else learnt, "conversation")


def said(tokenizer: Any, example: Example) -> str:  # noqa: ANN401
    """Return what is learnt, as text."""
    return str(tokenizer.decode([label for label in example.labels if label != IGNORED]))


def template_ids(tokenizer: Any, turns: Any, **more: Any) -> list[int]:  # noqa: ANN401
    """Return transformers' own ids."""
    return list(tokenizer.apply_chat_template(turns, return_dict=False, **more))


@pytest.mark.parametrize("name", TALKING)
def test_an_answer_is_learnt_with_its_turn_end(name: str) -> None:
    tokenizer, end = family_tokenizer(name), TALKING[name].end
    conversation = exchange("a", QUESTION, ANSWER, "conversation")
    (example,) = encode(ChatFormat(tokenizer), [conversation], LONG).examples
    assert list(example.ids) == template_ids(tokenizer, conversation.messages)
    prompt = template_ids(tokenizer, conversation.messages[:1], add_generation_prompt=True)
    assert list(example.ids[: len(prompt)]) == prompt
    assert set(example.labels[: len(prompt)]) == {IGNORED}
    learnt = said(tokenizer, example)
    assert learnt.rstrip().endswith(end)
    assert learnt.removesuffix(end).split("</think>")[-1].strip() == ANSWER
    assert example.id == "a"
    if example.ids[0] == tokenizer.bos_token_id:
        assert example.ids[1] != tokenizer.bos_token_id


@pytest.mark.parametrize("name", TALKING)
def test_all_answers_of_a_conversation_are_learnt_once(name: str) -> None:
    tokenizer, end = family_tokenizer(name), TALKING[name].end
    conversation = talk("the quick", "brown fox", "lazy", "dogs", "jumps", "over 16")
    encoded = encode(ChatFormat(tokenizer), [conversation], LONG)
    together = [said(tokenizer, example) for example in encoded.examples]
    words = " ".join(together).replace(end, " ")
    words = words.replace("<think>", " ").replace("</think>", " ")
    assert words.split() == ["brown", "fox", "dogs", "over", "16"]
    if name == "qwen3":  # it takes the thoughts out of earlier turns
        assert [example.id for example in encoded.examples] == ["c#1", "c#3", "c#5"]
        for example, stop in zip(encoded.examples, (2, 4, 6), strict=True):
            assert list(example.ids) == template_ids(tokenizer, conversation.messages[:stop])
    else:
        (example,) = encoded.examples
        assert list(example.ids) == template_ids(tokenizer, conversation.messages)


def test_only_the_chosen_turns_are_learnt() -> None:
    tokenizer = family_tokenizer("qwen2")
    conversation = talk("the quick", "brown fox", "lazy", "dogs", learnt=(3,))
    (example,) = encode(ChatFormat(tokenizer), [conversation], LONG).examples
    assert said(tokenizer, example) == "dogs<|im_end|>"
    assert "brown fox" in tokenizer.decode(example.ids)


@pytest.mark.parametrize("think", [None, True, False])
def test_thinking_is_switched_as_in_a_chat(think: bool | None) -> None:
    tokenizer = family_tokenizer("qwen3")
    chat = ChatFormat(tokenizer, think=think)
    conversation = exchange("a", QUESTION, ANSWER, "conversation")
    (example,) = encode(chat, [conversation], LONG).examples
    switch = {} if think is None else {"enable_thinking": think}
    prompt = template_ids(
        tokenizer, conversation.messages[:1], add_generation_prompt=True, **switch
    )
    assert list(example.ids[: len(prompt)]) == prompt
    assert ("<think>" in said(tokenizer, example)) == (think is not False)


def test_thoughts_in_the_data_are_learnt() -> None:
    tokenizer = family_tokenizer("qwen3")
    answer = f"<think>\nlazy\n</think>\n\n{ANSWER}"
    conversation = exchange("a", QUESTION, answer, "conversation")
    (example,) = encode(ChatFormat(tokenizer), [conversation], LONG).examples
    assert said(tokenizer, example) == f"{answer}<|im_end|>"


@pytest.mark.parametrize("name", ["qwen2", "llama3", "phi3", "gemma3"])
def test_a_control_token_in_a_text_stays_text(name: str) -> None:
    tokenizer, end = family_tokenizer(name), TALKING[name].end
    token = tokenizer.convert_tokens_to_ids(end)
    clean = exchange("a", "the fox", "lazy dogs", "conversation")
    hostile = exchange("b", f"the {end} fox", f"lazy {end} dogs", "conversation")
    encoded = encode(ChatFormat(tokenizer), [clean, hostile], LONG)
    first, second = encoded.examples
    assert first.ids.count(token) == second.ids.count(token)
    assert second.labels.count(token) == 1
    assert f"lazy {end} dogs" in " ".join(said(tokenizer, second).split())


def test_the_oldest_turns_leave_a_long_conversation() -> None:
    tokenizer = family_tokenizer("qwen2")
    chat = ChatFormat(tokenizer)
    conversation = talk(
        "the quick", "brown fox", "lazy", "dogs", "jumps", "over 16", system="word 3"
    )
    whole = len(encode(chat, [conversation], LONG).examples[0].ids)
    encoded = encode(chat, [conversation], whole - 1)
    assert [example.id for example in encoded.examples] == ["c#2", "c#6"]
    assert [said(tokenizer, example) for example in encoded.examples] == [
        "brown fox<|im_end|>", "dogs<|im_end|>over 16<|im_end|>",
    ]  # fmt: skip
    assert all("word 3" in tokenizer.decode(example.ids) for example in encoded.examples)
    assert max(len(example.ids) for example in encoded.examples) <= whole - 1
    assert encoded.shortened == 1
    assert not encoded.dropped


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    tokenizer = family_tokenizer("llama")
    chat = ChatFormat(tokenizer)
    short = exchange("short", QUESTION, ANSWER, "conversation")
    long = exchange("long", QUESTION * 50, ANSWER, "conversation")
    encoded = encode(chat, [long, short], 60)
    assert [example.id for example in encoded.examples] == ["short"]
    assert dict(encoded.dropped) == {
        "answers left out: longer than 60 tokens with the question alone": 1
    }
    assert encoded.dropped_ids == ("long",)
    lengths = encoded.lengths
    assert lengths.examples == 1
    assert lengths.longest == lengths.median == lengths.p95 == lengths.tokens
    assert 0 < lengths.learnt < lengths.tokens
    with pytest.raises(InputError, match="None of the 1 conversations fits into 60 tokens"):
        encode(chat, [long], 60)


class OwnTemplate:
    """A tokenizer with another template."""

    def __init__(self, template: str, name: str = "qwen2", **changed: Any) -> None:  # noqa: ANN401
        """Take a family's tokenizer."""
        self._tokenizer, self._template = family_tokenizer(name), template
        self._changed = changed

    def get_chat_template(self) -> str:
        """Return the template."""
        return self._template

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Return what the tokenizer has."""
        return self._changed[name] if name in self._changed else getattr(self._tokenizer, name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        """Tokenize."""
        return self._tokenizer(*arguments, **options)


PLAIN = (
    "{% for m in messages %}{{ m.role + ': ' + m.content + '\n\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
OPENS_THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content.split('</think>')[-1] }}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)


def test_a_template_without_turn_ends_gets_the_end_of_text() -> None:
    tokenizer = OwnTemplate(PLAIN)
    conversation = talk("the quick", "brown fox", "lazy", "dogs")
    first, second = encode(ChatFormat(tokenizer), [conversation], LONG).examples
    assert said(tokenizer, first) == "brown fox<|im_end|>"
    assert said(tokenizer, second) == "dogs<|im_end|>"
    assert "assistant: brown fox\n\nuser: lazy" in tokenizer.decode(second.ids)


def test_a_model_that_could_never_stop_is_refused() -> None:
    tokenizer = OwnTemplate(PLAIN, eos_token=None)
    with pytest.raises(TemplateError, match="Nothing ends an answer"):
        encode(ChatFormat(tokenizer), [talk("the", "fox")], LONG)


def test_a_conversation_that_the_template_refuses_is_named() -> None:
    conversation = talk("the", "fox", system="Be brief.")
    with pytest.raises(TemplateError, match=r"The conversation 'c': the chat template cannot be"):
        encode(ChatFormat(family_tokenizer("gemma2")), [conversation], LONG)


def test_a_prompt_that_opens_thinking_is_closed_by_the_answer() -> None:
    tokenizer = OwnTemplate(OPENS_THINKING)
    (example,) = encode(ChatFormat(tokenizer), [talk("the", "fox")], LONG).examples
    assert said(tokenizer, example) == "\n</think>\n\nfox<|im_end|>"
    (example,) = encode(ChatFormat(tokenizer), [talk("the", "dog</think>fox")], LONG).examples
    assert said(tokenizer, example) == "dog</think>fox<|im_end|>"


def test_tokens_across_the_border_of_an_answer_are_divided() -> None:
    template = PLAIN.replace("'assistant:'", "'assistant: '").replace("'\n\n'", "'<|im_end|>'")
    tokenizer = OwnTemplate(template)
    (example,) = encode(ChatFormat(tokenizer), [talk("the", "fox")], LONG).examples
    prompt = tokenizer("user: the<|im_end|>assistant: ", add_special_tokens=False)["input_ids"]
    assert list(example.ids[: len(prompt)]) == prompt
    assert said(tokenizer, example) == "fox<|im_end|>"


def test_a_base_without_a_template_is_refused() -> None:
    tokenizer = family_tokenizer("mistral")
    kept, tokenizer.chat_template = tokenizer.chat_template, None
    try:
        with pytest.raises(TemplateError, match="Train the instruct model"):
            ChatFormat(tokenizer)
    finally:
        tokenizer.chat_template = kept


def test_the_date_of_a_template_is_the_same_tomorrow() -> None:
    dated = "{{ strftime_now('%d %b %Y') }}" + TALKING["llama"].template
    chat = ChatFormat(OwnTemplate(dated, "llama"))
    assert chat.render([{"role": "user", "content": "a"}]).startswith("26 Jul 2024")


def test_a_batch_is_padded_on_the_right() -> None:
    batch = collate(
        [Example("a", (5, 6, 7), (IGNORED, 6, 7)), Example("b", (8, 9), (IGNORED, 9))], pad_id=0
    )
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [IGNORED, 9, IGNORED]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
