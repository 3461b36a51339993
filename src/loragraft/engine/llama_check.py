"""Does llama.cpp survive a file? Asked in a child process before the file is loaded in this one.

llama.cpp ends the whole process on some broken files. Run as ``python -m
loragraft.engine.llama_check GGUF CONTEXT`` it loads the file, reads one token and prints JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from loragraft.artifact.child import child_command, run_child
from loragraft.artifact.hash_cache import cache_folder, file_identity
from loragraft.errors import BundleError, CheckFailedError, LoragraftError

MODULE = "loragraft.engine.llama_check"
TIMEOUT = 900.0
"""Seconds: a 70B file read cold from a slow disk takes minutes."""
MARKS_FOLDER = "loaded"
"""Folder in the cache with an empty file for each GGUF that was found to load."""


def check_loads(path: Path, context: int, *, timeout: float = TIMEOUT) -> None:
    """Load a file in a child process, unless this very file was found to load before.

    Raises:
        BundleError: If it does not load, with llama.cpp's own words or how the process ended.
    """
    mark = _mark(path, context)
    if mark is not None and mark.exists():
        return
    command = child_command(MODULE, [str(path.resolve()), str(context)])
    try:
        run_child(command, timeout=timeout, purpose=f"Loading {path.name} in llama.cpp")
    except CheckFailedError as error:
        raise BundleError(
            f"{error} Check the file's checksum, and export or download it again."
        ) from None
    if mark is not None:
        _remember(mark)


def _mark(path: Path, context: int) -> Path | None:
    """Return the mark of a file as it is now, for this llama-cpp-python and context."""
    from importlib.metadata import version

    key = [str(path.resolve()), file_identity(path), version("llama-cpp-python"), context]
    try:
        folder = cache_folder() / MARKS_FOLDER
    except RuntimeError:  # the user has no home folder
        return None
    return folder / hashlib.sha256(json.dumps(key).encode()).hexdigest()


def _remember(mark: Path) -> None:
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError:  # a cache that cannot be written costs a second load next time
        return


def main(arguments: Sequence[str]) -> int:
    """Run the child; JSON goes to the real stdout, everything else to stderr."""
    from loragraft.engine.llama_model import LlamaModel
    from loragraft.engine.protocol import Sampling
    from loragraft.engine.sampling import Sampler

    answer = os.dup(1)
    os.dup2(2, 1)  # llama.cpp and its back ends may print to stdout
    try:
        model = LlamaModel(Path(arguments[0]), context=int(arguments[1]), threads=0)
        model.read([0])
        token = Sampler(Sampling(temperature=0)).choose(model.logits(), [])
        model.piece(token)
        model.tokenize("The quick brown fox: 42.")
    except LoragraftError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    with os.fdopen(answer, "w", encoding="utf-8") as out:
        out.write(json.dumps({"vocabulary": model.vocabulary}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
