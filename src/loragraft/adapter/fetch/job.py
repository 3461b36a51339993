"""Fetch an adapter: bring it, record where it came from, publish it whole, verify it at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft.adapter.fetch.delivery import Delivery, folder_bytes, list_files, open_parcel
from loragraft.adapter.fetch.limits import DEFAULT_LIMITS, Limits
from loragraft.adapter.fetch.names import WORK
from loragraft.adapter.fetch.record import (
    FetchedFile,
    adopt,
    check_upstream,
    now,
    write_record,
)
from loragraft.adapter.fetch.retry import Retry
from loragraft.adapter.fetch.sources import Source, parse_source
from loragraft.adapter.fetch.urls import redact_url
from loragraft.adapter.findings import Finding, Severity, worst
from loragraft.adapter.verify import VerifyRequest, verify_adapter
from loragraft.artifact.journal import Journal
from loragraft.artifact.names import check_name
from loragraft.artifact.progress import Progress, Silent
from loragraft.artifact.publish import Staging
from loragraft.errors import BundleError, InputError, LoragraftError


@dataclass(frozen=True)
class FetchReport:
    """What was fetched, and what the checks say of it.

    Attributes:
        folder: The published folder.
        source: The source, without credentials.
        revision: The pinned revision, where the source has such.
        files: Its files, our two records left out.
        origin: What the metadata records.
        findings: What the static checks found, without a base.
        verdict: The worst of them.
        notes: Sentences for the user.
        resumed: Bytes taken over from an earlier, interrupted run.
    """

    folder: Path
    source: str
    revision: str | None
    files: tuple[FetchedFile, ...]
    origin: Mapping[str, Any]
    findings: tuple[Finding, ...]
    verdict: Severity
    notes: tuple[str, ...] = ()
    resumed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "folder": str(self.folder),
            "source": self.source,
            "revision": self.revision,
            "bytes": sum(file.bytes for file in self.files),
            "files": [{"name": f.name, "bytes": f.bytes, "sha256": f.sha256} for f in self.files],
            "origin": dict(self.origin),
            "verdict": self.verdict.value,
            "findings": [finding.as_dict() for finding in self.findings],
            "notes": list(self.notes),
            "resumed_bytes": self.resumed,
        }


def fetch(
    source: str | Source,
    out: Path,
    *,
    revision: str | None = None,
    replace: bool = False,
    include: Sequence[str] = (),
    limits: Limits = DEFAULT_LIMITS,
    retry: Retry | None = None,
    progress: Progress | None = None,
) -> FetchReport:
    """Fetch an adapter into a folder, which appears whole or not at all.

    What an interrupted run brought stays hidden beside the folder (``.NAME.staging``), and the
    same command goes on with it. What turns out to be unusable is deleted.

    Args:
        source: See :func:`~loragraft.adapter.fetch.sources.parse_source`.
        out: The folder to make.
        revision: Branch, tag, commit or version, where it does not stand in the source.
        replace: Whether a folder that loragraft wrote there gives way.
        include: Patterns of further files of a Hub repository that are wanted.
        limits: How much may come.
        retry: How often to try again what fails on the way.
        progress: Who wants to know.

    Returns:
        What was fetched. An adapter that fails its checks is published too: it is for
        ``adapter diagnose`` and ``adapter inspect`` to look at.

    Raises:
        InputError: If the source or the folder's name is unfit, or too much would come.
        AdapterError: If there is no adapter, or an archive is broken or hostile.
        BundleError: If the folder is there already.
        UnavailableError: If the source refuses, or something between here and there fails.
    """
    found = source if isinstance(source, Source) else parse_source(source, revision)
    progress = progress or Silent()
    out = Path(os.path.abspath(out))
    check_name(out.name)
    _refuse_taken(out, replace)
    _refuse_inside(out, found)
    started = now()
    with Staging(out.parent, out.name, replace=replace) as staging:
        work = _begin(staging, f"fetch 1 {_shown(found)} {sorted(include)}")
        try:
            delivery = _bring(found, work, limits, progress, retry or Retry(), include)
            files, renamed = adopt(delivery.folder, delivery.files, staging.folder, progress)
            upstream = check_upstream(staging.folder, files)
        except LoragraftError as error:
            # Where another run would end in the same way, or nothing came, nothing is kept.
            if isinstance(error, InputError) or not folder_bytes(work):
                staging.journal_path.unlink(missing_ok=True)
            raise
        shutil.rmtree(work)
        origin = write_record(staging.folder, files, _origin(found, delivery, started, upstream))
        folder = staging.publish()
    progress.begin("Checking", 0)
    findings = verify_fetched(folder, found.name)
    return FetchReport(
        folder=folder,
        source=_shown(found),
        revision=delivery.revision,
        files=tuple(files),
        origin=origin,
        findings=findings,
        verdict=worst(findings),
        notes=(*delivery.notes, *renamed),
        resumed=delivery.resumed,
    )


def verify_fetched(folder: Path, name: str) -> tuple[Finding, ...]:
    """Run the checks that need no base, the name it was had under among them."""
    return verify_adapter(VerifyRequest(folder, source_name=name)).findings


def _refuse_taken(out: Path, replace: bool) -> None:
    """Say so before anything is downloaded."""
    if os.path.lexists(out) and not replace:
        raise BundleError(
            f"{out} is there already. Give another folder with -o, --replace to swap it for what "
            "is fetched, or --check to compare it with its checksums."
        )


def _refuse_inside(out: Path, source: Source) -> None:
    if source.kind == "local" and out.resolve().is_relative_to(Path(source.address).resolve()):
        raise InputError(f"{out} lies inside {source.address}. Give a folder beside it with -o.")


def _begin(staging: Staging, key: str) -> Path:
    """Return the folder for unfinished work, which another job's is emptied for."""
    with Journal(staging.journal_path, key) as journal:
        goes_on = bool(journal.entries)
    if not goes_on:
        staging.discard()
        with Journal(staging.journal_path, key) as journal:
            journal.append({"work": WORK})
    work = staging.folder / WORK
    work.mkdir(exist_ok=True)
    for path in staging.folder.iterdir():  # moved there, but not published: brought again
        if path != work:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return work


