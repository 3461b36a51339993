"""Downloads through a server that breaks off, changes its mind, lies and redirects."""

from __future__ import annotations

import json
import random
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from loragraft.adapter.fetch.http import MAX_REDIRECTS, download
from loragraft.adapter.fetch.part import Download
from loragraft.adapter.fetch.retry import Retry
from loragraft.errors import InputError, OutOfSpaceError, UnavailableError
from tests.adapter.fetch.server import FileServer, Handler, Request, Served, serving

DATA = random.Random(1).randbytes(3_000_000)
ONCE = Retry(attempts=1)


def patient(waits: list[float] | None = None, attempts: int = 4) -> Retry:
    """Retry without waiting; note how long it would have been."""
    return Retry(attempts=attempts, sleep=(waits if waits is not None else []).append)


def get(server: FileServer, folder: Path, path: str = "/a.zip", **options: object) -> Download:
    """Download a path of the server."""
    settings = {"limit": 1 << 30, "retry": patient(), **options}
    return download(f"{server.url}{path}", folder / "file", **settings)  # type: ignore[arg-type]


def test_a_file_arrives_whole(server: FileServer, tmp_path: Path) -> None:
    modified = formatdate(1_700_000_000, usegmt=True)
    server.files["/a.zip"] = Served(DATA, headers={"Last-Modified": modified})
    got = get(server, tmp_path)
    assert got.path.read_bytes() == DATA
    assert (got.name, got.etag, got.bytes, got.resumed) == ("a.zip", '"one"', len(DATA), 0)
    assert got.modified == 1_700_000_000
    assert got.url == f"{server.url}/a.zip"
    assert not (tmp_path / "file.part").exists()


