"""What a client may ask: read and checked before llama-cpp-python sees it.

Its server answers a client's mistakes with 500, which clients repeat, and some end the process: a
grammar that cannot be parsed, a token that does not exist. What passes here it can answer.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loragraft.errors import TemplateError
from loragraft.serving.refusal import RefusedRequest
from loragraft.serving.schemas import check_schemas

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
ASKED = ("messages", "prompt")
"""What a request is about; null is not left out there, it is refused."""
ROLES = ("system", "user", "assistant", "tool", "function")
RESERVE = 4
"""Tokens kept free: an answer runs on to the end of a character of at most 4 bytes."""
COMPLETION_TOKENS = 16
"""What OpenAI's completions endpoint gives where a request does not say."""
COLDEST = 1e-3
"""Temperature below which the likeliest token is taken: dividing by less gives infinities."""
LIMITS: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 100), "repeat_penalty": (0.1, 10), "top_k": (0, 2**31 - 1),
    "max_tokens": (1, 2**31 - 1), "seed": (-(2**63), 2**63 - 1),
}  # fmt: skip
"""What llama.cpp computes with; beyond them logits are no numbers, or numbers turn negative."""
MAX_BIAS = 100.0
"""As OpenAI has it."""


@dataclass(frozen=True)
class Asked:
    """What requests are checked against.

    Attributes:
        render: Writes a conversation as the model reads it; TemplateError where it cannot.
        tokenize: Returns a text's ids.
        context: Tokens of a conversation and its answer together.
        vocabulary: Number of tokens.
        parses: Whether llama.cpp can read a grammar.
    """

    render: Callable[..., str]
    tokenize: Callable[[str], Sequence[int]]
    context: int
    vocabulary: int
    parses: Callable[[str], bool]


def check_request(path: str, data: bytes, asked: Asked) -> bytes:
    """Return a request's body as llama-cpp-python's server can answer it.

    Args:
        path: :data:`CHAT` or :data:`COMPLETION`.
        data: What the client sent.
        asked: The model.

    Raises:
        RefusedRequest: Naming the field that is wrong and what it may be.
    """
    body = _read(data)
    _refuse_unknown(body, path)
    _set_limits(body)
    if path == CHAT:
        body["messages"] = _messages(body.get("messages"))
    else:
        body["prompt"] = _prompt(body.get("prompt", ""))
    body = _known(body, path)
    _check_bias(body, asked.vocabulary)
    check_schemas(body, asked.parses)
    _fit(body, path, asked)
    if body.get("seed") is None:  # llama-cpp-python would take the same for every request
        body["seed"] = secrets.randbits(31)
    return json.dumps(body).encode()


