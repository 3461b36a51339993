"""The transport under Apify's client. Needs apify-client; import it by ``open_client`` only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import impit
from apify_client.http_clients import HttpClient, HttpResponse

from loragraft.adapter.fetch.retry import PASSING, Retry
from loragraft.artifact.retry_after import asked_wait
from loragraft.artifact.secret import Secret
from loragraft.dataset.collect.transport import AGAIN, LONGEST_WAIT
from loragraft.errors import UnavailableError

_DAY = 86_400.0
"""Seconds that stand for no limit: None would mean impit's own 30."""


class Transport(HttpClient):
    """Sends a request until it is answered, where doing so twice does no harm."""

    def __init__(self, secret: Secret, retry: Retry, note: Callable[[str], None]) -> None:
        """Prepare; nothing is sent yet."""
        super().__init__(token=secret.reveal(), max_retries=0, user_agent_suffix="loragraft")
        self._impit = impit.Client(follow_redirects=False)
        self._secret, self._retry, self._note = secret, retry, note

    def send_request(
        self,
        *,
        method: str,
        url: str,
        headers: dict[str, str],
        content: bytes | Iterator[bytes] | None,
        timeout: float | None,
        stream: bool,
    ) -> HttpResponse:
        """Send one request, again where it failed for a moment only.

        Starting a run is repeated only after 429, which says that nothing was started.

        Raises:
            UnavailableError: If the server asks to wait for too long.
            impit.HTTPError: If it cannot be reached.
        """
        once = method == "POST" and urlsplit(url).path.endswith("/runs")
        failures = 0
        while True:
            failures += 1
            last = failures >= self._retry.attempts
            try:
                response = self._impit.request(
                    method=method, url=url, headers=headers, content=content,
                    timeout=_DAY if timeout is None else timeout, stream=stream,
                )  # fmt: skip
            except impit.HTTPError as error:
                if last or once or isinstance(error, impit.LocalProtocolError):
                    raise
                self._wait(failures, None, f"cannot be reached ({type(error).__name__})")
                continue
            status = response.status_code
            if last or status not in PASSING or (once and status != 429):
                return response
            self._wait(failures, asked_wait(response.headers), f"answers {status}")

    def _wait(self, failures: int, asked: float | None, what: str) -> None:
        if asked is None:
            self._note(f"Apify {what}. Trying again.")
            self._retry.wait(failures, None)
            return
        if asked > LONGEST_WAIT:
            raise UnavailableError(f"Apify {what} and asks to come back in {asked:.0f} s. {AGAIN}")
        self._note(f"Apify {what} and asks to wait {asked:.0f} s.")
        self._retry.sleep(asked)
