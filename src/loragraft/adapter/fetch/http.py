"""Download one file over HTTPS, going on where a broken connection or a killed run stopped.

A rest is asked for with ``Range`` and ``If-Range`` (RFC 9110, sections 13.1.5 and 14): where the
file has changed meanwhile, the server sends the whole of it, and the old bytes are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from loragraft.adapter.fetch.part import Download, Part, too_large
from loragraft.adapter.fetch.retry import PASSING, Retry
from loragraft.adapter.fetch.urls import check_url, redact_url, without_query
from loragraft.artifact.progress import Progress, Silent
from loragraft.artifact.space import format_bytes, require_disk
from loragraft.errors import InputError, MissingExtraError, UnavailableError

if TYPE_CHECKING:
    import httpx

MAX_REDIRECTS = 8
"""Downloads take one or two; browsers stop at 20."""
_CONNECT_SECONDS, _READ_SECONDS = 15.0, 60.0
_PROGRESS = 1 << 20
"""Bytes that an attempt must bring for the count of failures to start again."""
_STRONG_DATE = timedelta(seconds=60)
"""RFC 9110, 8.8.2.2: a date this much older than the answer can stand for the content."""


class _AgainError(Exception):
    """This attempt failed; another may not."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


def make_client() -> httpx.Client:
    """Return a client that verifies certificates and follows no redirect by itself.

    Raises:
        MissingExtraError: If httpx is not installed.
    """
    try:
        import httpx
    except ImportError:
        raise MissingExtraError("httpx", "fetch", "Fetching from a URL") from None
    return httpx.Client(
        follow_redirects=False,
        timeout=httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS),
        headers={"User-Agent": "loragraft", "Accept": "*/*", "Accept-Encoding": "identity"},
    )


def download(
    url: str,
    target: Path,
    *,
    limit: int,
    identity: str | None = None,
    retry: Retry | None = None,
    progress: Progress | None = None,
) -> Download:
    """Download a file; a part that an earlier run left beside the target is gone on with.

    Args:
        url: Where from.
        target: The file; its folder exists.
        limit: Bytes at most.
        identity: What the file is, where the URL changes from time to time (signed links).
        retry: How often to try again.
        progress: Who wants to know.

    Raises:
        InputError: If there is no such file, it is too large, or is a web page.
        UnavailableError: If it is refused or does not arrive.
        OutOfSpaceError: If the disk is too small.
        MissingExtraError: If httpx is not installed.
    """
    retry, progress = retry or Retry(), progress or Silent()
    part = Part(target, identity or redact_url(url))
    if (got := part.finished(target)) is not None:
        return got
    part.load()
    failures = 0
    with make_client() as client:
        while True:
            before = part.size
            try:
                with _explain_transport():
                    headers = _attempt(client, url, part, limit, progress)
                break
            except _AgainError as again:
                failures = 1 if part.size - before >= _PROGRESS else failures + 1
                if failures >= retry.attempts:
                    raise _gave_up(url, part, again) from None
                progress.note(f"{_host(url)}: {again} Trying again.")
                retry.wait(failures, again.after)
    return part.finish(_report(target, url, headers, part))


def _gave_up(url: str, part: Part, again: _AgainError) -> UnavailableError:
    kept = (
        f" {format_bytes(part.size)} are kept: the same command goes on from there."
        if part.size and part.validator
        else ""
    )
    return UnavailableError(
        f"{redact_url(url)} could not be fetched: {again} Check the connection and try again.{kept}"
    )


@contextmanager
def _explain_transport() -> Iterator[None]:
    """Turn what breaks on the way into another attempt."""
    import httpx

    try:
        yield
    except httpx.TransportError as error:
        words = str(error).strip() or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in words:
            raise UnavailableError(
                f"The server's certificate is not to be trusted: {words}. Nothing was fetched."
            ) from None
        raise _AgainError(f"The connection failed ({words}).") from None
    except httpx.InvalidURL as error:
        raise InputError(f"The server redirects to something that is no URL: {error}.") from None


