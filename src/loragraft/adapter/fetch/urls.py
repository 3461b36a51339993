"""Addresses: which are taken, and how they are shown without the secrets they may hold."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from loragraft.errors import InputError

_SECRET = re.compile(
    r"token|secret|sig|key|pass|pwd|cred|auth|session|jwt|^code$|^(x-)?(amz|goog|ms)-",
    re.IGNORECASE,
)
"""Names of query parameters whose values open a door (signed links, tokens)."""

_HIDDEN = "***"


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this very machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_url(url: str) -> str:
    """Return a URL that may be fetched from.

    Raises:
        InputError: If it is not https, or http to this very machine, or has no host.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise InputError(f"{redact_url(url)} is no URL: {error}.") from None
    if not host or any(ord(character) <= 32 for character in url):
        raise InputError(f"{redact_url(url)!r} is no URL. Expected https://host/path.")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise InputError(
            f"{redact_url(url)} is not https: anyone on the way could change what arrives. "
            "Give an https:// address."
        )
    return url


def redact_url(url: str) -> str:
    """Return a URL without user, password, fragment and the values of secret parameters."""
    try:
        parts = urlsplit(url)
        netloc = parts.netloc.rpartition("@")[2]
        pairs = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return url.partition("?")[0].rpartition("@")[2]
    shown = [(name, _HIDDEN if _SECRET.search(name) else value) for name, value in pairs]
    query = urlencode(shown, safe="*/:", quote_via=quote)
    return urlunsplit((parts.scheme, netloc, parts.path, query, ""))


def without_query(url: str) -> str:
    """Return scheme, host and path: where a redirect led, which is often a signed link."""
    return redact_url(url).partition("?")[0]
