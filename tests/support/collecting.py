"""Collection in a process of its own, to be killed at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.apify_server import ACTOR, KEY

INPUT = {"searchTerms": ["tide lang:en"]}


class Notes:
    """A progress that remembers what it is told."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.notes: list[str] = []
        self.done = 0

    def begin(self, stage: str, total: int, unit: str = "") -> None:
        """Start to count."""
        self.done = 0

    def advance(self, count: int) -> None:
        """Count."""
        self.done += count

    def note(self, text: str) -> None:
        """Remember a sentence."""
        self.notes.append(text)

    def end(self) -> None:
        """Do nothing."""


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def fast() -> Any:  # noqa: ANN401 - loragraft is imported where it is used, for the coverage of forks
    """Return a pace without waiting."""
    from loragraft.adapter.fetch.retry import Retry
    from loragraft.dataset.collect.request import Pace

    return Pace(poll=0.005, settle=0.005, retry=Retry(attempts=4, first=0.005, longest=0.02))


def collect(url: str, out: Path, **options: Any) -> Any:  # noqa: ANN401
    """Collect by the local server, agreeing to everything."""
    from loragraft.artifact.secret import Secret
    from loragraft.dataset.collect.apify import collect_apify
    from loragraft.dataset.collect.request import ApifyRequest

    progress = options.pop("progress", None)
    agree = options.pop("agree", lambda actor, cost: True)
    given = {"actor": ACTOR, "run_input": INPUT, "page": 5, **options}
    request = ApifyRequest(out, **given)
    return collect_apify(request, Secret(KEY), agree=agree, url=url, pace=fast(), progress=progress)


def _child(url: str, out: Path, options: dict[str, Any], die_at: tuple[str, int] | None) -> None:
    from loragraft.dataset.collect import store

    store.SYNCHRONOUS = "OFF"  # it is the process that ends, not the power
    store.os.fsync = lambda handle: None  # type: ignore[assignment]
    if die_at is not None:
        _die(*die_at)
    collect(url, out, **options)


def _die(step: str, count: int) -> None:
    """End this process, as by a power cut, when it takes a step for so many times."""
    from loragraft.dataset.collect import store

    left = [count]

    def counted(original: Any) -> Any:  # noqa: ANN401
        def stepping(*arguments: Any) -> Any:  # noqa: ANN401
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments)

        return stepping

    if step == "flush":
        store.os.fsync = counted(os.fsync)  # type: ignore[assignment]
    elif step == "commit":
        store.Store.add = _committing(counted)  # type: ignore[method-assign]
    else:
        store.Store._publish = counted(store.Store._publish)  # type: ignore[method-assign]


def _committing(counted: Any) -> Any:  # noqa: ANN401
    """Die right behind a commit, before anything else is done."""
    from loragraft.dataset.collect.store import Store

    add, after = Store.add, counted(lambda: None)

    def adding(*arguments: Any, **more: Any) -> Any:  # noqa: ANN401
        added = add(*arguments, **more)
        after()
        return added

    return adding


class Forge:
    """A process that has imported all it needs and forks a collection at each order."""

    def __init__(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.collecting"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def start(
        self,
        url: str,
        out: Path,
        die_at: tuple[str, int] | None = None,
        **options: Any,  # noqa: ANN401
    ) -> int:
        """Start a collection in a process of its own; return its id."""
        return int(self._ask(json.dumps([url, str(out), options, die_at])))

    def wait(self) -> int:
        """Wait for the last one; return its exit code, or minus the signal that ended it."""
        return int(self._ask("wait"))

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        return self._process.stdout.readline()

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def _serve() -> None:
    """Fork a collection for each line of stdin, and tell how it ended when asked."""
    from loragraft.dataset.collect import apify, sending  # noqa: F401 - children shall have them

    child = 0
    for line in sys.stdin:
        if line.strip() == "wait":
            answer = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        else:
            url, out, options, die_at = json.loads(line)
            if not (child := os.fork()):
                _child(url, Path(out), options, die_at)
                os._exit(0)
            answer = child
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
