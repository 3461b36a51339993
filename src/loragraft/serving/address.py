"""Where an endpoint listens, and who may ask it."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from pathlib import Path

from loragraft.errors import InputError, UnavailableError

KEY_VARIABLE = "LORAGRAFT_API_KEY"
MIN_KEY = 8
"""Characters: fewer are guessed within hours over a network."""
BACKLOG = 128


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach an address or a name.

    Raises:
        InputError: If there is no such host.
    """
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"{host} is no address of this machine ({error}). Give 127.0.0.1, or an address that "
            "`ip address` lists."
        ) from None
    return bool(host) and all(ipaddress.ip_address(_plain(item)).is_loopback for item in found)


def _plain(info: tuple[object, ...]) -> str:
    address = info[4]
    assert isinstance(address, tuple)
    return str(address[0]).partition("%")[0]


def read_key(file: Path | None) -> str | None:
    """Return the API key of a file, or of the environment, or None.

    Raises:
        InputError: If the file cannot be read, or the key is no key.
    """
    source, key = (str(file), _read(file)) if file is not None else (
        KEY_VARIABLE, os.environ.get(KEY_VARIABLE)
    )  # fmt: skip
    if key is None:
        return None
    key = key.strip()
    if len(key) < MIN_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(
            f"The API key in {source} is unfit: it needs {MIN_KEY} or more visible ASCII "
            "characters without spaces. `openssl rand -hex 24` makes one."
        )
    return key


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"The API key's file {file} cannot be read: {reason}.") from None


def require_key(host: str, key: str | None) -> None:
    """Refuse an address that others can reach without a key.

    Raises:
        InputError: Saying how to give one.
    """
    if key is None and not is_loopback(host):
        raise InputError(
            f"{host or 'Every address'} can be reached from other machines, so an API key is "
            f"required: set {KEY_VARIABLE}, or name a file with --api-key-file. Without one only "
            "this machine is served: --host 127.0.0.1."
        )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Raises:
        UnavailableError: If the port is taken or may not be used.
        InputError: If the address is not one of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UnavailableError(
                f"Port {port} of {host} is taken by another program. Choose another with --port, "
                "or --port 0 for any free one."
            ) from None
        if error.errno == errno.EACCES:
            raise UnavailableError(
                f"Port {port} needs rights that this user does not have. Choose one above 1023."
            ) from None
        raise InputError(
            f"{host} port {port} cannot be listened on: {error.strerror or error}. Give an address "
            "of this machine."
        ) from None


def url_of(listening: socket.socket) -> str:
    """Return the address that is listened on, as a URL."""
    name = listening.getsockname()
    host, port = str(name[0]), int(name[1])
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
