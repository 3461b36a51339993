"""Apify's client, with requests that wait as long as the server asks and never wander off.

The client's own transport follows redirects with the key in hand and repeats a request that may
have started a run. This one does neither, and honours ``Retry-After``. Import it only where
apify-client is known to be installed; :func:`open_client` is the way.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from loragraft.adapter.fetch.retry import PASSING, Retry
from loragraft.artifact.secret import Secret
from loragraft.dataset.collect.secret import TOKEN
from loragraft.errors import InputError, LoragraftError, MissingExtraError, UnavailableError

if TYPE_CHECKING:
    from apify_client import ApifyClient

API = "https://api.apify.com"
LONGEST_WAIT = 600.0
"""Seconds for which a server may make us wait at once; for longer, the person comes back."""
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_ODD = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What apify-client raises at answers of other shapes than it expects."""
AGAIN = "What arrived is kept: run the same command again with --resume."


def open_client(
    secret: Secret, url: str = API, *, retry: Retry | None = None, note: Callable[[str], None]
) -> ApifyClient:
    """Return Apify's client.

    Args:
        secret: The key.
        url: Where the API is.
        retry: How often to try again.
        note: Told, in a sentence, when there is something to wait for.

    Raises:
        MissingExtraError: If apify-client is not installed.
        UnavailableError: If this Python is too old for it.
        InputError: If the key would go over the network in the open.
    """
    _check_url(url)
    if tuple(sys.version_info) < (3, 11):
        raise UnavailableError(
            "apify-client 3 needs Python 3.11, and this is "
            f"{sys.version_info.major}.{sys.version_info.minor}. Collect with a newer Python."
        )
    try:
        from apify_client import ApifyClient

        from loragraft.dataset.collect.sending import Transport
    except ImportError:  # it is missing, or older than version 3
        raise MissingExtraError("apify-client", "collect", "Collecting from Apify") from None
    transport = Transport(secret, retry or Retry(attempts=8, first=0.5, longest=60.0), note)
    return ApifyClient.with_custom_http_client(
        token=secret.reveal(), api_url=url, http_client=transport
    )


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InputError(f"APIFY_API_BASE_URL is no address: {error}. Unset it.") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
        raise InputError(
            f"APIFY_API_BASE_URL is {parts.scheme or 'no'}://{parts.hostname or ''}: the key goes "
            f"only to https addresses, or to this machine. Unset it to ask {API}."
        )


@contextmanager
def explained(secret: Secret) -> Iterator[None]:
    """Turn what the client raises into our errors, none of which holds the key.

    Raises:
        InputError: If the server refuses what it is given.
        UnavailableError: If it refuses the key, or does not answer as it should.
    """
    try:
        yield
    except LoragraftError:
        raise
    except Exception as error:
        raised = _translated(error, secret)
        if raised is None:
            raise
        raise raised from None


def _translated(error: Exception, secret: Secret) -> LoragraftError | None:
    import impit
    from apify_client.errors import ApifyApiError
    from pydantic import ValidationError

    words = _inner(" ".join(secret.hide(str(error)).split()))[:300]
    if isinstance(error, ApifyApiError):
        return _refused(error.status_code, words)
    if isinstance(error, impit.HTTPError | impit.InvalidURL):
        return UnavailableError(
            f"Apify cannot be reached: {type(error).__name__} {words}. Check the connection. "
            f"{AGAIN}"
        )
    if isinstance(error, ValidationError):
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        words = f"{error.errors()[0]['msg']} at {where!r}"
    elif not isinstance(error, _ODD):
        return None
    return UnavailableError(
        f"Apify answers otherwise than apify-client expects ({words}). Is APIFY_API_BASE_URL the "
        f"API's address, and is apify-client up to date? {AGAIN}"
    )


def _inner(words: str) -> str:
    """Return what the operating system said, where the client wraps it into its own structures."""
    head, sign, rest = words.partition(" Reason: ")
    told = re.findall(r'error: "([^"]+)"|message: "([^"]+)"', rest)
    said = [first or second for first, second in told]
    return f"{head} ({said[-1]})" if sign and said else words


def _refused(status: int, words: str) -> LoragraftError:
    if status == 401:
        return UnavailableError(
            f"Apify refuses the key of {TOKEN} (401). Make a new one at "
            "https://console.apify.com/settings/integrations."
        )
    if status in (402, 403):
        return UnavailableError(
            f"Apify refuses this with {status}: {words}. See your plan, its limits and what the "
            "key may do at https://console.apify.com/billing."
        )
    if status in PASSING or status >= 500:
        return UnavailableError(f"Apify answers {status} again and again: {words}. {AGAIN}")
    return InputError(f"Apify refuses this with {status}: {words}. Check the actor and its input.")
