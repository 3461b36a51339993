"""Where results of a series lie: a folder, or nothing yet."""

from __future__ import annotations

import stat
from pathlib import Path

from loragraft.errors import InputError


def check_outputs(outputs: Path, series: str) -> None:
    """Refuse outputs that no run can lie in, before they pass for a series without runs.

    Args:
        outputs: Folder of all series; it need not be there.
        series: Name of the series' own folder in it.

    Raises:
        InputError: If one of the two is no folder, or cannot be looked into.
    """
    for folder in (outputs, outputs / series):
        try:
            there = folder.stat()
        except FileNotFoundError:
            return
        except OSError as error:
            raise _refused(folder, error.strerror or "it cannot be looked at") from None
        if not stat.S_ISDIR(there.st_mode):
            raise _refused(folder, "something else lies there")


def _refused(folder: Path, reason: str) -> InputError:
    return InputError(
        f"outputs: {folder} is no folder that results can lie in: {reason}. Name another one with "
        "--set outputs=FOLDER."
    )
