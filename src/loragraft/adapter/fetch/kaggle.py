"""Fetch from Kaggle: its own client finds the version and the link, ours downloads and unpacks.

kagglehub would unpack whatever arrives without limits, so only its credentials and its calls are
used. The link is signed anew for each run; what arrived before is gone on with all the same,
since it belongs to a dataset's version and not to a link.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.adapter.fetch.delivery import Delivery, list_files, open_parcel
from loragraft.adapter.fetch.http import download
from loragraft.adapter.fetch.limits import Limits
from loragraft.adapter.fetch.part import Download, too_large
from loragraft.adapter.fetch.retry import Retry
from loragraft.adapter.fetch.sources import Source
from loragraft.artifact.progress import Progress
from loragraft.errors import InputError, MissingExtraError, UnavailableError

if TYPE_CHECKING:
    from kagglesdk.kaggle_client import KaggleClient

CREDENTIALS_HELP = (
    "Make a token at https://www.kaggle.com/settings and set KAGGLE_API_TOKEN, or KAGGLE_USERNAME "
    "and KAGGLE_KEY, or save it as ~/.kaggle/kaggle.json."
)
_MD5 = re.compile(r"(?:^|[\s,])md5=([A-Za-z0-9+/]{22}==)")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class _Upload:
    """One version of an upload: where to get it and what Kaggle says of it."""

    version: int
    url: str
    bytes: int | None
    page: str
    updated: Any


def open_kaggle(purpose: str) -> KaggleClient:
    """Return Kaggle's client with the user's credentials, if there are any.

    Args:
        purpose: What needs it, as the subject of a sentence.

    Raises:
        MissingExtraError: If kagglehub is not installed.
        InputError: If a credentials file is broken.
    """
    try:
        from kagglehub.clients import build_kaggle_client
    except ImportError:
        raise MissingExtraError("kagglehub", "fetch", purpose) from None
    try:
        client: KaggleClient = build_kaggle_client()
    except ValueError as error:
        raise InputError(f"Kaggle's credentials cannot be read: {error}. {CREDENTIALS_HELP}") from (
            None
        )
    return client


@contextmanager
def explain_kaggle(what: str) -> Iterator[None]:
    """Turn the client's errors into ours, and keep its advice off stdout, where reports go.

    Raises:
        InputError: If there is no such thing.
        UnavailableError: If Kaggle refuses, fails or cannot be reached.
    """
    import requests

    try:
        with redirect_stdout(sys.stderr):
            yield
    except requests.HTTPError as error:
        raise _explain_status(what, error) from None
    except requests.RequestException as error:
        raise UnavailableError(
            f"Kaggle cannot be reached for {what} ({type(error).__name__}). Check the connection "
            "and try again, or fetch it with a browser and give the archive's path."
        ) from None


def _explain_status(what: str, error: Any) -> Exception:  # noqa: ANN401 - of requests
    status = error.response.status_code if error.response is not None else None
    if status in (401, 403):
        return UnavailableError(
            f"Kaggle refuses {what} ({status}): it is private, asks for a consent on its page, or "
            f"the credentials are missing or wrong. {CREDENTIALS_HELP}"
        )
    if status == 404:
        return InputError(
            f"Kaggle knows no {what}. Check the spelling, as in the address of its page."
        )
    if status == 429:
        return UnavailableError("Kaggle asks for patience (429). Try again in some minutes.")
    return UnavailableError(f"Kaggle answers {status} for {what}. Try again later.")


def fetch_kaggle(
    source: Source, work: Path, limits: Limits, progress: Progress, retry: Retry
) -> Delivery:
    """Download a dataset or a model of Kaggle into a work folder, and unpack it.

    Args:
        source: The upload.
        work: Where to; what an earlier run left there is gone on with.
        limits: What may come.
        progress: Who wants to know.
        retry: How often to try again.

    Raises:
        InputError: If there is no such upload, or it is too large.
        AdapterError: If the archive is broken or hostile.
        UnavailableError: If Kaggle refuses or cannot be reached, or the archive arrives damaged.
        MissingExtraError: If kagglehub or httpx is not installed.
    """
    with open_kaggle("Fetching from Kaggle") as client, explain_kaggle(str(source)):
        find = _find_model if source.what == "model" else _find_dataset
        upload = find(client, source)
    if upload.bytes is not None and upload.bytes > limits.total_bytes:
        raise too_large(str(source), upload.bytes, limits.total_bytes)
    got = download(
        upload.url,
        work / "kaggle.archive",
        limit=limits.total_bytes,
        identity=f"kaggle:{source.address}@{upload.version}",
        retry=retry,
        progress=progress,
    )
    _check_md5(source, got)
    name = got.name if source.what == "dataset" else f"{source.name}.tar.gz"
    folder, notes = open_parcel(got.path, name, work, limits, progress)
    return Delivery(
        folder=folder,
        files=tuple(list_files(folder)),
        revision=str(upload.version),
        origin={
            "url": upload.page,
            "downloaded_from": got.url,
            "etag": got.etag,
            "last_modified": upload.updated,
            "archive_bytes": got.bytes,
        },
        notes=tuple(notes),
        resumed=got.resumed,
    )


def _find_dataset(client: KaggleClient, source: Source) -> _Upload:
    from kagglesdk.datasets.types.dataset_api_service import (
        ApiDownloadDatasetRequest,
        ApiGetDatasetRequest,
    )

    owner, _, slug = source.address.partition("/")
    api = client.datasets.dataset_api_client
    question = ApiGetDatasetRequest()
    question.owner_slug, question.dataset_slug = owner, slug
    found = api.get_dataset(question)
    version = int(source.revision or found.current_version_number)
    wish = ApiDownloadDatasetRequest()
    wish.owner_slug, wish.dataset_slug, wish.dataset_version_number = owner, slug, version
    page = f"https://www.kaggle.com/datasets/{source.address}/versions/{version}"
    return _Upload(
        version, _link(api.download_dataset(wish), source), found.total_bytes, page,
        found.last_updated,
    )  # fmt: skip


def _find_model(client: KaggleClient, source: Source) -> _Upload:
    from kagglehub.handle import parse_model_handle
    from kagglesdk.models.types.model_api_service import (
        ApiDownloadModelInstanceVersionRequest,
        ApiGetModelInstanceRequest,
    )

    handle = parse_model_handle(source.address)
    api = client.models.model_api_client
    question = ApiGetModelInstanceRequest()
    wish = ApiDownloadModelInstanceVersionRequest()
    for request in (question, wish):
        request.owner_slug, request.model_slug = handle.owner, handle.model
        request.framework, request.instance_slug = handle.framework_enum(), handle.variation
    found = api.get_model_instance(question)
    version = wish.version_number = int(source.revision or found.version_number)
    page = f"https://www.kaggle.com/models/{source.address}/{version}"
    return _Upload(
        version, _link(api.download_model_instance_version(wish), source),
        found.total_uncompressed_bytes, page, None,
    )  # fmt: skip


def _link(response: Any, source: Source) -> str:  # noqa: ANN401 - a response of requests
    """Return where Kaggle redirects to, without reading what is there."""
    url, led = str(response.url), bool(response.history)
    response.close()
    if not led:
        raise UnavailableError(
            f"Kaggle sends {source} in a way that this version does not know. Upgrade loragraft, "
            "or fetch it with a browser and give the archive's path."
        )
    return url


def _check_md5(source: Source, got: Download) -> None:
    """Compare with the hash that Kaggle's storage names."""
    match = _MD5.search(got.hashes or "")
    if match is None:
        return
    digest = hashlib.md5(usedforsecurity=False)
    with got.path.open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    found = base64.b64encode(digest.digest()).decode()
    if found != match[1]:
        got.path.unlink()
        raise UnavailableError(
            f"{source} arrived with the MD5 {found}, but Kaggle's storage lists {match[1]}. It was "
            "deleted; run the same command again."
        )
