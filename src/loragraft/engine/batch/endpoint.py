"""Requests to an endpoint whose answers come as server-sent events, bounded in time and size."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from loragraft.artifact.secret import Secret
from loragraft.engine.batch.failing import FailedError
from loragraft.engine.batch.keys import is_this_machine
from loragraft.engine.batch.refusals import Place, broken, read_refusal, refuse, short
from loragraft.errors import InputError, UnavailableError

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 10.0
WRITE_SECONDS = 60.0
LONGEST = 10
"""Times the silence that is waited for, which one whole answer may take: a server that sends a
sign of life for ever sends no answer."""
MAX_LINE, MAX_ANSWER = 8 << 20, 64 << 20
"""Bytes of one event and of an answer: the longest honest one has some hundred KiB."""
MAX_REFUSAL = 1 << 20
DONE = "[DONE]"


class RefusedError(Exception):
    """The endpoint refuses a request with a status; its words may say which part of it."""

    def __init__(self, status: int, headers: Mapping[str, str], body: str) -> None:
        """Keep what it said."""
        super().__init__(status)
        self.status, self.headers, self.body = status, headers, body


class Endpoint:
    """One connection pool to one endpoint.

    Attributes:
        place: Who is asked.
    """

    def __init__(
        self,
        place: Place,
        headers: Mapping[str, str],
        key: Secret | None,
        *,
        silence: float,
        connections: int,
    ) -> None:
        """Name the endpoint; nothing is sent yet.

        Args:
            place: Who is asked.
            headers: Of every request.
            key: What must never be repeated from an answer.
            silence: Seconds without a sign of life.
            connections: At the same time.
        """
        import httpx

        self.place = place
        self._key, self._silence = key, silence
        self._client = httpx.Client(
            headers={"User-Agent": "loragraft", **headers},
            timeout=httpx.Timeout(
                silence, connect=min(CONNECT_SECONDS, silence), write=WRITE_SECONDS
            ),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            follow_redirects=False,
            trust_env=not is_this_machine(place.url),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def events(
        self, path: str, body: Mapping[str, Any], stop: threading.Event
    ) -> Iterator[dict[str, Any] | None]:
        """Send a request and give each event of its answer; None for the one that ends it.

        An endpoint that answers in one piece gives one event.

        Raises:
            RefusedError: If it refuses the request.
            FailedError: If the answer does not come, breaks or is none; or all is stopped.
            LoragraftError: If no answer can come at all.
        """
        end = time.monotonic() + LONGEST * self._silence
        url = f"{self.place.url}{path}"
        with self._explained(), self._client.stream("POST", url, json=dict(body)) as response:
            if not response.is_success:
                raise RefusedError(
                    response.status_code, response.headers, self._words(response, end)
                )
            kind = response.headers.get("content-type", "").lower()
            if "event-stream" not in kind:
                yield self._object(b"".join(self._blocks(response, end, stop)))
                return
            for data in _data(self._blocks(response, end, stop), self.place):
                yield None if data.strip() == DONE else self._object(data.encode())

    def refuse(self, error: RefusedError) -> None:
        """Raise what a refusal means.

        Raises:
            FailedError: For one job.
            LoragraftError: For all of them.
        """
        refuse(self.place, error.status, error.headers, read_refusal(self.hide(error.body)))

    def hide(self, text: str) -> str:
        """Return a text without the key."""
        return self._key.hide(text) if self._key else text

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what breaks on the way into failures of the request."""
        import httpx

        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self._unreachable(error) from None
        except httpx.TimeoutException:
            raise broken(
                self.place, f"said nothing for {self._silence:g} seconds", status="timeout"
            ) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise InputError(f"{self.place.url} is no address: {error}.") from None
        except httpx.DecodingError as error:
            raise broken(self.place, f"sends what cannot be read ({short(str(error))})") from None
        except (httpx.TransportError, httpx.StreamError, RuntimeError, OSError) as error:
            words = short(self.hide(str(error))) or type(error).__name__
            raise broken(self.place, f"broke off in the middle ({words})") from None

    def _unreachable(self, error: Exception) -> FailedError:
        words = short(str(error)) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in words:
            raise UnavailableError(
                f"The certificate of {self.place.url} is not to be trusted: {words}. Nothing was "
                "sent."
            ) from None
        text = (
            f"{self.place.url} cannot be reached ({words}). Start the server, or check the "
            "address and the connection."
        )
        return FailedError("error", text, passing=True, ends=UnavailableError(text))

    def _blocks(
        self, response: httpx.Response, end: float, stop: threading.Event
    ) -> Iterator[bytes]:
        size = 0
        for block in response.iter_bytes():
            size += len(block)
            if stop.is_set():
                raise FailedError("error", "It was stopped.")
            if size > MAX_ANSWER:
                raise broken(self.place, f"sends more than {MAX_ANSWER >> 20} MiB")
            if time.monotonic() > end:
                raise broken(
                    self.place,
                    f"did not end its answer within {LONGEST * self._silence:g} seconds",
                    status="timeout",
                )
            yield block

    def _words(self, response: httpx.Response, end: float) -> str:
        read = b""
        for block in response.iter_bytes():
            read += block
            if len(read) > MAX_REFUSAL or time.monotonic() > end:
                break
        return read[:MAX_REFUSAL].decode("utf-8", "replace")

    def _object(self, data: bytes) -> dict[str, Any]:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            words = short(self.hide(data[:200].decode("utf-8", "replace")))
            raise broken(self.place, f"answers something else than JSON ({words!r})")
        return value


def _data(blocks: Iterator[bytes], place: Place) -> Iterator[str]:
    """Yield the data of each event; comments, names and other fields are left out."""
    held: list[str] = []
    for line in _lines(blocks, place):
        name, _, value = line.partition(":")
        if not line and held:
            yield "\n".join(held)
            held = []
        elif name == "data":
            held.append(value.removeprefix(" "))
    if held:
        yield "\n".join(held)


def _lines(blocks: Iterator[bytes], place: Place) -> Iterator[str]:
    """Yield lines, whichever way they end."""
    pending: list[bytes] = []
    size = 0
    for block in blocks:
        *whole, rest = block.split(b"\n")
        for part in whole:
            yield _line([*pending, part])
            pending, size = [], 0
        pending.append(rest)
        size += len(rest)
        if size > MAX_LINE:
            raise broken(place, f"sends an event of more than {MAX_LINE >> 20} MiB")
    if any(pending):
        yield _line(pending)


def _line(parts: list[bytes]) -> str:
    return b"".join(parts).rstrip(b"\r").decode("utf-8", "replace")
