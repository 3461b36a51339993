"""Work that may crash runs in a child process; its end is explained in words.

llama.cpp aborts the process on some broken files, and a system short of memory kills it: neither
may take the export with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import loragraft
from loragraft.errors import CheckFailedError

LAST_LINES = 6
"""Lines of a child's errors that are worth showing."""


def child_command(module: str, arguments: Sequence[str]) -> list[str]:
    """Return the command that runs one of our modules with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def child_environment() -> dict[str, str]:
    """Return the environment in which a child finds this very package."""
    folder = str(Path(loragraft.__file__).resolve().parents[1])
    path = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": f"{folder}{os.pathsep}{path}" if path else folder,
        "PYTHONSAFEPATH": "1",
        "PYTHONIOENCODING": "utf-8",
    }


def run_child(command: Sequence[str], *, timeout: float, purpose: str) -> dict[str, Any]:
    """Run a child that prints one JSON object, and return that.

    Args:
        command: What to run.
        timeout: Seconds after which it is killed.
        purpose: What it does, as the subject of a sentence.

    Raises:
        CheckFailedError: If it fails, is killed, hangs or prints no JSON; with its last words.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            env=child_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CheckFailedError(
            f"{purpose} took more than {timeout:g} seconds and was stopped. The machine is busy "
            "or the file makes llama.cpp hang: try again on an idle machine."
        ) from None
    errors = done.stderr.decode("utf-8", "replace")
    if done.returncode != 0:
        raise CheckFailedError(explain_exit(purpose, done.returncode, errors))
    try:
        value = json.loads(done.stdout.decode("utf-8").strip().splitlines()[-1])
    except (ValueError, IndexError):
        value = None
    if not isinstance(value, dict):
        raise CheckFailedError(f"{purpose} ended without an answer.{last_words(errors)}")
    return value


def last_words(errors: str) -> str:
    """Return the last lines of a child's errors as a sentence, or nothing."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return " Its last lines: " + " | ".join(lines[-LAST_LINES:]) if lines else ""


def explain_exit(purpose: str, code: int, errors: str) -> str:
    """Say how a child ended.

    Args:
        purpose: What it did, as the subject of a sentence.
        code: Its exit status; negative for a signal, as subprocess has it.
        errors: What it wrote to stderr.
    """
    number = -code if code < 0 else code - 128 if code > 128 else 0
    try:
        name = signal.Signals(number).name if number else ""
    except ValueError:
        name = ""
    if name == "SIGKILL":
        how = (
            "was killed (SIGKILL), most likely by the system because memory ran out: close other "
            "programs or choose a smaller quantization"
        )
    elif name in ("SIGABRT", "SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE"):
        how = f"crashed ({name}): the file is broken, or llama.cpp cannot take it"
    elif name:
        how = f"was ended by {name}"
    else:
        how = f"failed with status {code}"
    return f"{purpose} {how}.{last_words(errors)}"
