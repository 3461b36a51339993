"""What is asked of an endpoint, and what is left out once it has refused it by name.

Everything that decides an answer is said, since endpoints have defaults of their own: vLLM takes
those of the model's ``generation_config.json`` (a repetition penalty of 1.05 or 1.1 for Qwen2.5,
top-k 20), llama-server top-k 40 and min-p 0.05. OpenAI itself refuses what it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from loragraft.engine.batch.heard import seed_of
from loragraft.engine.batch.plain import plain_text
from loragraft.engine.batch.refusals import Said
from loragraft.engine.protocol import Message, Sampling
from loragraft.errors import InputError

STRICT = ("api.openai.com", "openai.azure.com")
"""Endpoints that know OpenAI's own parameters only, with ``max_completion_tokens``."""
MOST_STOPS = 4
"""Of OpenAI; further ones are cut here."""
REFUSALS = (400, 422)
"""Statuses of requests with a part that is not known."""

NOTES = {
    "temperature": "takes no temperature, so its answers differ from time to time",
    "top_p": "takes no top_p",
    "seed": "takes no seed, so its answers may differ from time to time",
    "response_format": "cannot be held to a JSON schema",
    "chat_template_kwargs": "does not switch thinking",
}
"""What a user should know of wishes that were left out; the others change nothing."""
ASKED = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "repeat_penalty": 1.0}
"""Wishes that cannot be left out where they differ from these: the answers would be others."""
LIMITS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""The two spellings of one wish: where one is refused, the other is tried."""
SOFT = (*ASKED, *NOTES, "stop", "stream_options", *LIMITS)

CHAT_ONLY = ("max_completion_tokens", "response_format", "chat_template_kwargs")
"""What completions of a plain prompt do not know."""


class Wishes:
    """Makes requests, and remembers which parts the endpoint does not take."""

    def __init__(self, url: str, model: str) -> None:
        """Begin with all that the endpoint is likely to take."""
        self._url, self._model = url, model
        host = urlsplit(url).hostname or ""
        self._strict = any(host == name or host.endswith(f".{name}") for name in STRICT)
        self._out: set[str] = {*ASKED} if self._strict else set()
        self._refused: set[str] = set()
        self._out.add("max_tokens" if self._strict else "max_completion_tokens")

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know."""
        return tuple(
            f"{self._url} {text} ({self._model})." for name, text in NOTES.items()
            if name in self._out
        )  # fmt: skip

    def body(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        think: bool | None,
        schema: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """Return a request.

        Raises:
            InputError: If a wish that changes answers is one that the endpoint does not know.
        """
        wishes: dict[str, Any] = {
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "repetition_penalty": sampling.repeat_penalty,
            "repeat_penalty": sampling.repeat_penalty,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": seed_of(sampling),
            "stop": list(sampling.stop[:MOST_STOPS]) or None,
            "max_tokens": sampling.max_tokens,
            "max_completion_tokens": sampling.max_tokens,
            "stream_options": {"include_usage": True},
            "response_format": None if schema is None else _format(schema),
            "chat_template_kwargs": None if think is None else _switch(think),
        }
        self._check(wishes)
        plain = plain_text(messages)
        if plain is not None:
            wishes |= dict.fromkeys(CHAT_ONLY)
        kept = {k: v for k, v in wishes.items() if v is not None and k not in self._out}
        if plain is not None:
            return {"model": self._model, "prompt": plain, "stream": True, **kept,
                    "max_tokens": sampling.max_tokens}  # fmt: skip
        listed = [dict(message) for message in messages]
        return {"model": self._model, "messages": listed, "stream": True, **kept}

    def _check(self, wishes: Mapping[str, Any]) -> None:
        penalties = ("repetition_penalty", "repeat_penalty")
        for name, neutral in ASKED.items():
            known = name not in self._out or (
                name in penalties and not {*penalties} <= self._out
            )  # one of the two spellings is enough
            if not known and wishes[name] != neutral:
                raise InputError(
                    f"{self._url} does not take {name}, and {wishes[name]} is asked for. Set it to "
                    f"{neutral}, or ask another endpoint."
                )

    def leave_out(self, body: Mapping[str, Any], status: int, said: Said) -> bool:
        """Take note of a refusal; return whether another request may be taken."""
        if status not in REFUSALS:
            return False
        named = [name for name in SOFT if name in body and self._names(name, said)]
        if "max_completion_tokens" in said.codes and "max_tokens" in body:
            named = ["max_tokens"]  # its words name both: what it wants, and what it refuses
        for name in named[:1]:
            self._out.add(name)
            self._refused.add(name)
            if (other := LIMITS.get(name)) and other not in self._refused:
                self._out.discard(other)
        return bool(named)

    def _names(self, name: str, said: Said) -> bool:
        """Whether a refusal is about a parameter."""
        if said.param:
            return said.param.split(".")[0] == name
        return re.search(rf"\b{name}\b", said.codes) is not None


def _format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema as structured outputs want it; strict where it can be."""
    names = set(schema.get("properties") or ())
    strict = (
        schema.get("additionalProperties") is False and set(schema.get("required") or ()) == names
    )
    inner = {"name": "answer", "schema": dict(schema), "strict": strict}
    return {"type": "json_schema", "json_schema": inner}


def _switch(think: bool) -> dict[str, bool]:
    from loragraft.engine.conversation import THINKING_SWITCHES

    return dict.fromkeys(THINKING_SWITCHES, think)
