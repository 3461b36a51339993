"""A run that is killed at every kind of moment: started by test_killed.py as a program of its own.

    python -m tests.training.killed BASE FOLDER

The libraries are imported once; each attempt is a fork of this process, which computes nothing
itself, and ends by SIGKILL at its moment. Prints what was left each time, as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import loragraft.training.attempt as attempt
import loragraft.training.publish as publish
import loragraft.training.trainer as trainer
from loragraft.training.run import train
from tests.support.training import Heard, small_config

OPTIMISER = {"batch": 2, "accumulation": 2, "epochs": 4, "packing": True, "max_length": 64}


def kill(*_: object, **__: object) -> NoReturn:
    """End this process as the system does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def at_call(module: Any, name: str, count: int, before: Callable[..., object] = print) -> None:  # noqa: ANN401
    """Die when a function is called for the n-th time, doing something else before."""
    real, calls = getattr(module, name), []

    def dying(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        calls.append(name)
        if len(calls) == count:
            before(*arguments)
            kill()
        return real(*arguments, **named)

    setattr(module, name, dying)


def cut(checkpoint: Path) -> None:
    """Leave a checkpoint as a death in the middle of writing does."""
    path = checkpoint / "optimizer.pt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (checkpoint / "rng_state.pth").unlink()


def nothing(*_: object) -> None:
    """Do nothing."""


MOMENTS: dict[str, tuple[int | None, Callable[[], None]]] = {
    "before any checkpoint": (2, nothing),
    "in the first checkpoint": (None, lambda: at_call(trainer, "seal", 1, cut)),
    "between checkpoints": (5, nothing),
    "whole but not sealed": (None, lambda: at_call(trainer, "seal", 1, nothing)),
    "before old ones are deleted": (None, lambda: at_call(trainer, "drop_old", 2, nothing)),
    "in the draft": (None, lambda: at_call(publish, "write_checksums", 1, nothing)),
    "in taking the draft over": (None, lambda: at_call(publish.os, "replace", 4, nothing)),
    "never": (None, nothing),
}
"""Where each attempt dies: after a step, or where the function arranges it."""


def run_once(base: str, folder: Path, step: int | None, arrange: Callable[[], None]) -> Heard:
    """Make one attempt in this process."""
    arrange()
    heard = Heard(step, kill)
    train(small_config(folder / "data", optimiser=OPTIMISER), folder / "out", base=base,
          threads=1, progress=heard)  # fmt: skip
    return heard


def in_a_fork(base: str, folder: Path, step: int | None, arrange: Callable[[], None]) -> int:
    """Make one attempt in a process of its own; return how that ended."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        heard = run_once(base, folder, step, arrange)
        (folder / "heard.txt").write_text(heard.text)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def left(folder: Path) -> dict[str, Any]:
    """Return what an attempt left: checkpoints, sealed ones, whether anything is published."""
    staging = folder / "out" / ".small.staging"
    found = sorted(path.name for path in (staging / "checkpoints").glob("*"))
    sealed = [name for name in found if (staging / "checkpoints" / name / "checksums.txt").exists()]
    return {"found": found, "sealed": sealed, "published": (folder / "out" / "small").exists()}


def result(folder: Path) -> dict[str, Any]:
    """Return what was published, times left out."""
    adapter = folder / "out" / "small"
    log = json.loads((adapter / "weights.json").read_text())
    for step in log["steps"]:
        del step["seconds"]
    weights = (adapter / "adapter_model.safetensors").read_bytes()
    names = sorted(path.name for path in adapter.iterdir())
    return {"sha256": hashlib.sha256(weights).hexdigest(), "log": log, "names": names}


def main() -> None:
    """Run unbroken, run killed, and print both."""
    base, folder = sys.argv[1], Path(sys.argv[2])
    codes = {"unbroken": in_a_fork(base, folder / "whole", None, nothing)}
    lefts = {}
    for name, (step, arrange) in MOMENTS.items():
        codes[name] = in_a_fork(base, folder / "killed", step, arrange)
        lefts[name] = left(folder / "killed")
    print(json.dumps({  # noqa: T201 - this is the output
        "codes": codes, "left": lefts, "heard": (folder / "killed" / "heard.txt").read_text(),
        "whole": result(folder / "whole"), "killed": result(folder / "killed"),
    }))  # fmt: skip


if __name__ == "__main__":
    assert attempt.COMPLETE
    main()
