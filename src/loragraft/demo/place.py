"""The demo's workspace: any folder, or the checkout that loragraft runs from as it is."""

from __future__ import annotations

from pathlib import Path

from loragraft.shipped import shipped_folder
from loragraft.workspace import make_workspace


def make_place(folder: Path) -> tuple[str, ...]:
    """Make a folder a workspace of the demo; nothing that is there is changed.

    Returns:
        Files that were there already with another content, and are used as they are.

    Raises:
        InputError: If no workspace can be made there.
        UnavailableError: If the installation lacks its examples, or the disk is full.
    """
    shipped = shipped_folder("configs").parent
    if folder.is_dir() and folder.samefile(shipped):
        return ()
    return make_workspace(folder).kept