@contextmanager
def _open(client: httpx.Client, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
    """Send a request and follow its redirects, each of them checked as the first was.

    httpx itself leaves out credentials where a redirect leads to another host.
    """
    request = client.build_request("GET", check_url(url), headers=dict(headers))
    for _ in range(MAX_REDIRECTS + 1):
        response = client.send(request, stream=True)
        try:
            if response.next_request is None:
                yield response
                return
            request = response.next_request
        finally:
            response.close()
        check_url(str(request.url))
    raise UnavailableError(
        f"{redact_url(url)} redirects more than {MAX_REDIRECTS} times. Give the last address."
    )


def _attempt(
    client: httpx.Client, url: str, part: Part, limit: int, progress: Progress
) -> dict[str, str]:
    """Bring the whole file or its rest; return the headers of the answer and the final URL."""
    with _open(client, url, part.headers()) as response:
        total = _start(response, url, part)
        if total is not None:
            if total > limit:
                raise too_large(redact_url(url), total, limit)
            require_disk(part.path, total - part.size, "The download")
        if response.status_code != 206:
            part.describe(_validator(response.headers))
        progress.begin(f"Downloading {_name(url, response.headers)}", (total or 0) - part.size)
        blocks = _watched(response.iter_raw(), progress)
        part.append(blocks, total, limit, redact_url(url))
        if total is not None and part.size != total:
            if part.size > total:
                part.restart()
            raise _AgainError(f"The server announced {total} bytes and sent another number.")
        return {**response.headers, "final-url": str(response.url)}


def _watched(blocks: Iterator[bytes], progress: Progress) -> Iterator[bytes]:
    for block in blocks:
        yield block
        progress.advance(len(block))


def _start(response: httpx.Response, url: str, part: Part) -> int | None:
    """Judge an answer; return the size of the whole file if it says."""
    status = response.status_code
    if status == 206 and part.size:
        return _continue(response, part)
    if status == 416 and part.size:
        part.restart()
        raise _AgainError("The server has no rest to what is here: starting again.", 0.0)
    if status != 200:
        raise _refused(response, url)
    part.restart()
    _refuse_disguise(response, url)
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


def _continue(response: httpx.Response, part: Part) -> int:
    """Take an answer that holds the rest; return the size of the whole file."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    changed = response.headers.get("etag", part.validator) != part.validator
    if match is None or int(match[1]) != part.size or (changed and part.strong):
        part.restart()
        raise _AgainError("The server sent another part than was asked for.", 0.0)
    return int(match[2])


def _refused(response: httpx.Response, url: str) -> Exception:
    """Return the error for an answer without the file."""
    status, shown = response.status_code, redact_url(url)
    if status in PASSING:
        after = response.headers.get("retry-after", "")
        return _AgainError(
            f"The server answers {status}.", float(after) if after.isdecimal() else None
        )
    if status in (401, 403, 407):
        return UnavailableError(
            f"{_host(str(response.url))} refuses {shown} ({status}): it asks for a login, or the "
            "link is no longer valid. Get a fresh link, or fetch it with a browser and give the "
            "file's path."
        )
    if status in (404, 410):
        return InputError(f"There is nothing at {shown} ({status}). Check the address.")
    return UnavailableError(f"The server answers {status} for {shown}, which is no download.")


def _refuse_disguise(response: httpx.Response, url: str) -> None:
    """Refuse a web page, and bytes that are compressed on the way though that was not wanted."""
    name = _name(url, response.headers)
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/html" and not name.endswith((".html", ".htm")):
        raise InputError(
            f"{redact_url(url)} is a web page, not a file. Give the address of the file itself, "
            "as behind its download button."
        )
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "") and not name.endswith((".gz", ".tgz")):
        raise UnavailableError(
            f"{_host(url)} sends {name} compressed ({coding}) though that was refused, so it "
            "cannot be resumed or checked. Fetch it with a browser and give the file's path."
        )


def _validator(headers: Mapping[str, str]) -> str | None:
    """Return what If-Range may hold: a strong ETag, or a date that is strong enough."""
    etag = headers.get("etag", "")
    if etag:
        return etag if etag.startswith('"') else None
    date, modified = _date(headers.get("date")), _date(headers.get("last-modified"))
    if date is None or modified is None or date - modified < _STRONG_DATE.total_seconds():
        return None
    return headers["last-modified"]


def _date(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


def _name(url: str, headers: Mapping[str, str]) -> str:
    """Return what the server calls the file, or the last part of the address."""
    message = Message()
    message["content-disposition"] = headers.get("content-disposition", "")
    given = message.get_filename() or unquote(urlsplit(url).path)
    return PurePosixPath(given.replace("\\", "/")).name or "download"


def _host(url: str) -> str:
    return urlsplit(url).hostname or url


def _report(target: Path, url: str, headers: Mapping[str, str], part: Part) -> Download:
    return Download(
        path=target,
        name=_name(url, headers),
        url=without_query(headers["final-url"]),
        etag=headers.get("etag"),
        modified=_date(headers.get("last-modified")),
        bytes=part.size,
        resumed=part.kept,
        hashes=headers.get("x-goog-hash"),
    )
