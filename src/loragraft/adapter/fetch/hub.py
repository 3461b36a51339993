"""Fetch from the Hugging Face Hub through its client: pinned, resumed and checked by hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from loragraft.adapter.fetch.delivery import Delivery
from loragraft.adapter.fetch.growing import GrowingFile
from loragraft.adapter.fetch.limits import Limits
from loragraft.adapter.fetch.names import SafeNames
from loragraft.adapter.fetch.part import too_large
from loragraft.adapter.fetch.retry import PASSING, Retry
from loragraft.adapter.fetch.sources import Source
from loragraft.adapter.locate import CONFIG_NAME
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.progress import Progress
from loragraft.artifact.space import format_bytes, require_disk
from loragraft.checkpoint.hub import explain_hub, is_network_error
from loragraft.errors import AdapterError, InputError, UnavailableError

if TYPE_CHECKING:
    from huggingface_hub.hf_api import DatasetInfo, ModelInfo

PATTERNS = (
    "adapter*", "*/adapter*", "*.json", "*.jinja", "*.model", "merges.txt", "*/merges.txt",
    "vocab.txt", "*/vocab.txt", "*.md", "LICENSE*", "checksums.txt", "*/checksums.txt",
    "*/model.safetensors",
)  # fmt: skip
"""What an adapter consists of, in any sub-folder ("*" also matches "/"): weights,
configurations, tokenizer and template, card and licence, and the weights of a
SentenceTransformer's further modules (``2_Dense/model.safetensors``)."""

_LARGEST_TEXT = 64 << 20
"""Bytes of a JSON file or a card: a tokenizer.json has up to 35 MB, beyond are training data."""
_LISTED = 6
_RECORDED = 200
"""Files left out that are recorded by name: some repositories hold thousands."""
PARTS = ".parts"
"""Folder of files that have begun to arrive; no file of a repository is wanted from it."""


@dataclass(frozen=True)
class HubFile:
    """One file of a repository, as the Hub lists it.

    Attributes:
        name: Its path in the repository.
        size: Bytes.
        sha256: Its hash, for large files.
        blob: Its git blob id, for small ones.
    """

    name: str
    size: int
    sha256: str | None
    blob: str | None


def fetch_hub(
    source: Source,
    work: Path,
    limits: Limits,
    progress: Progress,
    retry: Retry,
    include: Sequence[str] = (),
) -> Delivery:
    """Download an adapter's files of a repository into a work folder.

    Args:
        source: The repository.
        work: Where to; what an earlier run left there is gone on with.
        limits: What may come.
        progress: Who wants to know.
        retry: How often to try again.
        include: Patterns of further files that are wanted.

    Raises:
        InputError: If there is no such repository or revision, or it is too large.
        AdapterError: If it holds no adapter.
        UnavailableError: If it is gated, cannot be reached, or arrives damaged.
    """
    from huggingface_hub import constants

    with explain_hub(str(source), "could not be fetched"):
        info = _insist(lambda: _describe(source), retry, progress)
    files = _files(info)
    wanted = [file for file in files if _is_wanted(file, include)]
    _require_adapter(source, files, wanted)
    _check_limits(source, wanted, limits)
    folder = work / "hub"
    folder.mkdir(parents=True, exist_ok=True)
    resumed = sum(_there(folder, file) for file in wanted)
    _download(source, str(info.sha), wanted, folder, retry, progress)
    _check_hashes(source, wanted, folder)
    left = [file for file in files if file not in wanted]
    return Delivery(
        folder=folder,
        files=tuple(file.name for file in wanted),
        revision=str(info.sha),
        origin={
            "repository": source.address,
            "repository_type": source.what,
            "endpoint": constants.ENDPOINT,
            "last_modified": info.last_modified,
            "left_out": [{"name": file.name, "bytes": file.size} for file in left[:_RECORDED]],
            "left_out_files": len(left),
        },
        notes=tuple(_notes(left)),
        resumed=resumed,
    )


def _there(folder: Path, file: HubFile) -> int:
    """Return how many bytes of a file an earlier run has brought."""
    return file.size if _has_size(folder / file.name, file.size) else _part(folder, file).size


def _describe(source: Source) -> ModelInfo | DatasetInfo:
    """Ask for the commit that the revision stands for, and its files."""
    from huggingface_hub import HfApi

    api = HfApi(library_name="loragraft")
    ask = api.dataset_info if source.what == "dataset" else api.model_info
    return ask(source.address, revision=source.revision, files_metadata=True)


def _files(info: ModelInfo | DatasetInfo) -> list[HubFile]:
    return [
        HubFile(s.rfilename, s.size or 0, s.lfs.sha256 if s.lfs else None, s.blob_id)
        for s in info.siblings or ()
    ]


def _is_wanted(file: HubFile, include: Sequence[str]) -> bool:
    if _matches(file.name, include):
        return True
    is_text = file.name.endswith((".json", ".md"))
    return _matches(file.name, PATTERNS) and not (is_text and file.size > _LARGEST_TEXT)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _require_adapter(source: Source, files: list[HubFile], wanted: list[HubFile]) -> None:
    """Refuse a repository without an adapter by what it holds instead."""
    if any(Path(file.name).name == CONFIG_NAME for file in wanted):
        return
    if any(Path(file.name).name.startswith("adapter") for file in wanted):
        return
    largest = sorted(files, key=lambda file: -file.size)[:_LISTED]
    holds = ", ".join(file.name for file in largest) or "nothing"
    raise AdapterError(
        f"{source} holds no adapter: neither {CONFIG_NAME} nor a file adapter*. It holds {holds}. "
        "Check the name and the revision, or name further files with --include."
    )


