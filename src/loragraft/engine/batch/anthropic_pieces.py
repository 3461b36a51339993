"""Events of Anthropic's Messages API.

Source: https://docs.anthropic.com/en/api/messages-streaming and .../handling-stop-reasons.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from loragraft.engine.batch.failing import FailedError
from loragraft.engine.batch.heard import Heard
from loragraft.engine.batch.refusals import Place, broken, count_of, read_error, refuse, text_of
from loragraft.engine.protocol import Finish

READ = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
"""Tokens of a prompt: new, written to a cache, and read from one."""
STATUSES = {
    "invalid_request_error": 400, "authentication_error": 401, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429,
    "api_error": 500, "timeout_error": 504, "overloaded_error": 529,
}  # fmt: skip
"""Types of errors inside a stream, and what they would be outside."""
FINISHES: dict[str, Finish] = {
    "end_turn": "stop", "stop_sequence": "stop", "tool_use": "stop", "pause_turn": "stop",
    "max_tokens": "length", "model_context_window_exceeded": "context",
}  # fmt: skip


def take_event(
    heard: Heard,
    event: Mapping[str, Any] | None,
    place: Place,
    hide: Callable[[str], str],
) -> None:
    """Add an event to an answer; a whole message is one as well.

    Raises:
        FailedError: If it is an error.
    """
    kind = event.get("type") if event else None
    if event is None or kind is None:
        return
    if kind == "error":
        _refuse(event, place, hide)
    elif kind == "message_start":
        _count(heard, event.get("message"))
    elif kind == "content_block_start":
        _take_block(heard, event.get("content_block"))
    elif kind == "content_block_delta":
        _take_delta(heard, event.get("delta"))
    elif kind == "message_delta":
        _count(heard, event)
        _finish(heard, event.get("delta"))
    elif kind == "message_stop":
        heard.ended = True
    elif kind == "message":
        _take_message(heard, event)
        heard.ended = True


def _take_message(heard: Heard, message: Mapping[str, Any]) -> None:
    blocks = message.get("content")
    for block in blocks if isinstance(blocks, list) else []:
        _take_block(heard, block)
    _count(heard, message)
    _finish(heard, message)


def _take_block(heard: Heard, block: object) -> None:
    """Take a block whole: those of a stream are empty at first."""
    if isinstance(block, dict):
        filled = block.get("input")
        said = json.dumps(filled) if isinstance(filled, dict) and filled else ""
        heard.take(text_of(block.get("text")) + said, text_of(block.get("thinking")))


def _take_delta(heard: Heard, delta: object) -> None:
    if isinstance(delta, dict):
        said = text_of(delta.get("text")) + text_of(delta.get("partial_json"))
        heard.take(said, text_of(delta.get("thinking")))


def _count(heard: Heard, part: object) -> None:
    usage = part.get("usage") if isinstance(part, dict) else None
    if not isinstance(usage, dict):
        return
    read = [count for name in READ if (count := count_of(usage.get(name))) is not None]
    heard.prompt_tokens = sum(read) if read else heard.prompt_tokens
    written = count_of(usage.get("output_tokens"))
    heard.tokens = heard.tokens if written is None else written


def _finish(heard: Heard, part: object) -> None:
    if isinstance(part, dict):
        heard.finish = text_of(part.get("stop_reason")) or heard.finish


def _refuse(event: Mapping[str, Any], place: Place, hide: Callable[[str], str]) -> None:
    said = read_error(event)
    inner = event.get("error")
    kind = text_of(inner.get("type")) if isinstance(inner, dict) else ""
    status = STATUSES.get(kind, 500)
    refuse(place, status, {}, type(said)(hide(said.words), said.codes))


def finish_of(heard: Heard, place: Place) -> Finish:
    """Return why an answer ended.

    Raises:
        FailedError: If the model refused, or the answer broke off in the middle.
    """
    if heard.finish == "refusal":
        raise FailedError("refused", f"{place.url} refused the question (stop_reason refusal).")
    if not heard.finish or not heard.ended:
        raise broken(place, "ended its answer in the middle")
    return FINISHES.get(heard.finish, "stop")
