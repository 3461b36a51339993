"""What leaves a hosted machine at the end: the trained adapter in one archive."""

from __future__ import annotations

import gzip
from pathlib import Path

from loragraft.artifact.checksums import check_checksums
from loragraft.artifact.hashing import sha256_file
from loragraft.errors import BundleError
from loragraft.training.notebook.tar import Packed, draft_of, write_tar


def pack_result(folder: Path, into: Path) -> Packed:
    """Pack a published adapter as ``NAME.tar.gz``; the same files give the same bytes.

    Args:
        folder: What ``train run`` published.
        into: The folder that the archive goes into.

    Raises:
        BundleError: If a file is not what ``checksums.txt`` says.
        OutOfSpaceError: If the disk is full.
    """
    problems = check_checksums(folder)
    if problems:
        raise BundleError(
            f"{folder} is not what its checksums say: {problems[0].message} Train it again, or "
            "fetch it from where it was trained."
        )
    path = into / f"{folder.name}.tar.gz"
    # Neither name nor time: they would make every archive another one.
    with (
        draft_of(path) as draft,
        draft.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
    ):
        write_tar(packed, folder.parent, sorted(p for p in folder.rglob("*") if p.is_file()))
    return Packed(path, path.stat().st_size, sha256_file(path))