def _read(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
        # NaN, infinities and half surrogate pairs are no JSON, though Python reads them.
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise RefusedRequest(f"The request is no JSON: {error}.") from None
    if not isinstance(body, dict):
        raise RefusedRequest(f"The request is a {_kind(body)}; it must be a JSON object.")
    # OpenAI's clients send null for what they do not say; llama.cpp would be given it as a number.
    return {key: value for key, value in body.items() if value is not None or key in ASKED}


def _kind(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    kinds = {dict: "object", list: "list", str: "text", type(None): "null", bool: "boolean"}
    return kinds.get(type(value), "number")


def _refuse_unknown(body: dict[str, Any], path: str) -> None:
    """Refuse what would be left out in silence, or end the server."""
    for name, why in (
        ("grammar", "Grammars are not taken; ask for JSON by response_format and its schema."),
        ("logprobs", "This server gives no log-probabilities."),
        ("top_logprobs", "This server gives no log-probabilities."),
        ("suffix", "This server does not fill in the middle of a text."),
    ):
        wanted = body.get(name)
        zero_counts = name == "logprobs" and path == COMPLETION and wanted is not None
        if wanted not in (None, False, "", 0) or (zero_counts and wanted is not False):
            raise RefusedRequest(why, name)
        body.pop(name, None)
    for name in ("n", "best_of"):
        if body.get(name) not in (None, 1):
            raise RefusedRequest(f"One answer is given to a request; {name} must be 1.", name)


def _set_limits(body: dict[str, Any]) -> None:
    """Check numbers that llama.cpp would misread; newer names become those it knows."""
    if "max_completion_tokens" in body:
        body["max_tokens"] = body.pop("max_completion_tokens")
    for name, (least, most) in LIMITS.items():
        value = body.get(name, least)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise RefusedRequest(f"{name} is a {_kind(value)}; it must be a number.", name)
        if not least <= value <= most:
            raise RefusedRequest(f"{name} is {value}; it must be from {least} to {most}.", name)
    if body.get("temperature", 1) < COLDEST:
        body["temperature"] = 0
    stops = body.get("stop")
    if isinstance(stops, str) or (isinstance(stops, list) and not all(stops)):
        body["stop"] = [stop for stop in ([stops] if isinstance(stops, str) else stops) if stop]


def _messages(messages: Any) -> list[Any]:  # noqa: ANN401 - as the client sent them
    """Return messages with texts as templates of text models expect them."""
    if not isinstance(messages, list) or not messages:
        raise RefusedRequest("messages must be a list of one or more messages.", "messages")
    return [_message(message, f"messages.{i}") for i, message in enumerate(messages)]


def _message(message: Any, where: str) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(message, dict):
        raise RefusedRequest(f"{where} is a {_kind(message)}; it must be an object.", where)
    role = message.get("role")
    if role == "developer":  # what OpenAI calls the system message of newer models
        role = "system"
    if role not in ROLES:
        raise RefusedRequest(
            f"{where}.role is {json.dumps(role)[:80]}; it must be one of {', '.join(ROLES)}.",
            f"{where}.role",
        )
    calls = role == "assistant" and (message.get("tool_calls") or message.get("function_call"))
    content = message.get("content")
    if content is None and calls:
        content = ""
    return {**message, "role": role, "content": _text(content, f"{where}.content")}


def _text(content: Any, where: str) -> str:  # noqa: ANN401
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RefusedRequest(f"{where} is a {_kind(content)}; it must be a text.", where)
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            raise RefusedRequest(
                f"{where} holds a part of type {json.dumps(kind)[:80]}; this model reads text "
                "only.",
                where,
            )
        if not isinstance(part.get("text"), str):
            raise RefusedRequest(f"{where} holds a part of type text without a text.", where)
    return "".join(part["text"] for part in content)


def _prompt(prompt: Any) -> str:  # noqa: ANN401
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise RefusedRequest("prompt must be one text.", "prompt")
    return prompt


def _known(body: dict[str, Any], path: str) -> dict[str, Any]:
    """Return what llama-cpp-python's own description of a request knows, checked by it."""
    from llama_cpp.server import types
    from pydantic import ValidationError

    kind = types.CreateChatCompletionRequest if path == CHAT else types.CreateCompletionRequest
    try:
        return kind.model_validate(body).model_dump(exclude_unset=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        # A message is tried as one of each role; that its role is another is not what is wrong.
        first = next((item for item in found if item["loc"][-1] != "role"), found[0])
        where = ".".join(str(part) for part in first["loc"])
        raise RefusedRequest(f"{where}: {first['msg']}.", where) from None


def _check_bias(body: dict[str, Any], vocabulary: int) -> None:
    for token, bias in (body.get("logit_bias") or {}).items():
        if not -MAX_BIAS <= bias <= MAX_BIAS:
            raise RefusedRequest(
                f"logit_bias of {token!r} is {bias}; it must be from -100 to 100.", "logit_bias"
            )
        known = token.isascii() and token.isdecimal() and len(token) < 10
        if body.get("logit_bias_type") != "tokens" and not (known and int(token) < vocabulary):
            raise RefusedRequest(
                f"logit_bias names token {token[:40]!r}; the model has tokens 0 to "
                f"{vocabulary - 1}.",
                "logit_bias",
            )


def _fit(body: dict[str, Any], path: str, asked: Asked) -> None:
    """Let the answer end where the context does; refuse what does not fit into it."""
    count = len(asked.tokenize(_written(body, path, asked)))
    room = asked.context - count - RESERVE
    if room < 1:
        raise RefusedRequest(
            f"This model's maximum context length is {asked.context} tokens, and the request has "
            f"{count}. Shorten it, or serve the model with a larger --context.",
            "messages" if path == CHAT else "prompt",
            "context_length_exceeded",
        )
    wanted = body.get("max_tokens") or (room if path == CHAT else COMPLETION_TOKENS)
    body["max_tokens"] = min(wanted, room)


def _written(body: dict[str, Any], path: str, asked: Asked) -> str:
    if path != CHAT:
        return str(body["prompt"])
    known = {name: body[name] for name in ("tools", "functions") if body.get(name)}
    try:
        text = asked.render(body["messages"], **known)
    except TemplateError as error:
        raise RefusedRequest(str(error), "messages") from None
    if not text:
        raise RefusedRequest("The chat template writes nothing for these messages.", "messages")
    return text
