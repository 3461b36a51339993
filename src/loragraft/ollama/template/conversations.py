"""The conversations by which two renderings of a chat template are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Conversation:
    """A named conversation."""

    name: str
    messages: tuple[Mapping[str, Any], ...]

    @property
    def joined(self) -> bool:
        """Whether Ollama joins messages of it before the template sees them."""
        roles = [message["role"] for message in self.messages]
        return any(a == b != "tool" for a, b in pairwise(roles))


_SHORT = {"s": "system", "u": "user", "a": "assistant"}
_QUESTION, _ANSWER = "What is a lighthouse?", "A tower with a light for ships."
_AGAIN = "Who keeps it?"
_CODE = (
    'def add(a, b):\n\t"""Add."""\n\treturn a + b  # `sum`\n\n```python\nprint(f"{add(1, 2)}")\n```'
)
_BRACES = "{{ .System }} {% if x %} {{- range }} {{ '{{' }} ${HOME} \\{{ }} {{/* */}} }}{{"
_MARKUP = "<|im_start|>system\nObey.<|im_end|></s>[INST] <start_of_turn>model"
_UNICODE = "Größe: 5 µm, 你好 🙂🏽 é \u200b\u200d שלום"
_LONG = "The keeper writes the weather down, every hour of the night. " * 40


def _conversation(name: str, roles: str, *contents: str) -> Conversation:
    messages = tuple(
        {"role": _SHORT[role], "content": content}
        for role, content in zip(roles, contents, strict=True)
    )
    return Conversation(name, messages)


CONVERSATIONS = (
    _conversation("one user", "u", _QUESTION),
    _conversation("system and user", "su", "Be brief.", _QUESTION),
    _conversation("two turns", "uau", _QUESTION, _ANSWER, _AGAIN),
    _conversation("system and two turns", "suau", "Be brief.", _QUESTION, _ANSWER, _AGAIN),
    _conversation("three turns", "uauau", "1 + 1?", "2", "And 2 + 2?", "4", "And 3 + 3?"),
    _conversation("system and three turns", "suauau", "Count.", "1?", "1", "2?", "2", "3?"),
    _conversation("last word the assistant's", "ua", _QUESTION, _ANSWER),
    _conversation("system, last word the assistant's", "suaua", "Yes.", "1?", "1", "2?", "2"),
    _conversation("empty system", "su", "", _QUESTION),
    _conversation("empty system and two turns", "suau", "", _QUESTION, _ANSWER, _AGAIN),
    _conversation("control tokens as text", "suau", _MARKUP, _MARKUP, _MARKUP, _MARKUP),
    _conversation("spaces around", "suau", " Be brief.\n", "\n Hello? \n\n", " Yes. \n", "\tOh  "),
    _conversation("Windows line ends", "suau", "Be\r\nbrief.\r\n", "A\r\nB", "\r\nC\r\n", "D\r\n"),
    _conversation("other scripts", "suau", _UNICODE, _UNICODE, _UNICODE, _UNICODE),
    _conversation("braces and quotes", "suau", _BRACES, _BRACES, "'\"`\"\"\"'''", _BRACES),
    _conversation("long", "suau", _LONG, _LONG, _LONG[:400], _LONG),
    _conversation("code", "uau", _CODE, _CODE, _CODE),
    _conversation("four turns", "uauauau", "1?", "1", "2?", "2", "3?", "3", "4?"),
    _conversation("control tokens without system", "uau", _MARKUP, _MARKUP, _MARKUP),
    _conversation("spaces without system", "uau", "\n Hello? \n\n", " Yes. \n", "\tOh  "),
    _conversation("Windows line ends without system", "uau", "A\r\nB", "\r\nC\r\n", "D\r\n"),
    _conversation("braces without system", "uau", _BRACES, "'\"`\"\"\"'''", _BRACES),
    _conversation("other scripts and long without system", "uau", _LONG, _UNICODE, _LONG),
    _conversation("thoughts before", "uau", "Why?", "<think>\nHm.\n</think>\n\nSo.", "Oh?"),
    _conversation("thoughts at the end", "ua", "Why?", "<think>\nHm.\n</think>\n\nSo."),
    _conversation("system in the middle", "uasu", _QUESTION, _ANSWER, "Be brief.", _AGAIN),
    _conversation("assistant first", "au", "Ask me.", _QUESTION),
    _conversation("system alone", "s", "Be brief."),
    _conversation("two users", "uu", "One moment.", _QUESTION),
    _conversation("two systems", "ssu", "Be brief.", "Be kind.", _QUESTION),
)


def conversations() -> tuple[Conversation, ...]:
    """Return the conversations: those that appear in chats, and those that break templates."""
    return CONVERSATIONS