def _check_limits(source: Source, wanted: list[HubFile], limits: Limits) -> None:
    names = SafeNames()
    for file in wanted:
        names.add(file.name)
        if file.size > limits.file_bytes:
            raise too_large(file.name, file.size, limits.file_bytes)
    total = sum(file.size for file in wanted)
    if total > limits.total_bytes:
        raise too_large(str(source), total, limits.total_bytes)
    if len(wanted) > limits.files:
        raise InputError(
            f"{source} has {len(wanted)} files that could belong to an adapter; at most "
            f"{limits.files} are taken. Check that it is the one you mean."
        )


_Result = TypeVar("_Result")


def _insist(action: Callable[[], _Result], retry: Retry, progress: Progress) -> _Result:
    """Try again what fails for a moment: the Hub's client itself gives up at a 5xx or a reset."""
    failures = 0
    while True:
        try:
            return action()
        except Exception as error:
            failures += 1
            if failures >= retry.attempts or not _is_passing(error):
                raise
            progress.note(f"The Hub: {type(error).__name__}. Trying again.")
            retry.wait(failures, None)


def _is_passing(error: Exception) -> bool:
    """Whether the client's error may be gone the next time."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    response = getattr(error, "response", None)
    if response is not None:
        return bool(response.status_code in PASSING)
    if isinstance(error, OfflineModeIsEnabled):
        return False
    if isinstance(error, OSError):
        return isinstance(error, (ConnectionError, TimeoutError))
    return is_network_error(error)


def _download(
    source: Source,
    commit: str,
    wanted: list[HubFile],
    folder: Path,
    retry: Retry,
    progress: Progress,
) -> None:
    """Bring the files that are not there yet, one after the other."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    missing = [file for file in wanted if not _has_size(folder / file.name, file.size)]
    total = sum(file.size for file in missing) - sum(_part(folder, f).size for f in missing)
    require_disk(folder, total, "The download")
    progress.begin(f"Downloading {source.address}", total)
    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        for file in missing:
            with explain_hub(str(source), "could not be fetched whole"):
                _bring_file(source, commit, file, folder, retry, progress)
    finally:
        if shown:
            enable_progress_bars()


def _bring_file(
    source: Source, commit: str, file: HubFile, folder: Path, retry: Retry, progress: Progress
) -> None:
    """Bring one file, or the rest of it.

    ``snapshot_download`` throws a part away when its process ends (read in huggingface_hub 2.4),
    and an adapter of some GiB should survive that: so its inner function is called.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    url = hf_hub_url(source.address, file.name, repo_type=source.what, revision=commit)
    part = _part(folder, file)
    part.path.parent.mkdir(parents=True, exist_ok=True)

    def bring() -> None:
        with GrowingFile(part.path, file.size, progress) as growing:
            http_get(
                url,
                growing,
                resume_size=growing.tell(),
                headers=build_hf_headers(library_name="loragraft"),
                expected_size=file.size,
            )

    if part.size > file.size:  # of no use
        part.path.unlink()
    if part.size < file.size or not part.path.exists():
        _insist(bring, retry, progress)
    target = folder / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    part.path.replace(target)


@dataclass(frozen=True)
class _Part:
    """The bytes of a file that are there so far, under the hash of its content."""

    path: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0


def _part(folder: Path, file: HubFile) -> _Part:
    key = file.sha256 or file.blob or file.name
    name = hashlib.sha256(f"{file.name}\0{key}".encode()).hexdigest()
    return _Part(folder / PARTS / f"{name[:32]}.part")


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _check_hashes(source: Source, wanted: list[HubFile], folder: Path) -> None:
    """Compare what arrived with what the Hub lists; a damaged file is deleted."""
    for file in wanted:
        path = folder / file.name
        if not _has_size(path, file.size):
            raise UnavailableError(
                f"{file.name} of {source} did not arrive whole. Run the same command again: it "
                "goes on from there."
            )
        found, expected = _hash(path, file)
        if expected is not None and found != expected:
            path.unlink()
            raise UnavailableError(
                f"{file.name} of {source} arrived with the hash {found}, but the Hub lists "
                f"{expected}. It was deleted; run the same command again."
            )


def _hash(path: Path, file: HubFile) -> tuple[str, str | None]:
    """Return a file's hash, and the one it must have, of the kind that the Hub lists."""
    if file.sha256 is not None:
        return sha256_file(path), file.sha256
    if file.blob is None or len(file.blob) != 40:
        return "", None
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest(), (
        file.blob
    )


def _notes(left: list[HubFile]) -> list[str]:
    if not left:
        return []
    largest = sorted(left, key=lambda file: -file.size)[:_LISTED]
    shown = ", ".join(file.name for file in largest)
    more = ", …" if len(left) > len(largest) else ""
    total = format_bytes(sum(file.size for file in left))
    return [
        f"{len(left)} files ({total}) do not belong to an adapter and stay there: {shown}{more}"
    ]
