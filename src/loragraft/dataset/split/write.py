"""A split on the disk: three files and the manifest that vouches for them, written last.

Drafts are made in a hidden folder beside them and get their names by renames. A manifest whose
files are not those that it names was being replaced when the process died; reading it says so, and
the same command with ``--replace`` makes it whole.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from loragraft.artifact.files import sync_folder, write_atomically
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.jsonl import parse_object, write_jsonl
from loragraft.artifact.lock import hold_lock
from loragraft.dataset.records import parse_record, read_placed, to_json
from loragraft.dataset.split.assign import GroupBy, Item, Split, split_records
from loragraft.dataset.split.load import load_split, read_manifest
from loragraft.dataset.split.manifest import (
    Source,
    check_tag,
    file_name,
    make_manifest,
    manifest_path,
    same_split,
    spell_manifest,
)
from loragraft.dataset.split.rounding import SPLITS
from loragraft.dataset.split.shares import FRACTIONS
from loragraft.errors import InputError

_CANNOT_WRITE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT}
)
_TOLD = ("seed", "fractions", "group_by", "source")
"""What of two manifests is compared in words."""


@dataclass(frozen=True)
class Planned:
    """A split of a file that is not written yet.

    Attributes:
        source: The file of records.
        digest: Its SHA-256.
        spans: Where each record's line begins and ends, in bytes.
        split: Who goes where.
    """

    source: Path
    digest: str
    spans: Mapping[str, tuple[int, int]]
    split: Split


@dataclass(frozen=True)
class Written:
    """What :func:`write_split` did.

    Attributes:
        path: The manifest.
        manifest: Its content.
        changed: False where the very same split was there already.
    """

    path: Path
    manifest: Mapping[str, Any]
    changed: bool


def plan_split(
    source: Path,
    *,
    seed: int,
    fractions: Sequence[float | str | Fraction] = FRACTIONS,
    group_by: GroupBy | None = None,
) -> Planned:
    """Decide which record of a file goes where.

    Memory grows by some 500 bytes a record, not by its texts.

    Raises:
        InputError: If the file cannot be read or holds no task records, or as
            :func:`~loragraft.dataset.split.assign.split_records`.
    """
    if source.exists() and not source.is_file():
        raise InputError(f"{source} is no regular file; a split reads its records twice.")
    spans: dict[str, tuple[int, int]] = {}

    def members() -> Iterator[Item]:
        for line, record in read_placed(source):
            spans[record.id] = (line.start, line.stop)
            yield Item(record.id, record.task_type, record.paper_id)

    split = split_records(members(), seed=seed, fractions=fractions, group_by=group_by)
    return Planned(source, sha256_file(source), spans, split)


def write_split(
    planned: Planned,
    folder: Path,
    tag: str,
    *,
    replace: bool = False,
    check: Callable[[Mapping[str, Path]], object] | None = None,
) -> Written:
    """Write a split: ``TAG_train.jsonl``, ``TAG_val.jsonl``, ``TAG_test.jsonl`` and its manifest.

    Args:
        planned: Of :func:`plan_split`.
        folder: Where; made if missing.
        tag: The split's name.
        replace: Whether another split of that name gives way.
        check: Called with the drafts of the files before any gets its name; what it raises
            leaves everything as it was.

    Raises:
        InputError: If the name is taken, the source changed meanwhile or is one of the targets,
            or the folder cannot be written to.
        LockedError: If another process writes the same split.
        OutOfSpaceError: If the disk is full.
    """
    check_tag(tag)
    _check_targets(planned.source, folder, tag)
    with _draft_folder(folder, tag) as drafts:
        manifest = _draft(planned, drafts, tag)
        path = manifest_path(folder, tag)
        there = _is_there(folder, tag, manifest, replace=replace)
        if check is not None:
            check({name: drafts / file_name(tag, name) for name in SPLITS})
        if there:
            return Written(path, manifest, changed=False)
        write_atomically(drafts / path.name, spell_manifest(manifest))
        for name in SPLITS:
            (drafts / file_name(tag, name)).replace(folder / file_name(tag, name))
        sync_folder(folder)
        (drafts / path.name).replace(path)
        sync_folder(folder)
    return Written(path, manifest, changed=True)


def _check_targets(source: Path, folder: Path, tag: str) -> None:
    """Refuse names that a rename would lose something of, or cannot take."""
    for path in (*(folder / file_name(tag, name) for name in SPLITS), manifest_path(folder, tag)):
        if os.path.realpath(path) == os.path.realpath(source):
            raise InputError(
                f"{source} would be overwritten by its own split; choose another --tag or --output."
            )
        if path.is_dir():
            raise InputError(f"{path} is a folder; move it away or choose another --tag.")


@contextmanager
def _draft_folder(folder: Path, tag: str) -> Iterator[Path]:
    """Make the hidden folder of drafts, empty, and remove it in the end; one process at a time."""
    lock, drafts = folder / f".{tag}.lock", folder / f".{tag}.draft"
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(hold_lock(lock))
            shutil.rmtree(drafts, ignore_errors=True)  # of a process that was killed
            drafts.mkdir()
        except OSError as error:
            if error.errno not in _CANNOT_WRITE:
                raise
            raise InputError(
                f"Nothing can be written into {folder}: {error.strerror}. Choose another --output."
            ) from None
        try:
            yield drafts
        finally:
            shutil.rmtree(drafts, ignore_errors=True)
            with suppress(OSError):  # Windows lets nobody delete what is open
                lock.unlink(missing_ok=True)


def _draft(planned: Planned, drafts: Path, tag: str) -> dict[str, Any]:
    digests = {}
    with planned.source.open("rb") as file:
        for name in SPLITS:
            rows = (_row(file, planned, item) for item in planned.split.parts[name])
            digests[name] = write_jsonl(drafts / file_name(tag, name), rows)
    if sha256_file(planned.source) != planned.digest:
        raise _changed(planned)
    source = Source(planned.source.name, planned.digest)
    return make_manifest(planned.split, tag, source, digests)


def _row(file: BinaryIO, planned: Planned, item: Item) -> dict[str, Any]:
    start, stop = planned.spans[item.id]
    file.seek(start)
    try:
        record = parse_record(parse_object(file.read(stop - start).removeprefix(b"\xef\xbb\xbf")))
    except InputError:
        raise _changed(planned) from None
    if record.id != item.id:
        raise _changed(planned)
    return to_json(record)


def _changed(planned: Planned) -> InputError:
    return InputError(f"{planned.source} was changed while it was split; run the command again.")


def _is_there(folder: Path, tag: str, manifest: Mapping[str, Any], *, replace: bool) -> bool:
    """Tell whether this very split is there.

    Raises:
        InputError: If another one is, and is not to be replaced.
    """
    path = manifest_path(folder, tag)
    try:
        if not os.path.lexists(path):
            _check_names(folder, tag, manifest)
            return False
        there = read_manifest(path)
        _check_same(path, there, manifest)
        load_split(folder, tag)
    except InputError:
        if not replace:
            raise
        return False
    return True


def _check_same(path: Path, there: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    if same_split(there, manifest):
        return
    differences = ", ".join(
        f"{key} {_short(there.get(key))} there and {_short(manifest[key])} now"
        for key in _TOLD
        if there.get(key) != manifest[key]
    )
    raise InputError(
        f"{path} is there already and is another split ({differences or 'other counts'}). "
        "Choose another --tag, or give --replace."
    )


def _short(value: object) -> str:
    if isinstance(value, Mapping) and "sha256" in value:
        return f"{value.get('name')} ({str(value['sha256'])[:12]})"
    if isinstance(value, Mapping):
        return "/".join(str(item) for item in value.values())
    return str(value)


def _check_names(folder: Path, tag: str, manifest: Mapping[str, Any]) -> None:
    """Refuse files of these names that no manifest vouches for, but for what a kill left."""
    for name in SPLITS:
        path = folder / file_name(tag, name)
        if os.path.lexists(path) and not (
            path.is_file() and sha256_file(path) == manifest["files"][name]["sha256"]
        ):
            raise InputError(
                f"{path} is there already, without a manifest: loragraft did not finish it, or did "
                "not write it. Choose another --tag, or give --replace."
            )
