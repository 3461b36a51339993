"""What the reference converter makes of pico checkpoints, built once a session."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.shared import build_once

PROGRAM = Path(__file__).parent / "make_reference.py"
LIMIT = 600  # seconds; it takes about 15 on two cores


@pytest.fixture(scope="session")
def references(llama_cpp_source: Path, shared_folder: Path) -> Path:
    """Folder with `NAME/checkpoint`, `NAME/reference.gguf` and `NAME/quantized.gguf` by variant."""

    def build(folder: Path) -> Path:
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, str(PROGRAM), str(llama_cpp_source), str(folder)],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return folder

    return build_once(shared_folder / "references", build)
