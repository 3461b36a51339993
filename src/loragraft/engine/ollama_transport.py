"""Requests to an Ollama server: bounded in time and size, tried again where that does no harm."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from loragraft.engine.ollama_errors import (
    error_words,
    explain_answer,
    explain_transport,
    not_understood,
    redirected,
    silent,
    too_long,
)
from loragraft.engine.ollama_host import is_loopback
from loragraft.errors import LoragraftError

if TYPE_CHECKING:
    import httpx
    from ollama import Client

Result = TypeVar("Result")

CONNECT_SECONDS = 5.0
"""A server that is there accepts at once, also over a slow line."""
REQUEST_SECONDS = 30.0
"""For what a server only looks up."""
LOAD_SECONDS = 330.0
"""Until the first piece of an answer: Ollama itself gives up loading after 300 s
(OLLAMA_LOAD_TIMEOUT), and its words are better than ours."""
PIECE_SECONDS = 120.0
"""Between two pieces: a token takes seconds on the slowest machine that is worth using."""
WRITE_SECONDS = 60.0
"""For a MiB of an upload to leave."""

CONNECTIONS = 256
"""At the same time: as many as an experiment may ask questions at once."""

MAX_LINE = 32 << 20
"""Bytes of one piece; the largest honest one is a rendered conversation."""
MAX_ANSWER = 128 << 20
"""Bytes of a whole answer; ``/api/show`` of a model with a long license is some MiB."""

ATTEMPTS = 3
FIRST_WAIT, LONGEST_WAIT = 0.2, 2.0
"""Seconds between attempts: a restarting server is back within two, and one that is not started
shall be said at once."""
PASSING = frozenset({502, 503, 504})
"""Answers that another time may be different."""


class MissingError(Exception):
    """The server has no model of that name."""


class _PassingError(Exception):
    """A failure that may be gone in a moment; carries what to raise if it is not."""

    def __init__(self, error: LoragraftError) -> None:
        super().__init__(str(error))
        self.error = error


def repeat(action: Callable[[], Result]) -> Result:
    """Run a harmless action, up to :data:`ATTEMPTS` times while it fails for the moment.

    Raises:
        LoragraftError: The last failure's.
    """
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random
    from tenacity import wait_exponential as wait

    again = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait(multiplier=FIRST_WAIT, max=LONGEST_WAIT) + wait_random(0, FIRST_WAIT),
        retry=retry_if_exception_type(_PassingError),
        reraise=True,
    )
    try:
        return again(action)
    except _PassingError as passing:
        raise passing.error from None


class Transport:
    """One connection pool to one server.

    Attributes:
        url: The server's address.
        client: The official client; its own requests go through the same pool.
    """

    def __init__(self, url: str) -> None:
        """Name the server; nothing is sent yet."""
        from httpx import Limits, Timeout
        from ollama import Client

        self.url = url
        timeout = Timeout(LOAD_SECONDS, connect=CONNECT_SECONDS, write=WRITE_SECONDS)
        # A proxy of the environment cannot reach this machine's own loopback address.
        self.client: Client = Client(
            host=url,
            timeout=timeout,
            limits=Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            follow_redirects=False,
            trust_env=not is_loopback(url),
        )
        self._http: httpx.Client = self.client._client

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @contextmanager
    def explained(self, doing: str, *, passing: bool = False) -> Iterator[None]:
        """Turn what breaks on the way into our errors.

        Args:
            doing: What is asked for, in words.
            passing: Whether the action may be tried again by :func:`repeat`.
        """
        import httpx

        try:
            yield
        except (httpx.TransportError, httpx.InvalidURL, ConnectionError, UnicodeError) as error:
            ours = explain_transport(self.url, doing, error)
            again = isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError)
            if passing and again:
                raise _PassingError(ours) from None
            raise ours from None
        except httpx.DecodingError as error:
            raise not_understood(self.url, doing, str(error)) from None

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        seconds: float = REQUEST_SECONDS,
        passing: bool = False,
        missing: bool = False,
        **extra: Any,  # noqa: ANN401 - httpx's own: json, content, headers
    ) -> Iterator[httpx.Response]:
        """Send a request and give its answer, unread; a refusal is raised as our error.

        Args:
            method: Of HTTP.
            path: Below the server's address.
            doing: What is asked for, in words.
            seconds: Silence that is waited for.
            passing: Whether :func:`repeat` may send it again.
            missing: Whether a model that is not there raises MissingError instead of ours.
            **extra: Given to httpx.
        """
        import httpx

        timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS, write=WRITE_SECONDS)
        with (
            self.explained(doing, passing=passing),
            self._http.stream(method, path, timeout=timeout, **extra) as response,
        ):
            if response.is_redirect:
                raise redirected(self.url, response.headers.get("location", ""))
            if not response.is_success:
                body = self._text(response, doing, time.monotonic() + REQUEST_SECONDS)
                error = explain_answer(self.url, doing, response.status_code, body)
                said = (error_words(body) or "").lower()
                if missing and response.status_code == 404 and "not found" in said:
                    raise MissingError
                if passing and response.status_code in PASSING:
                    raise _PassingError(error)
                raise error
            yield response

    def status(self, method: str, path: str, doing: str) -> int:
        """Return the status of a request without a body, tried again where it fails on the way."""
        import httpx

        def send() -> int:
            timeout = httpx.Timeout(REQUEST_SECONDS, connect=CONNECT_SECONDS)
            with self.explained(doing, passing=True):
                response = self._http.request(method, path, timeout=timeout)
            if response.is_redirect:
                raise redirected(self.url, response.headers.get("location", ""))
            return response.status_code

        return repeat(send)

    def ask(
        self,
        method: str,
        path: str,
        doing: str,
        body: Mapping[str, Any] | None = None,
        *,
        seconds: float = REQUEST_SECONDS,
        missing: bool = False,
    ) -> dict[str, Any]:
        """Send a request that changes nothing, and return its answer.

        Raises:
            LoragraftError: In words, whatever went wrong.
            MissingError: If ``missing`` is set and there is no such model.
        """
        extra: dict[str, Any] = {"seconds": seconds, "passing": True, "missing": missing}
        if body is not None:
            extra["json"] = body

        def send() -> dict[str, Any]:
            with self.open(method, path, doing, **extra) as response:
                text = self._text(response, doing, time.monotonic() + seconds)
                return self._object(text, doing, response.status_code)

        return repeat(send)

    def stream(
        self,
        path: str,
        doing: str,
        body: Mapping[str, Any],
        *,
        seconds: float,
        silence: float | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Send a request and give each piece of its answer as it comes.

        Args:
            path: Below the server's address.
            doing: What is asked for, in words.
            body: The request.
            seconds: For the whole answer.
            silence: Until its first piece, and at most between two; None for as long as a model
                may load.

        Raises:
            LoragraftError: In words, whatever went wrong, also after the first pieces.
        """
        end = time.monotonic() + seconds
        first = min(silence or LOAD_SECONDS, seconds)
        with self.open("POST", path, doing, seconds=first, json=body) as response:
            limits = response.request.extensions["timeout"]
            limits["read"] = min(PIECE_SECONDS, first)  # of every read from now on
            for line in self._lines(response, doing):
                if time.monotonic() > end:
                    raise too_long(self.url, doing, seconds)
                piece = self._object(line, doing, None)
                if "error" in piece:
                    raise explain_answer(self.url, doing, None, line)
                yield piece

    def _lines(self, response: httpx.Response, doing: str) -> Iterator[str]:
        pending: list[bytes] = []
        size = 0
        for block in response.iter_bytes():
            *whole, rest = block.split(b"\n")
            for part in whole:
                line = b"".join([*pending, part])
                pending, size = [], 0
                if line.strip():
                    yield line.decode("utf-8", "replace")
            pending.append(rest)
            size += len(rest)
            if size > MAX_LINE:
                raise not_understood(self.url, doing, f"a piece of more than {MAX_LINE} bytes")
        if last := b"".join(pending).strip():
            yield last.decode("utf-8", "replace")

    def _text(self, response: httpx.Response, doing: str, end: float) -> str:
        blocks: list[bytes] = []
        size = 0
        for block in response.iter_bytes():
            blocks.append(block)
            size += len(block)
            if size > MAX_ANSWER:
                raise not_understood(self.url, doing, f"more than {MAX_ANSWER} bytes")
            if time.monotonic() > end:
                raise silent(self.url, doing)
        return b"".join(blocks).decode("utf-8", "replace")

    def _object(self, text: str, doing: str, status: int | None) -> dict[str, Any]:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise explain_answer(self.url, doing, status, text) from None
        if not isinstance(value, dict):
            raise not_understood(self.url, doing, f"{text[:80]!r}")
        return value
