"""What stands in front of llama-cpp-python's application: who may ask, what, and how long."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING, Any

from loragraft.errors import LoragraftError
from loragraft.serving.answers import ENDING, HUNG_UP
from loragraft.serving.refusal import (
    BAD_REQUEST,
    NOT_FOUND,
    TOO_LARGE,
    UNAUTHORIZED,
    UNAVAILABLE,
    RefusedRequest,
    error_body,
)
from loragraft.serving.requests import CHAT, COMPLETION

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MODELS = "/v1/models"
PATHS = (CHAT, COMPLETION, MODELS)
"""All that is let through: ``/extras/detokenize`` ends the process on a token that is none."""
MAX_BODY = 1 << 24
"""Bytes: 16 MiB, many times what fits into a context."""


class Gate:
    """ASGI middleware: checks the key and the request, and notes when the client hangs up."""

    def __init__(
        self, app: ASGIApp, key: str | None, check: Callable[[str, bytes], bytes], stop: Event
    ) -> None:
        """Stand in front of an application.

        Args:
            app: What comes next.
            key: What clients must send; None lets everybody ask.
            check: Returns a request's body as the application can answer it.
            stop: Set once the server ends.
        """
        self._app, self._key, self._check, self._stop = app, key, check, stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif not self._may_ask(scope):
            headers = {"WWW-Authenticate": "Bearer"}
            await _refuse(scope, receive, send, UNAUTHORIZED, "Invalid API key", headers=headers)
        elif scope["path"] not in PATHS:
            why = f"There is no {scope['path']} here, only {', '.join(PATHS)}."
            await _refuse(scope, receive, send, NOT_FOUND, why)
        elif scope["method"] == "POST" and scope["path"] != MODELS:
            await self._ask(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _may_ask(self, scope: Scope) -> bool:
        if self._key is None:
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        scheme, _, key = given.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(key.strip(), self._key.encode())

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.concurrency import run_in_threadpool

        if self._stop.is_set():
            return await _refuse(scope, receive, send, UNAVAILABLE, ENDING)
        data = await _read(receive)
        if data is None:
            return None  # the client has gone
        if len(data) > MAX_BODY:
            why = f"A request may have {MAX_BODY} bytes."
            return await _refuse(scope, receive, send, TOO_LARGE, why)
        try:
            data = await run_in_threadpool(self._check, scope["path"], data)
        except RefusedRequest as error:
            return await _refuse(
                scope, receive, send, BAD_REQUEST, str(error), error.param, error.code
            )
        except LoragraftError as error:
            return await _refuse(scope, receive, send, UNAVAILABLE, str(error))
        await self._pass_on(_with_body(scope, data), data, receive, send)

    async def _pass_on(self, scope: Scope, data: bytes, receive: Receive, send: Send) -> None:
        """Let the application answer, and note meanwhile when the client hangs up."""
        gone, left = Event(), asyncio.Event()
        HUNG_UP.set(gone)

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()
            left.set()

        waiting = [data]

        async def replay() -> Message:
            if waiting:
                return {"type": "http.request", "body": waiting.pop(), "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        watching = asyncio.create_task(watch())
        try:
            await self._app(scope, replay, send)
        finally:
            watching.cancel()


async def _read(receive: Receive) -> bytes | None:
    """Return a body, at most one byte more than may be; None if the client has gone."""
    data: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        data += message.get("body", b"")
        if not message.get("more_body") or len(data) > MAX_BODY:
            return data[: MAX_BODY + 1]


def _with_body(scope: Scope, data: bytes) -> Scope:
    """Return a request's scope with headers that fit another body."""
    other = [
        header for header in scope["headers"]
        if header[0] not in (b"content-length", b"content-type", b"transfer-encoding")
    ]  # fmt: skip
    own = [(b"content-length", str(len(data)).encode()), (b"content-type", b"application/json")]
    return {**scope, "headers": [*other, *own]}


async def _refuse(
    scope: Scope, receive: Receive, send: Send, status: int, message: str, *where: str | None,
    headers: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    from starlette.responses import JSONResponse

    answer = JSONResponse(error_body(status, message, *where), status, headers)
    await answer(scope, receive, send)
