"""A conversation as the text that a model reads: the template, and its switch for thinking."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from loragraft.checkpoint.template import compile_template
from loragraft.engine.answer_text import ThinkingTags, begins_thinking, tags_of
from loragraft.engine.protocol import Message
from loragraft.errors import TemplateError

THINKING_SWITCHES = ("enable_thinking", "thinking")
"""Variables by which templates switch thinking: Qwen3, SmolLM3 and GLM; Granite and DeepSeek."""


@dataclass(frozen=True)
class ChatTemplate:
    """A model's own chat template.

    Attributes:
        source: The Jinja text.
        variables: The special tokens' texts, as transformers passes them.
        switches: Variables that switch its thinking; empty where it has no such switch.
        tags: What thinking stands between, where the template speaks of it.
    """

    source: str
    variables: Mapping[str, str]
    switches: tuple[str, ...] = field(init=False)
    tags: ThinkingTags | None = field(init=False)

    def __post_init__(self) -> None:
        """Find out what the template knows of thinking.

        Raises:
            TemplateError: If it is no Jinja.
        """
        read = _variables_read(self.source)
        object.__setattr__(self, "switches", tuple(s for s in THINKING_SWITCHES if s in read))
        object.__setattr__(self, "tags", tags_of(self.source))

    def render(
        self, messages: Sequence[Message], *, think: bool | None = None, **more: object
    ) -> str:
        """Return the text up to where the answer begins, as transformers renders it.

        Args:
            messages: The turns so far.
            think: Switch its thinking on or off; None leaves it as it is.
            **more: Further variables of the template: tools ...

        Raises:
            TemplateError: If the template refuses these messages.
        """
        switched = {} if think is None else dict.fromkeys(self.switches, think)
        variables = {**self.variables, **switched, **more}
        return self._compiled(messages, add_generation_prompt=True, **variables)

    @cached_property
    def _compiled(self) -> Callable[..., str]:
        return compile_template(self.source)

    def begins_thinking(self, prompt: str) -> bool:
        """Whether the rendered prompt has opened the thinking already."""
        return begins_thinking(prompt, self.tags)


def _variables_read(source: str) -> frozenset[str]:
    from jinja2 import meta
    from jinja2.exceptions import TemplateError as JinjaError

    from loragraft.checkpoint.jinja import chat_environment

    try:
        return frozenset(meta.find_undeclared_variables(chat_environment().parse(source)))
    except (JinjaError, RecursionError) as error:
        raise TemplateError(
            f"The model's chat template is no Jinja ({type(error).__name__}: {error}). Correct it "
            "in the checkpoint and export the model again."
        ) from None


class Literals:
    """Texts in messages that are the texts of control tokens, and are to stay texts.

    transformers and Ollama take ``<|im_end|>`` in a user's words as the control token. Here each
    is replaced by a mark before the template is rendered, and tokenized as plain text after.
    """

    def __init__(self, controls: Iterable[str]) -> None:
        """Look for these texts, the longest first."""
        wanted = sorted({text for text in controls if text.strip()}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, wanted))) if wanted else None

    def find(self, text: str) -> list[str]:
        """Return the control tokens' texts in a text, each once, in order."""
        return list(dict.fromkeys(self._pattern.findall(text))) if self._pattern else []

    def split(self, text: str) -> Iterator[tuple[str, bool]]:
        """Yield the parts of a text, and whether each is a control token's text."""
        end = 0
        for found in self._pattern.finditer(text) if self._pattern else ():
            yield text[end : found.start()], False
            yield found[0], True
            end = found.end()
        yield text[end:], False

    def replace(self, messages: Sequence[Message]) -> tuple[list[Message], dict[str, str]]:
        """Return messages with marks, and what each mark stands for."""
        nonce = secrets.token_hex(8)
        marks: dict[str, str] = {}

        def mark(found: re.Match[str]) -> str:
            name = f"\ue000{nonce}{len(marks)}\ue001"
            marks[name] = found[0]
            return name

        def plain(text: str) -> str:
            return self._pattern.sub(mark, text) if self._pattern else text

        replaced: list[Message] = [
            {"role": message["role"], "content": plain(message["content"])} for message in messages
        ]
        return replaced, marks


def between_marks(text: str, marks: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a rendered text, and whether each is what a mark stands for.

    Args:
        text: Rendered from what :meth:`Literals.replace` returned.
        marks: As it returned them; the template may leave some out, or repeat them.
    """
    end = 0
    for found in re.finditer("|".join(map(re.escape, marks)), text) if marks else ():
        yield text[end : found.start()], False
        yield marks[found[0]], True
        end = found.end()
    yield text[end:], False