def _bring(
    source: Source,
    work: Path,
    limits: Limits,
    progress: Progress,
    retry: Retry,
    include: Sequence[str],
) -> Delivery:
    if source.kind == "hf":
        from loragraft.adapter.fetch.hub import fetch_hub

        return fetch_hub(source, work, limits, progress, retry, include)
    if include:
        raise InputError(f"--include is for Hub repositories; {_shown(source)} is fetched whole.")
    if source.kind == "kaggle":
        from loragraft.adapter.fetch.kaggle import fetch_kaggle

        return fetch_kaggle(source, work, limits, progress, retry)
    if source.kind == "rclone":
        from loragraft.adapter.fetch.rclone import fetch_rclone

        return fetch_rclone(source, work, limits, progress)
    if source.kind == "local":
        from loragraft.adapter.fetch.local import fetch_local

        return fetch_local(source, work, limits, progress)
    return _bring_url(source, work, limits, progress, retry)


def _bring_url(
    source: Source, work: Path, limits: Limits, progress: Progress, retry: Retry
) -> Delivery:
    from loragraft.adapter.fetch.http import download

    most = min(limits.total_bytes, limits.file_bytes)
    got = download(source.address, work / "download", limit=most, retry=retry, progress=progress)
    folder, notes = open_parcel(got.path, got.name, work, limits, progress)
    return Delivery(
        folder=folder,
        files=tuple(list_files(folder)),
        revision=got.etag,
        origin={
            "url": redact_url(source.address),
            "downloaded_from": got.url,
            "etag": got.etag,
            "last_modified": got.modified,
            "downloaded_bytes": got.bytes,
        },
        notes=tuple(notes),
        resumed=got.resumed,
    )


def _shown(source: Source) -> str:
    return redact_url(str(source)) if source.kind == "https" else str(source)


def _origin(
    source: Source, delivery: Delivery, started: str, upstream: Mapping[str, Any] | None
) -> dict[str, Any]:
    came = {} if upstream is None else {"upstream_metadata": upstream}
    return {
        "source": _shown(source),
        "kind": source.kind,
        "revision": delivery.revision,
        "fetched_at": started,
        **delivery.origin,
        **came,
    }
