"""Rendering conversations of sentinels, and reading back what a chat template put between them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from loragraft.errors import TemplateError

Message: TypeAlias = Mapping[str, Any]

MAX_TEXT = 1 << 17
"""Characters of a rendered probe: those of real templates have thousands."""


class Slot(Enum):
    """A place in a gap where something of the conversation stands."""

    SYSTEM = "system"
    """The leading system message's words."""
    REASON = "reason"
    """What the next message's author thought."""


@dataclass(frozen=True)
class Date:
    """A place where today's date stands, in a form of strftime."""

    form: str


Piece: TypeAlias = "str | Slot | Date"
Gap: TypeAlias = "tuple[Piece, ...]"


@dataclass(frozen=True)
class Reading:
    """A rendered conversation: the gap before each message's words, and the one after the last.

    The leading system message is no message here: its words stand in the gaps.
    """

    gaps: tuple[Gap, ...]
    shown: tuple[bool, ...]
    """Whether a message's words appear; a gap of one that does not is empty."""


class Sentinels:
    """Words that stand for contents, foreign to a template."""

    def __init__(self, template: str) -> None:
        """Choose them for a template."""
        mark = "Qx"
        while mark in template:
            mark += "x"
        self.system = f"{mark}systemZ"
        self._mark = mark
        self._forms: list[str] = []
        self._pattern = re.compile(rf"{mark}(system|date[0-9]+|[0-9]+|reason[0-9]+)Z")

    def content(self, number: int) -> str:
        """Return the words of the message with this number."""
        return f"{self._mark}{number}Z"

    def reason(self, number: int) -> str:
        """Return the thoughts of the message with this number."""
        return f"{self._mark}reason{number}Z"

    def date(self, form: str) -> str:
        """Stand in for strftime_now, and remember the form that is asked for."""
        if form not in self._forms:
            self._forms.append(form)
        return f"{self._mark}date{self._forms.index(form)}Z"

    def read(self, text: str, count: int) -> Reading | None:
        """Return a rendered conversation's gaps; None where they are not what a reading can hold.

        Args:
            text: the rendering.
            count: messages after the leading system message.
        """
        gaps: list[Gap] = [()] * (count + 1)
        shown = [False] * count
        gap: list[Piece] = []
        reasons: list[int] = []
        position, following = 0, 0
        for match in self._pattern.finditer(text):
            gap.append(text[position : match.start()])
            position = match.end()
            word = match.group(1)
            if not word.isdigit():
                gap.append(self._slot(word))
                if word.startswith("reason"):
                    reasons.append(int(word[6:]))
                continue
            number = int(word)
            if not following <= number < count or any(reason != number for reason in reasons):
                return None
            gaps[number], shown[number] = _joined(gap), True
            following, gap, reasons = number + 1, [], []
        gaps[count] = _joined([*gap, text[position:]])
        return None if reasons else Reading(tuple(gaps), tuple(shown))

    def _slot(self, word: str) -> Piece:
        if word == "system":
            return Slot.SYSTEM
        return Slot.REASON if word.startswith("reason") else Date(self._forms[int(word[4:])])


def _joined(pieces: Sequence[Piece]) -> Gap:
    return tuple(piece for piece in pieces if piece != "")


class Prober:
    """One chat template, ready to be asked many times."""

    def __init__(self, template: str, variables: Mapping[str, str]) -> None:
        """Read a template.

        Raises:
            TemplateError: it is faulty.
        """
        from loragraft.checkpoint.template import compile_template

        self.source = template
        self.tools: list[object] | None = None
        """What goes as tools; an empty list for templates that render nothing without."""
        self.refusal = ""
        """Why the template refused last."""
        self.sentinels = Sentinels(template)
        self._variables = variables
        self._render = compile_template(template)

    def render(
        self,
        messages: Sequence[Message],
        think: bool | None = None,
        *,
        prompt: bool = True,
        dates: Callable[[str], str] | None = None,
        **more: object,
    ) -> str | None:
        """Return the rendering, with the generation prompt; None where the template refuses.

        Raises:
            TemplateError: it is far too long.
        """
        clock = {"strftime_now": dates or self.sentinels.date, "tools": self.tools}
        try:
            text: str = self._render(
                messages,
                **{**self._variables, **clock, **thinking_variables(think), **more},
                add_generation_prompt=prompt,
            )
        except TemplateError as error:
            self.refusal = str(error.__cause__ or error)
            return None
        if len(text) > MAX_TEXT:
            raise TemplateError(
                f"the chat template writes {len(text)} characters for {len(messages)} messages; "
                f"at most {MAX_TEXT} were expected. Check that it is the model's own template."
            )
        return text

    def undeclared(self) -> set[str]:
        """Return the variables that the template reads and nobody sets."""
        from jinja2 import nodes
        from jinja2.meta import find_undeclared_variables

        from loragraft.checkpoint.jinja import chat_environment

        tree = chat_environment().parse(self.source)
        named = list(tree.find_all(nodes.Name))
        written = {name.name for name in named if name.ctx != "load"}
        tested = {
            test.node.name
            for test in tree.find_all(nodes.Test)
            if test.name == "defined" and isinstance(test.node, nodes.Name)
        }
        found = find_undeclared_variables(tree)
        return (found - written | found & tested) - self._variables.keys()


def thinking_variables(think: bool | None) -> dict[str, bool]:
    """Return what tells a chat template to think or not to; nothing for None.

    Qwen3's kind reads enable_thinking; Granite's and DeepSeek's read thinking.
    """
    return {} if think is None else {"enable_thinking": think, "thinking": think}
