"""Where the Ollama server is: ``OLLAMA_HOST`` in all its spellings, as Ollama's client reads it.

The rules are those of Ollama's ``envconfig.Host`` (read in its source, 0.24 to 0.32), with these
differences, each on the side of caution: a port that is none is refused instead of replaced by
the default one, credentials and unknown schemes are refused, and an address that only servers
can use ("listen everywhere") is turned into the loopback address, as a client has to.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping

from loragraft.errors import InputError

VARIABLE = "OLLAMA_HOST"
DEFAULT_PORT = 11434
DEFAULT_HOST = "127.0.0.1"

_PORTS = {"http": 80, "https": 443}
"""Where a scheme is written out, its own port is the default, not Ollama's."""
_CLOUD = "ollama.com"
"""The one host without a scheme that Ollama's client reaches by https."""
_EVERYWHERE = {"0.0.0.0": DEFAULT_HOST, "::": "::1"}
_HOST = re.compile(r"[^\s\x00-\x20\x7f/?#@\\\[\]<>\"'`{}|^%:,;]+")
_EXAMPLE = "Give it as in http://127.0.0.1:11434, or unset it for that default."


def parse_host(text: str | None = None, environ: Mapping[str, str] | None = None) -> str:
    """Return the server's base URL, without a slash at its end.

    Args:
        text: The address as a user writes it; None reads ``OLLAMA_HOST``.
        environ: The environment to read, the process's own by default.

    Returns:
        Scheme, host and port, and the path of a proxy where there is one.

    Raises:
        InputError: If it names no reachable address; credentials in it are not repeated.
    """
    given = (os.environ if environ is None else environ).get(VARIABLE) if text is None else text
    return _parse(_clean(given or ""))


def _clean(text: str) -> str:
    """Take off the quotes and spaces that shells, unit files and dialogs leave around a value."""
    return text.strip().strip("\"'").strip()


def _parse(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest, default = "http", text, DEFAULT_PORT
        if text.lower() == _CLOUD:
            scheme, default = "https", _PORTS["https"]
    else:
        scheme = scheme.lower()
        default = _default_port(scheme)
    address, _, path = rest.partition("/")
    if "@" in address:
        raise InputError(
            f"{VARIABLE} holds a user name or password, which would end up in logs. Leave it out "
            "and set OLLAMA_API_KEY to the token instead."
        )
    host, port = _split(address, default)
    path = _check_path(path.strip("/"))
    return f"{scheme}://{host}:{port}{'/' + path if path else ''}"


def _default_port(scheme: str) -> int:
    if scheme not in _PORTS:
        raise InputError(
            f"{VARIABLE} begins with {scheme[:20]!r}://; Ollama speaks http and https. {_EXAMPLE}"
        )
    return _PORTS[scheme]


def _split(address: str, default: int) -> tuple[str, int]:
    """Return host (IPv6 in brackets) and port of ``host``, ``host:port``, ``:port`` or nothing."""
    whole = _as_ip(address.strip("[]"))
    if whole is not None:
        return whole, default
    host, colon, port = address.rpartition(":")
    if not colon:
        host, port = address, ""
    elif host.count(":") and not (host.startswith("[") and host.endswith("]")):
        raise InputError(
            f"{VARIABLE} has the host {address!r}, which is neither a name nor an IP address; an "
            f"IPv6 address with a port stands in brackets: [::1]:11434. {_EXAMPLE}"
        )
    return _check_host(host), _check_port(port, default)


def _as_ip(text: str) -> str | None:
    """Return an IP address as a URL holds it and a client can reach it; None if it is none."""
    if "%" in text:  # a zone: URLs have no agreed spelling for it
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    spelled = _EVERYWHERE.get(str(address), str(address))
    return f"[{spelled}]" if ":" in spelled else spelled


def _check_host(host: str) -> str:
    if not host:
        return DEFAULT_HOST
    known = _as_ip(host.strip("[]"))
    if known is not None:
        return known
    if _HOST.fullmatch(host) is None or not host.isprintable():
        raise InputError(
            f"{VARIABLE} has the host {host[:80]!r}, which is neither a name nor an IP address. "
            f"{_EXAMPLE}"
        )
    return host


def _check_port(port: str, default: int) -> int:
    if not port:
        return default
    if not (port.isascii() and port.isdigit()) or not 0 < int(port[:9]) < 65536 or len(port) > 9:
        raise InputError(
            f"{VARIABLE} has the port {port[:20]!r}; a number from 1 to 65535 was expected. "
            f"{_EXAMPLE}"
        )
    return int(port)


def _check_path(path: str) -> str:
    if not path.isprintable() or any(c in path for c in " ?#\\\"'"):
        raise InputError(
            f"{VARIABLE} has the path {path[:80]!r}, which holds a space, a quote, a query or a "
            f"control character. {_EXAMPLE}"
        )
    return path


def is_loopback(url: str) -> bool:
    """Return whether a base URL of :func:`parse_host` leads to this machine itself."""
    host = url.partition("://")[2].partition("/")[0].rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")
