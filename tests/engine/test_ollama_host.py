"""``OLLAMA_HOST`` in its odd spellings."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.engine.ollama_host import is_loopback, parse_host
from loragraft.errors import InputError


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("   ", "http://127.0.0.1:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        (":56789", "http://127.0.0.1:56789"),
        ("1.2.3.4:56789", "http://1.2.3.4:56789"),
        ("http://1.2.3.4", "http://1.2.3.4:80"),
        ("https://1.2.3.4", "https://1.2.3.4:443"),
        ("HTTPS://1.2.3.4:56789", "https://1.2.3.4:56789"),
        ("example.com", "http://example.com:11434"),
        ("example.com/", "http://example.com:11434"),
        ("example.com:56789/", "http://example.com:56789"),
        ("example.com/path", "http://example.com:11434/path"),
        ("https://example.com:56789/path/", "https://example.com:56789/path"),
        ("http://example.com:80//a//b//", "http://example.com:80/a//b"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("http://0.0.0.0:8080/", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:11434"),
        ("[::]:9000", "http://[::1]:9000"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("[0001:002:003:0004::1]:56789", "http://[1:2:3:4::1]:56789"),
        ("https://[::1]/proxy/", "https://[::1]:443/proxy"),
        ('"http://gpu-box:11434"', "http://gpu-box:11434"),
        (" 'gpu_box' ", "http://gpu_box:11434"),
        ("\thttp://h:1\n", "http://h:1"),
        ("[::1", "http://[::1]:11434"),
        ("ollama.com", "https://ollama.com:443"),
        ("http://", "http://127.0.0.1:80"),
    ],
)
def test_spelling(text: str, url: str) -> None:
    assert parse_host(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "h:99999",
        "h:0",
        "h:-1",
        "h:port",
        "h:\uff11\uff12",
        "http://h:1:2",
        "::1:x",
        "tcp://h:1",
        "unix:///run/ollama.sock",
        "a b",
        "h?x=1",
        "h#x",
        "h/a b",
        "h\x00",
        "h\\x",
        "fe80::1%eth0",
        "h:80?x",
        "h/a?b",
        "[h]:1",
        "fe80::1%25eth0:80",
        "h:" + "9" * 400,
    ],
)
def test_what_names_no_server_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:11434|http and https"):
        parse_host(text)


def test_credentials_are_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="OLLAMA_API_KEY") as caught:
        parse_host("https://me:secret@host/x")
    assert "secret" not in str(caught.value)


def test_the_environment_is_read_where_nothing_is_given() -> None:
    assert parse_host(environ={"OLLAMA_HOST": "box:1/"}) == "http://box:1"
    assert parse_host(environ={}) == "http://127.0.0.1:11434"
    assert parse_host("other", environ={"OLLAMA_HOST": "box"}) == "http://other:11434"


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:1", True),
        ("http://[::1]:1/x", True),
        ("http://localhost:1", True),
        ("http://127.8.9.1:1", True),
        ("http://1.2.3.4:1", False),
        ("http://box:1/127.0.0.1", False),
    ],
)
def test_loopback(url: str, local: bool) -> None:
    assert is_loopback(url) is local


@settings(max_examples=250, deadline=None)
@given(
    st.text(max_size=30) | st.text(st.sampled_from("htps:/[]0123456789.ab-_@#? \"'%"), max_size=30)
)
def test_any_text_is_a_url_that_httpx_takes_or_refused(text: str) -> None:
    try:
        url = parse_host(text)
    except InputError:
        return
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        parsed = None  # a name that is no host name: found out on connecting, in words
    if parsed is not None:
        assert parsed.scheme in ("http", "https")
        assert parsed.host
        assert not parsed.userinfo
        assert not parsed.query
    assert not url.endswith("/")
    assert parse_host(url) == url


@pytest.mark.parametrize("text", ["/'/", 'http://box/"a', "/it's"])
def test_quotes_in_a_path_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="quote"):
        parse_host(text)


@settings(max_examples=200, deadline=None)
@given(
    st.ip_addresses(),
    st.integers(1, 65535),
    st.sampled_from(["", "http://", "https://"]),
    st.sampled_from(["", "/", "//", "/api", "/a/b/"]),
)
def test_every_ip_address_with_a_port_is_kept(
    address: object, port: int, scheme: str, path: str
) -> None:
    spelled = f"[{address}]" if ":" in str(address) else str(address)
    url = httpx.URL(parse_host(f"{scheme}{spelled}:{port}{path}"))
    assert (url.port or {"http": 80, "https": 443}[url.scheme]) == port
    assert url.scheme == (scheme or "http://").removesuffix("://")
    assert url.path.strip("/") == path.strip("/")
    if str(address) not in ("0.0.0.0", "::"):
        assert url.host == str(address)
