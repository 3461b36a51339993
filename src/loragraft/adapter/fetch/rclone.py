"""Fetch from any storage that rclone knows, through the rclone the user has set up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from loragraft.adapter.fetch.archive import archive_kind
from loragraft.adapter.fetch.delivery import Delivery, list_files, open_parcel, watch_growth
from loragraft.adapter.fetch.limits import Limits
from loragraft.adapter.fetch.part import too_large
from loragraft.adapter.fetch.sources import Source
from loragraft.artifact.progress import Progress
from loragraft.artifact.space import require_disk
from loragraft.errors import InputError, UnavailableError

_SIZE_SECONDS = 600
"""Listing a large bucket takes minutes."""
_NOT_FOUND = ("not found", "didn't find section", "doesn't exist", "no such")
_SHOWN = 3


def fetch_rclone(source: Source, work: Path, limits: Limits, progress: Progress) -> Delivery:
    """Copy a remote folder or file; an archive is unpacked.

    Args:
        source: The remote path.
        work: Where to; files that an earlier run has copied are not copied again.
        limits: What may come.
        progress: Who wants to know.

    Raises:
        InputError: If there is nothing there, or too much.
        AdapterError: If an archive is broken or hostile.
        UnavailableError: If rclone is not installed, or fails.
    """
    program = shutil.which("rclone")
    if program is None:
        raise UnavailableError(
            f"{source} needs rclone, which is not installed. Install it from your system's "
            "packages or https://rclone.org, set up the remote with `rclone config`, and try again."
        )
    count, size = _measure(program, source)
    if not count:
        raise InputError(f"There are no files at {source}. Look with `rclone lsf`.")
    if size > limits.total_bytes:
        raise too_large(str(source), size, limits.total_bytes)
    if count > limits.files:
        raise InputError(f"{source} holds {count} files; at most {limits.files} are taken.")
    folder = work / "rclone"
    folder.mkdir(parents=True, exist_ok=True)
    require_disk(folder, size, "The copy")
    with watch_growth(folder, f"Copying {source.address}", size, progress):
        command = ["copy", "--checksum", "--", source.address, str(folder)]
        _run(program, command, source, None)
    files = list_files(folder)
    notes: list[str] = []
    if len(files) == 1 and archive_kind(folder / files[0]) is not None:
        path = folder / files[0]
        folder, notes = open_parcel(path, path.name, work, limits, progress)
    return Delivery(
        folder, tuple(list_files(folder)), origin={"remote": source.address}, notes=tuple(notes)
    )


def _measure(program: str, source: Source) -> tuple[int, int]:
    """Return the number of files and their bytes, before anything is copied."""
    said = _run(program, ["size", "--json", "--", source.address], source, _SIZE_SECONDS)
    try:
        value = json.loads(said)
        return int(value["count"]), int(value["bytes"])
    except (ValueError, KeyError, TypeError):
        raise UnavailableError(
            f"rclone says {said.strip()[:200]!r} where the size of {source} was expected. "
            "Upgrade rclone."
        ) from None


def _run(program: str, arguments: Sequence[str], source: Source, timeout: float | None) -> str:
    """Run rclone; return what it prints."""
    try:
        done = subprocess.run(
            [program, "--use-json-log", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            # Without this a password-protected configuration would wait for a keyboard.
            env={**os.environ, "RCLONE_ASK_PASSWORD": "false"},
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(
            f"rclone did not answer about {source} within {timeout:g} s. Check the remote with "
            "`rclone lsf`."
        ) from None
    except OSError as error:
        raise UnavailableError(f"{program} cannot be run: {error.strerror or error}.") from None
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "replace")
    words = _complaints(done.stderr.decode("utf-8", "replace"))
    message = f"rclone could not read {source}: {words or f'it ended with {done.returncode}'}."
    if any(sign in words.lower() for sign in _NOT_FOUND):
        raise InputError(f"{message} Check the name with `rclone listremotes` and `rclone lsf`.")
    raise UnavailableError(
        f"{message} Check the remote with `rclone lsf`, then run the same command again: files "
        "that arrived are not copied twice."
    )


def _complaints(stderr: str) -> str:
    """Return the last different errors among rclone's log lines."""
    found: dict[str, None] = {}
    for line in stderr.splitlines():
        try:
            entry = json.loads(line)
            if entry.get("level") in ("error", "critical", "fatal"):
                found[" ".join(str(entry.get("msg", "")).split())] = None
        except (ValueError, AttributeError):
            found[line.strip()] = None
    return "; ".join([words for words in found if words][-_SHOWN:]).rstrip(".")
