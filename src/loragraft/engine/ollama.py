"""An Ollama server as an engine: answers conversations, always with its parameters said."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from loragraft.engine.ollama_server import OllamaServer
from loragraft.engine.ollama_shown import Shown, parse_shown
from loragraft.engine.protocol import Finish, Message, OnText, Reply, Sampling
from loragraft.errors import InputError, UnavailableError

DEFAULT_CONTEXT = 4096
"""Tokens for a model that names none: Ollama's own default on small machines. It is always sent,
since newer servers choose it by the graphics memory."""
BYTES_PER_TOKEN = 16
"""No honest text has more on average: English has about 4, indented code 8. A server that counts
fewer tokens than that has cut the conversation."""

MOST_CONTEXT = 2**31 - 1
"""Tokens that llama.cpp can count; a server stores any number, also one that is none."""

TURN_TOKENS = 32
"""More than any template writes around a message."""


@dataclass
class _Heard:
    """What has come of an answer so far."""

    start: float
    text: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    first: float | None = None
    last: float = 0.0
    pieces: int = 0
    end: dict[str, Any] = field(default_factory=dict)

    def take(self, piece: dict[str, Any]) -> tuple[str, str]:
        """Note a piece; return its thinking and its text."""
        message = piece.get("message")
        message = message if isinstance(message, dict) else {}
        thought, said = str(message.get("thinking") or ""), str(message.get("content") or "")
        if thought or said:
            self.last = time.perf_counter()
            self.first = self.first or self.last
            self.pieces += 1
            self.thinking.append(thought)
            self.text.append(said)
        if piece.get("done"):
            self.end = piece
        return thought, said

    def count(self, key: str, otherwise: int) -> int:
        """Return a count of the last piece."""
        found = self.end.get(key)
        return found if type(found) is int and found >= 0 else otherwise

    def reply(self, finish: Finish) -> Reply:
        """Return what was heard as an answer."""
        first = self.first or time.perf_counter()
        return Reply(
            text="".join(self.text),
            thinking="".join(self.thinking),
            finish=finish,
            prompt_tokens=self.count("prompt_eval_count", 0),
            tokens=self.count("eval_count", self.pieces),
            prompt_seconds=first - self.start,
            seconds=max(0.0, self.last - first),
        )


class OllamaEngine:
    """A model of an Ollama server; implements :class:`~loragraft.engine.protocol.ChatEngine`."""

    def __init__(
        self, tag: str, server: OllamaServer | None = None, *, context: int | None = None
    ) -> None:
        """Look the model up.

        Args:
            tag: Its name on the server.
            server: Where it is; None makes one by ``OLLAMA_HOST`` and closes it in the end.
            context: Tokens; None takes the model's own ``num_ctx``.

        Raises:
            InputError: If there is no such model.
            UnavailableError: If no server answers.
        """
        self._own = server is None
        self._server = server or OllamaServer()
        self._tag = tag
        try:
            shown = parse_shown(str(self._server.show(tag).get("parameters") or ""))
        except BaseException:
            self.close()
            raise
        self._stops = [str(value) for name, value in shown.elements() if name == "stop"]
        self._context = context or _context(shown)

    @property
    def name(self) -> str:
        """The model's name on the server."""
        return self._tag

    @property
    def context(self) -> int:
        """Tokens that a conversation and its answer may have together."""
        return self._context

    def close(self) -> None:
        """Close the connections, unless the server was given."""
        if self._own:
            self._server.close()

    def options(self, sampling: Sampling) -> dict[str, Any]:
        """Return a sampling as the server's options: everything is said, nothing left to it.

        Stop texts replace the model's own there, so those are named again.
        """
        return {
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "repeat_penalty": sampling.repeat_penalty,
            "seed": -1 if sampling.seed is None else sampling.seed,
            "num_predict": sampling.max_tokens,
            "num_ctx": self._context,
            "stop": list(dict.fromkeys([*self._stops, *sampling.stop])),
        }

    def chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        think: bool | None = None,
        on_text: OnText | None = None,
    ) -> Reply:
        """Answer a conversation, as :meth:`loragraft.engine.protocol.ChatEngine.chat` says.

        Raises:
            InputError: If the conversation is longer than the context: newer servers say so, and
                what older ones cut in silence is noticed by the number of tokens.
            UnavailableError: If the server goes away, hangs or ends in the middle.
        """
        self.refuse_to_be_cut(messages, think)
        heard = _Heard(time.perf_counter())
        pieces = self._server.chat(self._tag, messages, self.options(sampling), think=think)
        try:
            for piece in pieces:
                thought, said = heard.take(piece)
                if on_text is not None:
                    for text, thinking in ((thought, True), (said, False)):
                        if text:
                            on_text(text, thinking)
        except KeyboardInterrupt:
            return heard.reply("cancelled")
        finally:
            pieces.close()  # type: ignore[attr-defined]  # a generator: the connection ends here
        if not heard.end:
            raise UnavailableError(
                f"Ollama at {self._server.url} ended the answer of {self._tag} in the middle. Its "
                "log says why (ollama serve prints it; journalctl -u ollama)."
            )
        self._refuse_cut(messages, heard.count("prompt_eval_count", 0))
        return heard.reply(_finish(heard, sampling.max_tokens))

    def refuse_to_be_cut(self, messages: Sequence[Message], think: bool | None) -> None:
        """Ask the server beforehand whether a long conversation is read from its beginning."""
        if _size(messages) + TURN_TOKENS * len(messages) < self._context:
            return  # a token has a byte or more: it fits
        asked = [m["content"].strip() for m in messages if m["role"] == "user"]
        context = {"num_ctx": self._context}
        text = self._server.render(self._tag, messages, think=think, options=context)
        if text is not None and any(text.count(q) < asked.count(q) for q in set(asked)):
            raise self._cut("would drop the beginning of the conversation")

    def _refuse_cut(self, messages: Sequence[Message], tokens: int) -> None:
        """Notice by the number of tokens that a conversation was not read whole."""
        if tokens and tokens * BYTES_PER_TOKEN < _size(messages):
            raise self._cut(f"read only {tokens} tokens of {_size(messages)} bytes")

    def _cut(self, what: str) -> InputError:
        return InputError(
            f"Ollama {what}: it cuts what does not fit its context of {self._context} tokens, in "
            "silence. Shorten the conversation (/reset), or raise num_ctx."
        )


def _size(messages: Sequence[Message]) -> int:
    return sum(len(message["content"].encode("utf-8", "replace")) for message in messages)


def _context(shown: Shown) -> int:
    """Return a model's own context; what is no number of tokens is as good as none."""
    found = [value for name, value in shown.elements() if name == "num_ctx"]
    usable = found and isinstance(found[0], float) and 1 <= found[0] <= MOST_CONTEXT
    return int(found[0]) if usable else DEFAULT_CONTEXT


def _finish(heard: _Heard, max_tokens: int) -> Finish:
    if heard.end.get("done_reason") != "length":
        return "stop"
    return "length" if heard.count("eval_count", max_tokens) >= max_tokens else "context"
