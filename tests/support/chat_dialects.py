"""How OpenAI's and Anthropic's APIs spell an answer, piece by piece and whole."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from loragraft.engine.batch.plain import PLAIN
from loragraft.engine.protocol import Message, PromptEngine, Sampling

Json = dict[str, Any]
PIECE = 3
"""Characters of a piece: fewer than those of a tag."""


@dataclass(frozen=True)
class Said:
    """An answer.

    Attributes:
        text: What is said.
        thinking: In a field of its own.
        finish: In OpenAI's spelling.
        prompt_tokens: None where the server counts none.
        tokens: Written.
        top: The likeliest first tokens, with their log-probabilities.
        refusal: The model's own words.
    """

    text: str
    thinking: str = ""
    finish: str = "stop"
    prompt_tokens: int | None = 20
    tokens: int | None = 5
    top: tuple[tuple[bytes, float], ...] = ()
    refusal: str = ""
    more: Json = field(default_factory=dict)


def answering_by(engine: PromptEngine) -> Callable[[Json], Said]:
    """Return what answers by a real model, one question after the other."""
    lock = threading.Lock()

    def answer(body: Json) -> Said:
        messages = messages_of(body)
        limit = body.get("max_tokens") or body.get("max_completion_tokens")
        stops = body.get("stop") or body.get("stop_sequences") or ()
        sampling = Sampling(
            temperature=body.get("temperature", 1.0), max_tokens=limit, stop=tuple(stops),
            top_p=body.get("top_p", 1.0), top_k=body.get("top_k", 0), seed=body.get("seed"),
        )  # fmt: skip
        with lock:
            reply = engine.chat(messages, sampling)
            top = _likeliest(engine, messages, body.get("top_logprobs") or 0)
        finish = "length" if reply.finish == "length" else "stop"
        return Said(
            reply.text, reply.thinking, finish, reply.prompt_tokens, reply.tokens, tuple(top)
        )

    return answer


def messages_of(body: Json) -> list[Message]:
    """Return a request's conversation, Anthropic's system prompt first."""
    if "prompt" in body:
        return [{"role": PLAIN, "content": body["prompt"]}]
    system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    return [*system, *body["messages"]]  # type: ignore[list-item]


def _likeliest(
    engine: Any,  # noqa: ANN401 - a PromptEngine that also tells a token's bytes
    messages: list[Message],
    count: int,
) -> Iterator[tuple[bytes, float]]:
    if count:
        found = engine.next_log_probs(engine.prompt_ids(messages))
        for token in (-found).argsort()[:count]:
            yield engine.piece(int(token)), float(found[token])


def pieces(text: str) -> list[str]:
    """Return a text in pieces that break tags and characters' sequences."""
    return [text[at : at + PIECE] for at in range(0, len(text), PIECE)]


def _event(value: Json | str, name: str = "") -> bytes:
    text = value if isinstance(value, str) else json.dumps(value)
    head = f"event: {name}\r\n" if name else ""
    return f"{head}data: {text}\r\n\r\n".encode()


class OpenAi:
    """OpenAI's chat completions, with the field of thinking that most others have."""

    thought = "reasoning_content"

    def has_key(self, headers: dict[str, str], key: str) -> bool:
        """Whether a request holds the key."""
        return headers.get("authorization") == f"Bearer {key}"

    def error(self, status: int, words: str, code: str | None, *, param: str | None = None) -> Json:
        """Return a refusal."""
        return {"error": {"message": words, "type": "error", "code": code, "param": param}}

    def error_event(self, status: int, words: str, code: str | None) -> bytes:
        """Return a refusal among the pieces."""
        return _event({"error": {"message": words, "code": code or status}})

    def refused(self, said: Said, kind: str) -> Said:
        """Return an answer that a filter stopped, or that the model refused."""
        if kind == "filter":
            return replace(said, finish="content_filter")
        return replace(said, text="", refusal="I cannot help with that.")

    def _usage(self, said: Said) -> Json:
        return {"prompt_tokens": said.prompt_tokens, "completion_tokens": said.tokens}

    def _log_probs(self, body: Json, said: Said) -> Json | None:
        if not body.get("logprobs") or not said.top:
            return None
        top = [
            {"token": raw.decode("utf-8", "replace"), "logprob": number, "bytes": list(raw)}
            for raw, number in said.top
        ]
        return {"content": [{**top[0], "top_logprobs": top}]}

    def events(self, body: Json, said: Said) -> Iterator[bytes]:
        """Yield an answer piece by piece."""
        yield b": a comment\n\n"
        yield _event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        for piece in pieces(said.thinking):
            yield _event({"choices": [{"delta": {self.thought: piece}}]})
        for number, piece in enumerate(pieces(said.text)):
            shown = self._log_probs(body, said) if number == 0 else None
            yield _event({"choices": [{"delta": {"content": piece}, "logprobs": shown}]})
        if said.refusal:
            yield _event({"choices": [{"delta": {"refusal": said.refusal}}]})
        yield _event({"choices": [{"delta": {}, "finish_reason": said.finish}]})
        if (body.get("stream_options") or {}).get("include_usage") and said.tokens is not None:
            yield _event({"choices": [], "usage": self._usage(said)})
        yield _event("[DONE]")

    def whole(self, body: Json, said: Said) -> Json:
        """Return an answer in one piece."""
        message = {"role": "assistant", "content": said.text, "refusal": said.refusal or None}
        message |= {self.thought: said.thinking} if said.thinking else {}
        choice = {"message": message, "finish_reason": said.finish}
        choice["logprobs"] = self._log_probs(body, said)
        return {"choices": [choice], "usage": self._usage(said)}


