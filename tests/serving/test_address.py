"""Who can reach an endpoint, and with which key."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from loragraft.errors import InputError, UnavailableError
from loragraft.serving.address import (
    KEY_VARIABLE,
    is_loopback,
    listen,
    read_key,
    require_key,
    url_of,
)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("localhost", True), ("127.8.9.1", True), ("0.0.0.0", False),
     ("", False), ("192.0.2.1", False), ("::", False)],
)  # fmt: skip
def test_only_loopback_is_served_without_a_key(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    require_key(host, "a-long-enough-key")
    if loopback:
        require_key(host, None)
    else:
        with pytest.raises(InputError, match=KEY_VARIABLE):
            require_key(host, None)


def test_a_name_of_no_host() -> None:
    with pytest.raises(InputError, match=r"no\.such\.host\.invalid"):
        require_key("no.such.host.invalid", None)


def test_a_key_from_a_file_goes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert read_key(None) is None
    monkeypatch.setenv(KEY_VARIABLE, "of-the-environment")
    assert read_key(None) == "of-the-environment"
    file = tmp_path / "key"
    file.write_text("of-the-file\n")
    assert read_key(file) == "of-the-file"


@pytest.mark.parametrize(
    "key", ["", "short", "with a space in it", "schlüssel-schlüssel", "a\nbcdefgh"]
)
def test_an_unfit_key_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(InputError, match="unfit") as caught:
        read_key(None)
    assert not key or key not in str(caught.value)


def test_a_key_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_key(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="no text"):
        read_key(tmp_path / "binary")


def test_a_taken_port_is_said_and_port_0_takes_a_free_one() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert url_of(first) == f"http://127.0.0.1:{port}"
        with pytest.raises(UnavailableError, match=f"Port {port} .* taken"):
            listen("127.0.0.1", port)


def test_an_address_of_another_machine() -> None:
    with pytest.raises(InputError, match=r"192\.0\.2\.1"):
        listen("192.0.2.1", 0)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_an_ipv6_address_is_written_in_brackets() -> None:
    try:
        listening = listen("::1", 0)
    except InputError:  # the kernel knows IPv6, this machine has no such address
        return
    with listening:
        assert url_of(listening).startswith("http://[::1]:")
