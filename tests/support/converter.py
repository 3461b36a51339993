"""llama.cpp's converter script, run again and again in one process.

Its imports (torch, transformers) take several times as long as its work on a small model. As a
program this is that process: `python -m tests.support.converter SCRIPT` reads a JSON list of
arguments a line, and answers each with what the script said where it failed.
"""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import subprocess
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULE = "tests.support.converter"


class Converter:
    """A running converter; close it when done."""

    def __init__(self, source: Path) -> None:
        """Start the process, which imports nothing heavy yet.

        Args:
            source: Folder of llama.cpp's source.
        """
        command = [sys.executable, "-m", MODULE, str(source / "convert_hf_to_gguf.py")]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )

    def __call__(self, checkpoint: Path, out: Path, *options: str) -> None:
        """Convert a checkpoint.

        Args:
            checkpoint: Its folder.
            out: The file to be written.
            options: More of the script's arguments.

        Raises:
            RuntimeError: If the script fails.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        arguments = [str(checkpoint), "--outfile", str(out), *options]
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        failed = json.loads(answer)["failed"] if answer else "the converter's process ended"
        if failed:
            raise RuntimeError(failed[-4000:])

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def run(script: str, arguments: list[str]) -> str:
    """Run the script in this process; return what it said if it failed, else nothing."""
    sys.argv = [script, *arguments]
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            return said.getvalue() + f"exit {end.code}" if end.code else ""
        except Exception:
            return said.getvalue() + traceback.format_exc()
    return ""


def main(script: str) -> None:
    """Answer requests until there are no more."""
    sys.path.insert(0, str(Path(script).parent))  # as for every script: its own modules lie there
    for line in sys.stdin:
        print(json.dumps({"failed": run(script, json.loads(line))}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
