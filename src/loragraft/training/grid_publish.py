"""The best run of a grid under the grid's own name, with the report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from loragraft.artifact.checksums import check_checksums, write_checksums
from loragraft.artifact.files import write_atomically
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.metadata import read_metadata, write_metadata
from loragraft.artifact.publish import Staging
from loragraft.artifact.space import explain_full_disk
from loragraft.errors import BundleError
from loragraft.training.grid_report import GridReport, best_line, draw_grid, grid_markdown

GRID_NAME = "grid.json"
PICTURE_NAME = "grid.png"
CARD_NAME = "README.md"


def is_grids_own(folder: Path) -> bool:
    """Say whether a folder is a grid's result: a copy, of which nothing is lost if it gives way."""
    return (folder / GRID_NAME).is_file()


def is_same(folder: Path, report: GridReport) -> bool:
    """Say whether a folder is whole and holds this very report."""
    try:
        there = json.loads((folder / GRID_NAME).read_bytes())
        return bool(there == report.to_json()) and not check_checksums(folder)
    except (OSError, ValueError, BundleError):
        return False


def publish_best(staging: Staging, best: Path, report: GridReport) -> Path:
    """Copy the best run's folder, add the report, and publish it as the grid's.

    Args:
        staging: Of the grid's name.
        best: The run's folder.
        report: Of the grid.

    Returns:
        The published folder.

    Raises:
        BundleError: If the name was taken meanwhile.
        OutOfSpaceError: If the disk is full.
    """
    folder = staging.folder
    with explain_full_disk(folder):
        shutil.copytree(best, folder, dirs_exist_ok=True)
        _write_report(folder, report)
        metadata = read_metadata(folder)
        line = best_line(report)
        write_metadata(
            folder,
            {
                **metadata,
                "experiment_id": report.experiment_id,
                "grid": {"run": best.name, "chosen_by": "validation loss",
                         "runs": len(report.lines),
                         "validation_loss": None if line is None else line.validation_loss},
            },
        )  # fmt: skip
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        names = {path.relative_to(folder).as_posix(): path for path in files}
        names.pop("checksums.txt", None)
        write_checksums(folder, {name: sha256_file(path) for name, path in names.items()})
    return staging.publish()


def _write_report(folder: Path, report: GridReport) -> None:
    text = json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n"
    write_atomically(folder / GRID_NAME, text.encode())
    draw_grid(report, folder / PICTURE_NAME)
    card = folder / CARD_NAME
    before = card.read_text(encoding="utf-8") if card.is_file() else ""
    whole = f"{before.rstrip()}\n\n{grid_markdown(report, PICTURE_NAME)}".lstrip()
    write_atomically(card, whole.encode())
