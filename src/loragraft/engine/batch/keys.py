"""Where an endpoint is, and its key: from the environment only, never shown, never in the open."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from loragraft.artifact.secret import Secret
from loragraft.errors import InputError, UnavailableError

_LOCAL_NAMES = (".local", ".internal", ".lan", ".localhost")


def has_key(variable: str | None, environ: Mapping[str, str] | None = None) -> bool:
    """Whether a key is set, or none is needed."""
    found = (os.environ if environ is None else environ).get(variable or "", "").strip()
    return not variable or bool(found)


def read_key(variable: str | None, url: str) -> Secret | None:
    """Return an endpoint's key; None for one without.

    Args:
        variable: Of the environment; None for an endpoint without a key.
        url: Where the key would go.

    Raises:
        UnavailableError: If the variable is not set.
        InputError: If it holds no key, or the key would go over the network in the open.
    """
    if not variable:
        return None
    text = os.environ.get(variable, "").strip()
    if not text:
        raise UnavailableError(
            f"{variable} is not set, and {url} needs the key that it holds. Set it in the "
            f"environment (export {variable}=...), where alone it is looked for; .env.example "
            "names all keys."
        )
    if not text.isascii() or not text.isprintable() or " " in text:
        raise InputError(
            f"{variable} holds {len(text)} characters that are no key: one word without spaces was "
            "expected. Copy it again."
        )
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_near(parts.hostname or ""):
        raise InputError(
            f"The key of {variable} would go to {url} unencrypted. Give an https address; only "
            "this machine and local networks are spoken to without."
        )
    return Secret(text)


def _is_near(host: str) -> bool:
    """Whether a host is this machine or one of a local network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_LOCAL_NAMES)
    return address.is_private or address.is_loopback or address.is_link_local


def check_url(url: str, example: str, *tails: str) -> str:
    """Return an endpoint's address without a slash at its end.

    Args:
        url: As a person writes it.
        example: A good one, for the message.
        *tails: Ends that do not belong to it, and are taken off.

    Raises:
        InputError: If it is none, or holds a key.
    """
    parts = _parts(url, example)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            f"The address of {parts.hostname} holds more than a place: a key in it would end up "
            f"in records. Leave that out and set the key in the environment. {example}"
        )
    base = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
    for tail in tails:
        base = base.removesuffix(tail).rstrip("/")
    return base


def _parts(url: str, example: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        _port = parts.port  # read, so that one out of range is found
    except ValueError as error:
        raise InputError(f"The endpoint's address is none: {error}. {example}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url.strip()[:80]!r} is no address of an endpoint. {example}")
    if not parts.netloc.isprintable() or " " in parts.netloc + parts.path:
        raise InputError(f"{url.strip()[:80]!r} is no address of an endpoint. {example}")
    return parts


def is_this_machine(url: str) -> bool:
    """Whether an address is this machine's own, which no proxy can reach."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
