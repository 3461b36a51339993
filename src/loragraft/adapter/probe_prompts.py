"""The prompts of a probe: three to five, ours for each task or the user's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from loragraft.errors import InputError

Task = Literal["generation", "score"]

MAX_PROMPTS = 64
"""A probe is a small test: each prompt costs four passes and two answers on the CPU."""
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class ProbePrompt:
    """One prompt.

    Attributes:
        messages: Role and content of each turn; the last one is the user's.
        expected: What the answer should hold, or the score it should be; None if nothing is known.
        reason: Why this prompt is asked.
        id: Its name in the report.
    """

    messages: tuple[Mapping[str, str], ...]
    expected: str | None = None
    reason: str = ""
    id: str = ""

    @property
    def text(self) -> str:
        """The turns as plain text, for a model without a chat template."""
        return "\n\n".join(message["content"] for message in self.messages)


def default_prompts(task: Task) -> tuple[ProbePrompt, ...]:
    """Return the packaged prompts of a task."""
    name = f"probe_{task}.jsonl"
    text = files("loragraft.adapter").joinpath("data").joinpath(name).read_text(encoding="utf-8")
    return _parse(text, name)


def read_prompts(path: Path) -> tuple[ProbePrompt, ...]:
    """Read prompts from a JSONL file.

    Each line is an object with ``prompt`` (text) or ``messages`` (objects with ``role`` and
    ``content``), and optionally ``expected``, ``reason`` and ``id``.

    Raises:
        InputError: If it cannot be read, a line is something else, or there are none or too many.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read as text ({reason}). Give a JSONL file.") from None
    prompts = _parse(text, str(path))
    if not prompts or len(prompts) > MAX_PROMPTS:
        raise InputError(
            f"{path} holds {len(prompts)} prompts, expected 1 to {MAX_PROMPTS}. A probe is a small "
            "test; three to five prompts are usual."
        )
    return prompts


def _parse(text: str, name: str) -> tuple[ProbePrompt, ...]:
    prompts: list[ProbePrompt] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            prompts.append(_prompt(line, f"{name}, line {number}", len(prompts) + 1))
    return tuple(prompts)


def _prompt(line: str, where: str, index: int) -> ProbePrompt:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is no JSON ({error}). Write one object a line.") from None
    if not isinstance(value, dict):
        raise InputError(f"{where} holds a {type(value).__name__}, expected an object.")
    expected = value.get("expected")
    if isinstance(expected, bool) or not isinstance(expected, (str, int, float, type(None))):
        raise InputError(f"{where} has an 'expected' that is neither text nor a number.")
    return ProbePrompt(
        messages=_messages(value, where),
        expected=None if expected is None else str(expected),
        reason=str(value.get("reason") or ""),
        id=str(value.get("id") or index),
    )


def _messages(value: Mapping[str, Any], where: str) -> tuple[Mapping[str, str], ...]:
    prompt, messages = value.get("prompt"), value.get("messages")
    if isinstance(prompt, str) and prompt.strip() and messages is None:
        return ({"role": "user", "content": prompt},)
    if prompt is None and isinstance(messages, list) and messages and all(map(_is_turn, messages)):
        turns = [{"role": turn["role"], "content": turn["content"]} for turn in messages]
        while (
            turns and turns[-1]["role"] == "assistant"
        ):  # a training record: that is to be written
            turns.pop()
        if turns:
            return tuple(turns)
    raise InputError(
        f"{where} needs either 'prompt' with text or 'messages' with objects of role "
        f"({', '.join(_ROLES)}) and content."
    )


def _is_turn(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.get("role") in _ROLES
        and isinstance(value.get("content"), str)
    )