class Plain(OpenAi):
    """OpenAI's older completions of a prompt without a chat."""

    def _log_probs(self, body: Json, said: Said) -> Json | None:
        if not body.get("logprobs") or not said.top:
            return None
        top = {raw.decode("utf-8", "replace"): number for raw, number in said.top}
        return {"tokens": [next(iter(top))], "top_logprobs": [top]}

    def events(self, body: Json, said: Said) -> Iterator[bytes]:
        """Yield an answer piece by piece."""
        for number, piece in enumerate(pieces(said.text)):
            shown = self._log_probs(body, said) if number == 0 else None
            yield _event({"choices": [{"text": piece, "logprobs": shown}]})
        yield _event({"choices": [{"text": "", "finish_reason": said.finish}]})
        yield _event({"choices": [], "usage": self._usage(said)})
        yield _event("[DONE]")


class Anthropic:
    """Anthropic's Messages API."""

    def has_key(self, headers: dict[str, str], key: str) -> bool:
        """Whether a request holds the key."""
        return headers.get("x-api-key") == key and "anthropic-version" in headers

    def error(self, status: int, words: str, code: str | None, *, param: str | None = None) -> Json:
        """Return a refusal."""
        return {"type": "error", "error": {"type": code or "api_error", "message": words}}

    def error_event(self, status: int, words: str, code: str | None) -> bytes:
        """Return a refusal among the pieces."""
        return _event(self.error(status, words, code), "error")

    def refused(self, said: Said, kind: str) -> Said:
        """Return an answer that was refused."""
        return replace(said, finish="refusal")

    def _reason(self, said: Said) -> str:
        return {"stop": "end_turn", "length": "max_tokens"}.get(said.finish, said.finish)

    def _block(self, body: Json, said: Said) -> Json:
        if body.get("tool_choice"):
            return {
                "type": "tool_use",
                "id": "t1",
                "name": "answer",
                "input": json.loads(said.text),
            }
        return {"type": "text", "text": said.text}

    def events(self, body: Json, said: Said) -> Iterator[bytes]:
        """Yield an answer piece by piece."""
        usage = {"input_tokens": said.prompt_tokens, "output_tokens": 1}
        message = {"type": "message", "role": "assistant", "content": [], "usage": usage}
        yield _event({"type": "message_start", "message": message}, "message_start")
        yield _event({"type": "ping"}, "ping")
        tool = bool(body.get("tool_choice"))
        parts = [("thinking", "thinking_delta", said.thinking)] if said.thinking else []
        kind = ("tool_use", "input_json_delta") if tool else ("text", "text_delta")
        for index, (block, delta, text) in enumerate([*parts, (*kind, said.text)]):
            begun: Json = {"type": block, "text": ""} if not tool else {"type": block, "input": {}}
            start = {"type": "content_block_start", "index": index, "content_block": begun}
            yield _event(start, "content_block_start")
            name = {"input_json_delta": "partial_json", "thinking_delta": "thinking"}
            for piece in pieces(text):
                change = {"type": delta, name.get(delta, "text"): piece}
                value = {"type": "content_block_delta", "index": index, "delta": change}
                yield _event(value, "content_block_delta")
            yield _event({"type": "content_block_stop", "index": index}, "content_block_stop")
        called = tool and said.finish == "stop"
        end = {"stop_reason": "tool_use" if called else self._reason(said)}
        last = {"type": "message_delta", "delta": end, "usage": {"output_tokens": said.tokens}}
        yield _event(last, "message_delta")
        yield _event({"type": "message_stop"}, "message_stop")

    def whole(self, body: Json, said: Said) -> Json:
        """Return an answer in one piece."""
        usage = {"input_tokens": said.prompt_tokens, "output_tokens": said.tokens}
        return {
            "type": "message", "role": "assistant", "content": [self._block(body, said)],
            "stop_reason": self._reason(said), "usage": usage,
        }  # fmt: skip


DIALECTS: dict[str, Any] = {
    "/v1/chat/completions": OpenAi(),
    "/v1/completions": Plain(),
    "/v1/messages": Anthropic(),
}
