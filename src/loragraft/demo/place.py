"""The demo's workspace: configurations and the example, each only where it is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

from loragraft.artifact.space import explain_full_disk
from loragraft.shipped import shipped_folder

EXAMPLE_PARTS = ("science", "smollm2-lora")


def make_place(folder: Path) -> None:
    """Make a folder a workspace of the demo; nothing that is there is changed.

    Raises:
        UnavailableError: If the installation lacks its examples, or the disk is full.
    """
    examples = shipped_folder("examples")
    with explain_full_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for part in EXAMPLE_PARTS:
            copy_missing(examples / part, folder / "examples" / part)
        copy_missing(shipped_folder("configs"), folder / "configs")


def copy_missing(source: Path, target: Path) -> None:
    """Copy a folder's files that the target lacks."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_file() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            part = place.with_name(f".{place.name}.part")
            shutil.copyfile(path, part)
            part.replace(place)
