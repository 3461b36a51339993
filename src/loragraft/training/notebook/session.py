"""A run inside of a notebook: watched, stopped in time, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

INTERRUPTED = 130
"""What ``loragraft`` ends with when it was stopped; the same command goes on."""
_COLOURS = frozenset(("FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE"))
_GRACE_SECONDS = 600.0
"""For a checkpoint to be written, on a slow disk, before a run that was stopped is killed."""


def run_command(command: Sequence[str], hours: float | None = None) -> int:
    """Run a command and print what it says, line by line.

    Stopping the cell stops the command as Ctrl-C would, once, and waits for it: it has a session
    of its own, which no signal to the notebook reaches.

    Args:
        command: What to run.
        hours: It is stopped after so many.

    Returns:
        Its exit code; 130 also where it was stopped before it could say so.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_environment(),
        start_new_session=True,
    )
    assert process.stdout is not None
    timer = threading.Timer(3600 * (hours or 0), _interrupt, [process])
    timer.daemon = True
    if hours is not None:
        timer.start()
    with process.stdout as lines:
        try:
            for line in lines:
                sys.stdout.write(line.decode("utf-8", "replace"))
                sys.stdout.flush()
        except BaseException:
            _interrupt(process)
            _end(process)
            raise
        finally:
            timer.cancel()
    code = process.wait()
    return INTERRUPTED if code == -signal.SIGINT else code


def _environment() -> dict[str, str]:
    """Return the environment of plain text: Jupyter asks its children for colours."""
    kept = {name: value for name, value in os.environ.items() if name not in _COLOURS}
    return {**kept, "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was told to stop, and listen: whom nobody hears cannot go on."""
    try:
        process.communicate(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
