"""The key goes into the request's header and nowhere else, whatever goes wrong."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from loragraft.artifact.secret import HIDDEN, Secret
from loragraft.dataset.collect.secret import read_token
from loragraft.dataset.collect.transport import open_client
from loragraft.errors import InputError, LoragraftError
from tests.support.apify_server import KEY, ApifyServer, apify_server, error, tweets
from tests.support.collecting import Notes, collect, rows

ECHO = error("bad", f"The token {KEY} in ?token={quote(KEY)} is bad")
Hook = Callable[[Any], Any]


def at(path: str, answer: Any) -> Hook:  # noqa: ANN401
    return lambda request: answer if path in request.path else None


FAULTS: dict[str, Hook] = {
    **{
        f"{status} {path}": at(path, (status, {}, ECHO))
        for status in (400, 401, 402, 403, 404, 409, 418, 429, 500, 503)
        for path in ("/actors/", "/runs", "/actor-runs/", "/items")
    },
    **{
        f"{name} {path}": at(path, (200, {}, body))
        for path in ("/actors/", "/runs", "/actor-runs/", "/items")
        for name, body in {
            "text": f"Bearer {KEY}".encode(),
            "fields": json.dumps({"data": {"id": KEY, "status": KEY}}).encode(),
            "list": json.dumps([KEY]).encode(),
            "nothing": b"",
        }.items()
    },
    "hung up": at("/items", (0, {}, b"")),
    "html": at("/actors/", (502, {"content-type": "text/html"}, f"<p>{KEY}</p>".encode())),
    "header": at("/items", (429, {"Retry-After": KEY}, ECHO)),
    "hours": at("/items", (429, {"Retry-After": "99999"}, ECHO)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_error_log_note_or_file_shows_the_key(
    apify: ApifyServer,
    out: Path,
    fault: str,
    caplog: pytest.LogCaptureFixture,
    capfd: Any,  # noqa: ANN401
) -> None:
    caplog.set_level(logging.DEBUG)
    apify.items, apify.options = [*tweets(3), {"id": "9", "text": KEY}], {"message": KEY}
    apify.hooks.append(FAULTS[fault])
    progress, told = Notes(), ""
    try:
        report = collect(apify.url, out, progress=progress)
        told = json.dumps(report.to_json())
    except LoragraftError as raised:
        told = f"{raised} {raised!r} {raised.args} " + "".join(traceback.format_exception(raised))
    assert told
    everything = [told, *progress.notes, caplog.text, *capfd.readouterr()]
    assert not any(form in text for text in everything for form in (KEY, quote(KEY)))
    assert not any(KEY in str(vars(record)) for record in caplog.records)
    for path in out.parent.rglob("*"):
        assert KEY.encode() not in path.read_bytes(), path
        assert KEY not in path.name


def test_a_record_that_holds_the_key_is_kept_without_it(apify: ApifyServer, out: Path) -> None:
    apify.items = [{"id": f"id-{KEY}", "text": f"my key is {KEY}!", KEY: [KEY, {"x": KEY}]}]
    apify.options = {"message": f"started with {KEY}"}
    report = collect(apify.url, out)
    hidden = {"id": f"id-{HIDDEN}", "text": f"my key is {HIDDEN}!", HIDDEN: [HIDDEN, {"x": HIDDEN}]}
    assert rows(out) == [hidden]
    assert report.runs[0]["message"] == f"started with {HIDDEN}"
    assert not any(KEY.encode() in path.read_bytes() for path in out.parent.iterdir())


def test_the_key_is_sent_in_a_header_and_in_no_address(apify: ApifyServer, out: Path) -> None:
    apify.items = tweets(6)
    collect(apify.url, out)
    assert len(apify.requests) > 5
    for request in apify.requests:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert KEY not in request.path + str(request.query) + request.body.decode()


def test_no_redirect_takes_the_key_elsewhere(apify: ApifyServer, out: Path) -> None:
    with apify_server() as other:
        for status in (301, 302, 307, 308):
            apify.hooks[:] = [at("", (status, {"Location": f"{other.url}/v2/actors/x"}, b""))]
            with pytest.raises(InputError, match=f"refuses this with {status}"):
                collect(apify.url, out)
        assert other.requests == []


@pytest.mark.parametrize(
    "place", [{"run_input": {"a": [KEY]}}, {"actor": KEY}, {"run_id": KEY, "actor": None}]
)
def test_a_key_in_the_request_is_refused_before_anything_is_sent_or_written(
    apify: ApifyServer, out: Path, place: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="The key stands in") as raised:
        collect(apify.url, out, **place)
    assert KEY not in str(raised.value)
    assert apify.requests == []
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("url", ["http://api.example.org", "ftp://x", "api.example.org", ""])
def test_the_key_goes_over_no_open_network(url: str, out: Path) -> None:
    with pytest.raises(InputError, match="only to https addresses"):
        collect(url, out)
    assert list(out.parent.iterdir()) == []


def test_an_input_is_not_kept(apify: ApifyServer, out: Path) -> None:
    apify.items = tweets(2)
    collect(apify.url, out, run_input={"cookies": "auth_token=0123456789"})
    for path in out.parent.iterdir():
        assert b"auth_token" not in path.read_bytes(), path


def test_a_secret_spells_itself_only_when_told_to() -> None:
    secret = Secret(KEY)
    assert KEY not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == KEY
    assert secret.hide(f"a {KEY} b") == f"a {HIDDEN} b"
    assert Secret("a/b+c===").hide("x=a%2Fb%2Bc%3D%3D%3D&") == f"x={HIDDEN}&"


def test_the_key_comes_from_the_environment() -> None:
    assert read_token({"APIFY_TOKEN": f" {KEY}\n"}).reveal() == KEY
    with pytest.raises(InputError, match="APIFY_TOKEN is not set"):
        read_token({})
    for text in ("short", "two words here", "line\nbreak-in-it", "kéy-that-is-long"):
        with pytest.raises(InputError, match="that are no key") as raised:
            read_token({"APIFY_TOKEN": text})
        assert text not in str(raised.value)


def test_the_client_itself_shows_no_key() -> None:
    client = open_client(Secret(KEY), note=print)
    assert KEY not in repr(client)
    assert KEY not in repr(client.actor("a/b"))
