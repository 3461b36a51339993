"""One distribution of the Python Package Index, downloaded by pip and kept."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from loragraft.errors import UnavailableError


def pip_download(requirement: str, folder: Path, *options: str) -> Path:
    """Download one distribution with pip, unless the folder has it, and return its file.

    Args:
        requirement: ``name==version``.
        folder: where downloads are kept.
        options: further options of ``pip download``.

    Raises:
        UnavailableError: pip failed; its own words are in the message.
    """
    name, version = requirement.split("==")
    pattern = f"{name.replace('-', '_')}-{version}*"
    folder.mkdir(parents=True, exist_ok=True)
    if not (found := sorted(folder.glob(pattern))):
        with tempfile.TemporaryDirectory(dir=folder) as staging:
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
            done = subprocess.run(
                [*command, "--dest", staging, *options, requirement],
                capture_output=True,
                text=True,
                check=False,
            )
            files = sorted(Path(staging).glob(pattern))
            if done.returncode or not files:
                raise UnavailableError(
                    f"pip could not download {requirement}: {done.stderr.strip()[-1000:]}\n"
                    f"Check the connection to PyPI, or put the file into {folder} yourself."
                )
            found = [files[0].rename(folder / files[0].name)]
    return found[0]
