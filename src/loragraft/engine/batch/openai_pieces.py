"""Events of OpenAI's chat completions, as all who speak them write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from loragraft.engine.batch.failing import FailedError
from loragraft.engine.batch.heard import Heard
from loragraft.engine.batch.refusals import (
    FILTERED,
    PASSING,
    Place,
    broken,
    count_of,
    read_error,
    refuse,
    text_of,
)
from loragraft.engine.protocol import Finish

THOUGHT = ("reasoning_content", "reasoning")
"""Fields for thinking: DeepSeek, vLLM and SGLang; OpenRouter and newer vLLM."""
LENGTH = ("length", "max_tokens")
FILTER = ("content_filter", "safety", "prohibited_content", "recitation", "blocklist", "refusal")
"""Spellings of the filter's finish: OpenAI, and Gemini's through look-alikes."""


def take_piece(
    heard: Heard, piece: dict[str, Any] | None, place: Place, hide: Callable[[str], str]
) -> None:
    """Add an event to an answer.

    Raises:
        FailedError: If it is an error.
    """
    if piece is None:
        heard.ended = True
        return
    if piece.get("error"):
        _refuse(piece, place, hide)
    usage = piece.get("usage")
    if isinstance(usage, dict):
        prompt, written = (
            count_of(usage.get("prompt_tokens")),
            count_of(usage.get("completion_tokens")),
        )
        heard.prompt_tokens = heard.prompt_tokens if prompt is None else prompt
        heard.tokens = heard.tokens if written is None else written
    choices = piece.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        _take_choice(heard, choices[0])


def _take_choice(heard: Heard, choice: Mapping[str, Any]) -> None:
    part = choice.get("delta") or choice.get("message")
    part = part if isinstance(part, dict) else {}
    thought = next((text for name in THOUGHT if (text := text_of(part.get(name)))), "")
    said, more = _content(part.get("content") or choice.get("text"))
    heard.take(said, thought + more)
    heard.refusal += text_of(part.get("refusal"))
    heard.finish = text_of(choice.get("finish_reason")).lower() or heard.finish
    heard.ended = heard.ended or bool(heard.finish)
    heard.log_probs = heard.log_probs or _likeliest(choice.get("logprobs"))


def _likeliest(shown: object) -> list[Mapping[str, Any]]:
    """Return the likeliest first tokens, of a chat's or of a plain prompt's continuation."""
    if not isinstance(shown, dict):
        return []
    of_chat, of_plain = shown.get("content"), shown.get("top_logprobs")
    first = _first(of_chat)
    if isinstance(first, dict):
        top = first.get("top_logprobs")
        return [
            entry for entry in (top if isinstance(top, list) else []) if isinstance(entry, dict)
        ]
    first = _first(of_plain)
    entries = first.items() if isinstance(first, dict) else ()
    return [{"token": token, "logprob": number} for token, number in entries]


def _first(values: object) -> object:
    return values[0] if isinstance(values, list) and values else None


def _content(content: object) -> tuple[str, str]:
    """Return what was said and thought in a content: a text, or parts of several types."""
    if isinstance(content, str):
        return content, ""
    said: list[str] = []
    thought: list[str] = []
    for part in content if isinstance(content, list) else []:
        if isinstance(part, dict):
            (thought if part.get("type") == "thinking" else said).extend(_texts(part))
    return "".join(said), "".join(thought)


def _texts(part: Mapping[str, Any]) -> Iterator[str]:
    """Yield a part's texts; Mistral's thinking holds parts itself."""
    inner = part.get("thinking")
    if isinstance(inner, list):
        for each in inner:
            if isinstance(each, dict):
                yield text_of(each.get("text"))
    yield text_of(inner) or text_of(part.get("text"))


def _refuse(piece: Mapping[str, Any], place: Place, hide: Callable[[str], str]) -> None:
    said = read_error(piece)
    said = type(said)(hide(said.words), said.codes, said.param)
    inner = piece["error"]
    code = inner.get("code") if isinstance(inner, dict) else None
    status = code if type(code) is int and 400 <= code < 600 else 500
    if status not in PASSING and status < 500 and not any(mark in said.codes for mark in FILTERED):
        raise FailedError("error", f"{place.url} answers {status}: {said.words}.")
    refuse(place, status, {}, said)


def finish_of(heard: Heard, place: Place) -> Finish:
    """Return why an answer ended.

    Raises:
        FailedError: If a filter or the model refused, or it broke off in the middle.
    """
    if heard.finish in FILTER or heard.refusal:
        words = heard.refusal or f"finish_reason {heard.finish}"
        raise FailedError("refused", f"{place.url} refused the question: {words[:200]}.")
    if heard.finish == "error":
        raise broken(place, "failed in the middle of its answer")
    if not heard.ended:
        raise broken(place, "ended its answer in the middle")
    return "length" if heard.finish in LENGTH else "stop"
