"""How a base's chat template writes a conversation, and which part of it an answer is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from loragraft.checkpoint.template import compile_template
from loragraft.checkpoint.turn_ends import MARK
from loragraft.engine.answer_text import begins_thinking, tags_of
from loragraft.engine.conversation import THINKING_SWITCHES, Literals
from loragraft.engine.protocol import Message
from loragraft.errors import TemplateError

DAY = datetime(2024, 7, 26)
"""What templates that write today's date are told, the day that Llama 3.1's own falls back to: the
same data must give the same tokens tomorrow, or no run could be resumed over midnight."""


@dataclass(frozen=True)
class Written:
    """The text of a conversation.

    Attributes:
        text: As the template writes it; control tokens' texts within messages are marks.
        learnt: Where each learnt answer stands in it, its turn end included.
        marks: What each mark stands for.
    """

    text: str
    learnt: tuple[tuple[int, int], ...]
    marks: dict[str, str]


class ChatFormat:
    """A tokenizer with its chat template.

    Attributes:
        tokenizer: transformers' own.
        template: The Jinja text in force.
        think: Switch of the template's thinking; None leaves it.
    """

    def __init__(self, tokenizer: Any, *, think: bool | None = None) -> None:  # noqa: ANN401
        """Find the template.

        Raises:
            TemplateError: If the tokenizer has none, or it is no Jinja.
        """
        self.tokenizer, self.think = tokenizer, think
        self.template = _template(tokenizer)
        self._compiled: Callable[..., str] = compile_template(self.template)
        self._tags = tags_of(self.template)
        self._switches = {} if think is None else dict.fromkeys(THINKING_SWITCHES, think)

    @cached_property
    def literals(self) -> Literals:
        """What finds the texts of control tokens in messages, where they stay texts."""
        return Literals(self._controls)

    @cached_property
    def _said_literals(self) -> Literals:
        """The same for an assistant's turns, whose thoughts templates look for by their tags."""
        tags = () if self._tags is None else (self._tags.opening, self._tags.closing)
        return Literals(one for one in self._controls if one not in tags)

    def _plain(self, messages: Sequence[Message]) -> tuple[list[Message], dict[str, str]]:
        """Return messages with marks for control tokens' texts, and what each stands for."""
        plain: list[Message] = []
        marks: dict[str, str] = {}
        for message in messages:
            said = message["role"] == "assistant"
            one, more = (self._said_literals if said else self.literals).replace([message])
            plain += one
            marks |= more
        return plain, marks

    @cached_property
    def _controls(self) -> tuple[str, ...]:
        added = self.tokenizer.added_tokens_decoder.values()
        special = [str(token.content) for token in added if token.special]
        texts = dict.fromkeys([*special, *map(str, self.tokenizer.all_special_tokens)])
        return tuple(sorted(filter(str.strip, texts), key=len, reverse=True))

    def render(self, messages: Sequence[Message], *, opened: bool = False) -> str:
        """Return a conversation as ``apply_chat_template`` writes it.

        Args:
            messages: The turns.
            opened: Whether the assistant's next turn is opened.

        Raises:
            TemplateError: If the template refuses these messages.
        """
        special = self.tokenizer.special_tokens_map
        return self._compiled(
            messages, add_generation_prompt=opened, strftime_now=DAY.strftime,
            **{**special, **self._switches},
        )  # fmt: skip

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Return the length of a conversation up to where its answer begins, in tokens."""
        plain, marks = self._plain(messages)
        return len(self.tokenize(self.render(plain, opened=True), marks))

    def tokenize(self, text: str, marks: dict[str, str] | None = None) -> list[int]:
        """Return the tokens of a rendered text; what marks stand for becomes plain text."""
        if not marks:
            return self._ids(text)
        parts = re.split(f"({'|'.join(marks)})", text)
        return [
            token
            for part in parts
            for token in self._ids(marks.get(part, part), plain=part in marks)
        ]

    def _ids(self, text: str, *, plain: bool = False) -> list[int]:
        if not text:
            return []
        found = self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=plain, verbose=False
        )
        return [int(token) for token in found["input_ids"]]

    def write(self, messages: Sequence[Message], learnt: Sequence[int]) -> Written | None:
        """Write a conversation with all its learnt answers at once.

        Returns:
            None where the template writes an earlier answer in another way than the last one
            (Qwen3 takes out its thoughts), or leaves out what ends it: then each answer is
            written by :meth:`write_answer`.
        """
        plain, marks = self._plain(messages)
        last = self._part(plain, learnt[-1])
        if last is None:
            return None
        text, *_ = last
        spans: list[tuple[int, int]] = []
        for at in learnt:
            part = last if at == learnt[-1] else self._part(plain, at)
            if part is None or not text.startswith(part[0][: part[2]]):
                return None
            spans.append(part[1:])
        return Written(text, tuple(spans), marks)

    def write_answer(self, messages: Sequence[Message]) -> Written:
        """Write a conversation whose last turn is the learnt answer.

        The prompt is what a chat renders. Where the template does not go on from it as it writes
        whole conversations, the answer's words and the turn end follow directly.

        Raises:
            TemplateError: If nothing ends an answer: neither the template nor the tokenizer.
        """
        plain, marks = self._plain(messages)
        part = self._part(plain, len(plain) - 1)
        if part is not None:
            return Written(part[0], (part[1:],), marks)
        prompt = self.render(plain[:-1], opened=True)
        start, words = len(prompt), plain[-1]["content"].strip()
        if begins_thinking(prompt, self._tags) and self._tags is not None:
            closed = self._tags.closing in words
            words = words if closed else f"\n{self._tags.closing}\n\n{words}"
        text = prompt + words + self._end(plain)
        return Written(text, ((start, len(text)),), marks)

    def _part(self, messages: Sequence[Message], at: int) -> tuple[str, int, int] | None:
        """Return a text up to a turn, where its answer begins and where it ends."""
        prompt = self.render(messages[:at], opened=True)
        text = self.render(messages[: at + 1])
        after = self._after(messages[: at + 1], text)
        end = self._first_control(after)
        if not text.startswith(prompt) or end is None:
            return None
        stop = len(text) - len(after) + end
        return (text, len(prompt), stop) if text[len(prompt) : stop].strip() else None

    def _after(self, messages: Sequence[Message], text: str) -> str:
        """Return what the template writes after the last turn's words."""
        if text.endswith(self._usual_after) and self._first_control(self._usual_after) is not None:
            return self._usual_after
        return self._probed_after(messages)

    @cached_property
    def _usual_after(self) -> str:
        try:
            return self._probed_after([{"role": "user", "content": "a"}, _MARKED])
        except TemplateError:
            return MARK  # no text ends with it

    def _probed_after(self, messages: Sequence[Message]) -> str:
        return self.render([*messages[:-1], _MARKED]).rpartition(MARK)[2]

    def _first_control(self, after: str) -> int | None:
        """Return where the first control token of a text ends."""
        found = [(after.find(one), -len(one)) for one in self._controls if one in after]
        return min(found)[0] - min(found)[1] if found else None

    def _end(self, messages: Sequence[Message]) -> str:
        after = self._probed_after(messages)
        stop = self._first_control(after)
        if stop is not None:
            return after[:stop]
        end = self.tokenizer.eos_token
        if not end:
            raise TemplateError(
                "Nothing ends an answer: the chat template writes no control token after the "
                "assistant's words, and the tokenizer names no eos_token. Name one in "
                "tokenizer_config.json, or a model would never stop."
            )
        return str(end)


_MARKED: Message = {"role": "assistant", "content": MARK}


def _template(tokenizer: Any) -> str:  # noqa: ANN401
    try:
        return str(tokenizer.get_chat_template())
    except ValueError:
        name = getattr(tokenizer, "name_or_path", "") or "the base"
        raise TemplateError(
            f"The tokenizer of {name} has no chat template, so nobody knows how it writes a "
            "conversation. Train the instruct model of the family, or put a chat_template.jinja "
            "beside the tokenizer."
        ) from None