def test_a_break_is_gone_on_with_in_the_same_run(server: FileServer, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(DATA, cuts=[1_000_000, 500_000])
    waits: list[float] = []
    got = get(server, tmp_path, retry=patient(waits))
    assert got.path.read_bytes() == DATA
    assert server.sent("/a.zip") == [1_000_000, 500_000, 1_500_000]
    assert len(waits) == 2
    assert [r.headers.get("if-range") for r in server.requests] == [None, '"one"', '"one"']


def test_a_later_run_asks_for_the_rest_only(server: FileServer, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(DATA, cuts=[1_200_000])
    with pytest.raises(UnavailableError, match=r"1\.1 MiB are kept: the same command goes on"):
        get(server, tmp_path, retry=ONCE)
    assert not (tmp_path / "file").exists()
    got = get(server, tmp_path, retry=ONCE)
    assert got.path.read_bytes() == DATA
    assert got.resumed == 1_200_000
    assert server.sent("/a.zip") == [1_200_000, 1_800_000]


def test_a_finished_file_is_not_asked_for_again(server: FileServer, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(DATA)
    first = get(server, tmp_path)
    again = get(server, tmp_path)
    assert len(server.requests) == 1
    assert again.path.read_bytes() == DATA
    assert (again.etag, again.name, again.resumed) == (first.etag, first.name, len(DATA))


@pytest.mark.parametrize("data", [DATA[::-1], DATA[:1_000], DATA[:1_200_000]])
def test_a_changed_file_is_fetched_anew(server: FileServer, tmp_path: Path, data: bytes) -> None:
    server.files["/a.zip"] = Served(DATA, cuts=[1_200_000])
    with pytest.raises(UnavailableError):
        get(server, tmp_path, retry=ONCE)
    server.files["/a.zip"] = Served(data, etag='"two"')
    got = get(server, tmp_path)
    assert got.path.read_bytes() == data
    assert (got.resumed, got.etag) == (0, '"two"')


def test_another_address_does_not_go_on_with_the_part(server: FileServer, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(DATA, cuts=[1_200_000])
    with pytest.raises(UnavailableError):
        get(server, tmp_path, retry=ONCE)
    server.files["/b.zip"] = Served(DATA[::-1])
    assert get(server, tmp_path, "/b.zip").path.read_bytes() == DATA[::-1]


def test_a_changing_link_goes_on_where_the_identity_stays(
    server: FileServer, tmp_path: Path
) -> None:
    server.files["/signed-1"] = Served(DATA, cuts=[1_200_000])
    server.files["/signed-2"] = Served(DATA)
    with pytest.raises(UnavailableError):
        get(server, tmp_path, "/signed-1", retry=ONCE, identity="kaggle:a/b@1")
    assert get(server, tmp_path, "/signed-2", identity="kaggle:a/b@1").resumed == 1_200_000
    assert server.sent("/signed-2") == [1_800_000]


@pytest.mark.parametrize(("etag", "ranges"), [(None, True), ('W/"one"', True), ('"one"', False)])
def test_without_a_sound_validator_all_is_sent_again(
    server: FileServer, tmp_path: Path, etag: str | None, ranges: bool
) -> None:
    server.files["/a.zip"] = Served(DATA, etag=etag, ranges=ranges, cuts=[1_000_000])
    assert get(server, tmp_path).path.read_bytes() == DATA
    assert server.sent("/a.zip") == [1_000_000, 3_000_000]


def test_an_old_date_stands_for_the_content(server: FileServer, tmp_path: Path) -> None:
    headers = {"Last-Modified": formatdate(time.time() - 7200, usegmt=True)}
    server.files["/a.zip"] = Served(DATA, etag=None, headers=headers, cuts=[1_000_000])
    assert get(server, tmp_path).path.read_bytes() == DATA
    assert server.sent("/a.zip") == [1_000_000, 2_000_000]


def test_a_date_of_just_now_does_not(server: FileServer, tmp_path: Path) -> None:
    headers = {"Last-Modified": formatdate(time.time() - 5, usegmt=True)}
    server.files["/a.zip"] = Served(DATA, etag=None, headers=headers, cuts=[1_000_000])
    assert get(server, tmp_path).path.read_bytes() == DATA
    assert server.sent("/a.zip") == [1_000_000, 3_000_000]


def test_a_busy_server_is_asked_again(server: FileServer, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(DATA, statuses=[500, 503, 429])
    waits: list[float] = []
    assert get(server, tmp_path, retry=patient(waits)).path.read_bytes() == DATA
    assert len(waits) == 3
    assert waits[0] < waits[1] < waits[2]


def test_a_server_says_how_long_to_wait(server: FileServer, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(DATA, statuses=[503], headers={"Retry-After": "7"})
    waits: list[float] = []
    get(server, tmp_path, retry=patient(waits))
    assert waits == [7.0]
    server.files["/b.zip"] = Served(DATA, statuses=[503], headers={"Retry-After": "99999"})
    get(server, tmp_path, "/b.zip", retry=patient(waits))
    assert waits[1] == 30.0


def test_patience_ends(server: FileServer, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(DATA, statuses=[500] * 9)
    with pytest.raises(UnavailableError, match=r"The server answers 500\. Check the connection"):
        get(server, tmp_path)
    assert len(server.requests) == 4


def test_patience_starts_again_where_bytes_come(server: FileServer, tmp_path: Path) -> None:
    data = DATA * 3
    server.files["/a.zip"] = Served(data, cuts=[1_100_000] * 7)
    assert get(server, tmp_path, retry=patient(attempts=2)).path.read_bytes() == data


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, UnavailableError, "asks for a login"),
        (403, UnavailableError, "the link is no longer valid"),
        (404, InputError, "There is nothing at"),
        (410, InputError, "Check the address"),
        (418, UnavailableError, "answers 418"),
    ],
)
def test_refusals_are_not_repeated(
    server: FileServer, tmp_path: Path, status: int, kind: type[Exception], words: str
) -> None:
    server.files["/a.zip"] = Served(DATA, statuses=[status])
    with pytest.raises(kind, match=words):
        get(server, tmp_path)
    assert len(server.requests) == 1


def test_nobody_listens(tmp_path: Path) -> None:
    with serving() as server:
        address = server.url
    with pytest.raises(UnavailableError, match="The connection failed"):
        download(f"{address}/a.zip", tmp_path / "file", limit=1, retry=patient())


@pytest.mark.parametrize("chunked", [False, True])
def test_too_large_a_file_is_refused(server: FileServer, tmp_path: Path, chunked: bool) -> None:
    server.files["/a.zip"] = Served(DATA, chunked=chunked)
    with pytest.raises(InputError, match=r"at most 976\.6 KiB are taken.*--max-size"):
        get(server, tmp_path, limit=1_000_000)
    assert (tmp_path / "file.part").stat().st_size <= 1_000_000
    assert not (tmp_path / "file").exists()


def test_a_full_disk_is_seen_before(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loragraft.artifact.space.free_disk", lambda path: 1000)
    server.files["/a.zip"] = Served(DATA)
    with pytest.raises(OutOfSpaceError, match="The download needs"):
        get(server, tmp_path)


def test_a_web_page_is_no_file(server: FileServer, tmp_path: Path) -> None:
    server.files["/a"] = Served(b"<html>Log in", headers={"Content-Type": "text/html; x=y"})
    with pytest.raises(InputError, match="is a web page, not a file"):
        get(server, tmp_path, "/a")


def test_compression_on_the_way_is_refused(server: FileServer, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(DATA, headers={"Content-Encoding": "gzip"})
    with pytest.raises(UnavailableError, match="compressed"):
        get(server, tmp_path)
    server.files["/a.tar.gz"] = Served(DATA, headers={"Content-Encoding": "gzip"})
    assert get(server, tmp_path, "/a.tar.gz").path.read_bytes() == DATA
    assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="lora v2.zip"', "lora v2.zip"),
        ("attachment; filename*=UTF-8''l%C3%B6ra.zip", "löra.zip"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ("attachment", "down load"),
    ],
)
def test_the_servers_name_counts(
    server: FileServer, tmp_path: Path, disposition: str, name: str
) -> None:
    server.files["/down%20load"] = Served(DATA, headers={"Content-Disposition": disposition})
    assert get(server, tmp_path, "/down%20load").name == name


def redirect(to: str) -> object:
    """Return a route that leads elsewhere."""

    def route(handler: Handler, request: Request) -> None:
        handler.answer(302, {"Location": to}, b"", request)

    return route


def test_redirects_are_followed(server: FileServer, tmp_path: Path) -> None:
    server.routes["/old"] = redirect("/a.zip?X-Amz-Signature=abc")  # type: ignore[assignment]
    server.files["/a.zip"] = Served(DATA, cuts=[1_000_000])
    got = get(server, tmp_path, "/old.zip")
    assert got.path.read_bytes() == DATA
    assert (got.name, got.url) == ("old.zip", f"{server.url}/a.zip")
    assert server.sent("/a.zip") == [1_000_000, 2_000_000]


def test_redirects_end(server: FileServer, tmp_path: Path) -> None:
    server.routes["/"] = redirect("/again")  # type: ignore[assignment]
    with pytest.raises(UnavailableError, match=f"more than {MAX_REDIRECTS} times"):
        get(server, tmp_path)
    assert len(server.requests) == MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    "to", ["http://example.org/a.zip", "ftp://example.org/a", "file:///etc/passwd", "http://["]
)
def test_redirects_into_the_open_are_refused(server: FileServer, tmp_path: Path, to: str) -> None:
    server.routes["/"] = redirect(to)  # type: ignore[assignment]
    with pytest.raises((InputError, UnavailableError)):
        get(server, tmp_path, retry=ONCE)
    assert not (tmp_path / "file").exists()


def test_credentials_stay_with_their_host(server: FileServer, tmp_path: Path) -> None:
    address = server.url.replace("//", "//me:s3cret@")
    with serving() as other:
        server.routes["/there"] = redirect(f"{other.url}/a.zip")  # type: ignore[assignment]
        server.routes["/here"] = redirect("/a.zip")  # type: ignore[assignment]
        for place in (server, other):
            place.files["/a.zip"] = Served(DATA)
        got = download(f"{address}/there", tmp_path / "1", limit=1 << 30, retry=ONCE)
        assert "authorization" not in other.requests[0].headers
    download(f"{address}/here", tmp_path / "2", limit=1 << 30, retry=ONCE)
    assert all("authorization" in request.headers for request in server.requests)
    kept = (tmp_path / "1.part.json").read_text()
    assert "s3cret" not in kept + json.dumps(got.url)


@pytest.mark.parametrize("token", ["s3cret"])
def test_errors_tell_no_secrets(server: FileServer, tmp_path: Path, token: str) -> None:
    url = f"{server.url}/a.zip?id=7&X-Amz-Signature={token}&token={token}".replace(
        "//", f"//me:{token}@"
    )
    with pytest.raises(InputError) as caught:
        download(url, tmp_path / "file", limit=1, retry=ONCE)
    assert token not in str(caught.value)
    assert "id=7" in str(caught.value)


def test_a_server_that_sends_another_part(server: FileServer, tmp_path: Path) -> None:
    def wrong(handler: Handler, request: Request) -> None:
        if "range" in request.headers:
            handler.answer(206, {"Content-Range": "bytes 5-9/10"}, b"56789", request)
        else:
            handler.serve(served, request)

    served = Served(DATA, cuts=[1_000_000])
    server.routes["/a.zip"] = wrong
    assert get(server, tmp_path).path.read_bytes() == DATA


def test_a_garbled_state_is_no_obstacle(server: FileServer, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(DATA)
    (tmp_path / "file.part").write_bytes(b"rubbish")
    for text in ("[", "[1]", '{"identity": 5, "done": {}}'):
        (tmp_path / "file.part.json").write_text(text)
        assert get(server, tmp_path).path.read_bytes() == DATA
        (tmp_path / "file").unlink()
