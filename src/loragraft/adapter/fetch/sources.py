"""From what a user types to a source: where an adapter is to be had, and by which way."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from loragraft.adapter.fetch.urls import check_url, redact_url
from loragraft.errors import InputError

Kind = Literal["hf", "kaggle", "rclone", "https", "local"]

_HUB = re.compile(
    r"(?:(?P<type>datasets|models)/)?(?P<id>[\w-][\w.-]*/[\w-][\w.-]*?)(?:@(?P<revision>[\w./-]+))?"
)
_SLUG = r"[A-Za-z0-9][\w.-]*"
_DATASET = re.compile(
    rf"(?:datasets/)?(?P<id>{_SLUG}/{_SLUG}?)(?:(?:@|/versions/)(?P<revision>\d+))?"
)
_MODEL = re.compile(
    rf"(?:models/)?(?P<id>{_SLUG}/{_SLUG}/{_SLUG}/{_SLUG}?)(?:[@/](?P<revision>\d+))?"
)
# A remote's name as rclone defines it. Neither a leading ":" nor a comma is taken: both begin
# rclone's connection strings, which can name programs to run.
_REMOTE = re.compile(r"\w[\w.+@ -]*:(?P<path>[^\0]*)")
_HUB_PAGE = re.compile(r"/(?P<id>[^/]+/[^/]+|datasets/[^/]+/[^/]+)(?:/tree/(?P<revision>[^/]+))?/?")
_KAGGLE_PAGE = re.compile(
    r"/(?P<id>datasets/[^/]+/[^/]+(?:/versions/\d+)?|models/[^/]+/[^/]+/[^/]+/[^/]+(?:/\d+)?)/?"
)
_FORMS = (
    "hf:owner/name[@revision], kaggle:owner/dataset, rclone:remote:path, https://..., a folder "
    "or an archive"
)


@dataclass(frozen=True)
class Source:
    """Where an adapter is fetched from.

    Attributes:
        kind: Which way.
        address: The repository, dataset, remote path, URL or local path.
        what: Whether a Hub repository or Kaggle upload is a model or a dataset.
        revision: Branch, tag or commit (Hub), version number (Kaggle); the newest where None.
    """

    kind: Kind
    address: str
    what: Literal["model", "dataset", "other"] = "other"
    revision: str | None = None

    def __str__(self) -> str:
        """Spell the source as a user would."""
        if self.kind in ("https", "local"):
            return self.address
        prefix = "datasets/" if (self.kind, self.what) == ("hf", "dataset") else ""
        suffix = f"@{self.revision}" if self.revision else ""
        return f"{self.kind}:{prefix}{self.address}{suffix}"

    @property
    def name(self) -> str:
        """Its last name, from which one can often read what it was made of."""
        address = urlsplit(self.address).path if self.kind == "https" else self.address
        parts = [part for part in re.split(r"[/\\:]", address) if part]
        return parts[-1] if parts else self.address


def parse_source(text: str, revision: str | None = None) -> Source:
    """Read what a user typed.

    Pages of a repository on huggingface.co and of a dataset or model on kaggle.com are taken for
    the repository itself, and ``owner/name`` that is no path here for one on the Hub.

    Args:
        text: One of the forms above, or an existing path.
        revision: As in :class:`Source`, where it does not stand in the text.

    Raises:
        InputError: If it is none of the forms, or a revision is given twice or where there are
            none.
    """
    source = _parse(text)
    if revision is None:
        return source
    if source.kind not in ("hf", "kaggle"):
        shown = redact_url(text) if source.kind == "https" else text
        raise InputError(f"{shown} has no revisions; {revision!r} means nothing there.")
    if source.revision not in (None, revision):
        raise InputError(f"{text} names the revision {source.revision}, not {revision}. Give one.")
    if source.kind == "kaggle" and not revision.isdecimal():
        raise InputError(f"Kaggle's versions are numbers, not {revision!r}.")
    return replace(source, revision=revision)


def _parse(text: str) -> Source:
    scheme, _, rest = text.partition(":")
    if scheme == "hf":
        return _hub(rest, text)
    if scheme == "kaggle":
        return _kaggle(rest, text)
    if scheme == "rclone":
        return _rclone(rest, text)
    if scheme.lower() in ("https", "http"):
        url = check_url(text)
        return _page(url) or Source("https", url)
    path = Path(text).expanduser()
    if text and path.exists():
        return Source("local", str(path))
    if _HUB.fullmatch(text) and not text.startswith(("datasets/", "models/")):
        return _hub(text, text)
    raise InputError(f"{text!r} does not exist, and names no source. Sources: {_FORMS}.")


def _hub(address: str, text: str) -> Source:
    match = _HUB.fullmatch(address)
    if match is None:
        raise InputError(f"{text!r} is no repository. Expected hf:owner/name or hf:owner/name@rev.")
    what: Literal["model", "dataset"] = "dataset" if match["type"] == "datasets" else "model"
    return Source("hf", match["id"], what, match["revision"])


def _kaggle(address: str, text: str) -> Source:
    match = _MODEL.fullmatch(address)
    if match and match["id"].split("/")[2] != "versions":  # else a dataset's version
        return Source("kaggle", match["id"], "model", match["revision"])
    if match := _DATASET.fullmatch(address):
        return Source("kaggle", match["id"], "dataset", match["revision"])
    raise InputError(
        f"{text!r} is no Kaggle upload. Expected kaggle:owner/dataset[@version], or "
        "kaggle:owner/model/framework/variation[@version] for a model."
    )


def _rclone(address: str, text: str) -> Source:
    match = _REMOTE.fullmatch(address)
    if match is None:
        raise InputError(
            f"{text!r} is no place of rclone. Expected rclone:remote:path, with a remote that "
            "`rclone listremotes` shows."
        )
    return Source("rclone", address)


def _page(url: str) -> Source | None:
    """Recognise the page of a repository, from which no file would come."""
    parts = urlsplit(url)
    if parts.hostname in ("huggingface.co", "hf.co") and (match := _HUB_PAGE.fullmatch(parts.path)):
        revision = f"@{match['revision']}" if match["revision"] else ""
        return _hub(f"{match['id']}{revision}", url)
    if parts.hostname in ("kaggle.com", "www.kaggle.com") and (
        match := _KAGGLE_PAGE.fullmatch(parts.path)
    ):
        return _kaggle(match["id"], url)
    return None
