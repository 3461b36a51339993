"""Logits of llama.cpp from a child process, chunk by chunk.

Run as ``python -m loragraft.export.logits_child GGUF CONTEXT THREADS`` it reads one JSON list of
token ids a line and answers each with a frame: two little-endian u32 (tokens, vocabulary) and the
float32 logits row by row. Only one chunk is in memory on either side.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loragraft.artifact.child import child_command, child_environment, explain_exit
from loragraft.artifact.closing import Closing
from loragraft.errors import CheckFailedError, LoragraftError

MODULE = "loragraft.export.logits_child"
_FRAME = struct.Struct("<II")


class LlamaLogits(Closing):
    """A child that answers token ids with logits; a context manager."""

    def __init__(self, gguf: Path, *, context: int, threads: int) -> None:
        """Start the child; it loads the file while the caller goes on."""
        self._name = gguf.name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the child
        arguments = [str(gguf.resolve()), str(context), str(threads)]
        self._child = subprocess.Popen(
            child_command(MODULE, arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=child_environment(),
        )

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Return the logits after each token of a fresh sequence, shape [tokens, vocabulary].

        Raises:
            CheckFailedError: If the child ended, with its last words.
        """
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(list(tokens)).encode() + b"\n")
            self._child.stdin.flush()
        except OSError:
            raise self._failure() from None
        head = self._child.stdout.read(_FRAME.size)
        if len(head) < _FRAME.size:
            raise self._failure()
        rows, columns = _FRAME.unpack(head)
        values = np.empty((rows, columns), dtype="<f4")
        if self._child.stdout.readinto(values.data.cast("B")) < values.nbytes:  # type: ignore[attr-defined]
            raise self._failure()
        return values.astype(np.float32, copy=False)

    def _failure(self) -> CheckFailedError:
        code = self._child.wait()
        self._errors.seek(0)
        errors = self._errors.read().decode("utf-8", "replace")
        return CheckFailedError(explain_exit(f"Running {self._name} in llama.cpp", code, errors))

    def close(self) -> None:
        """End the child."""
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # it ended with our request unread
                    continue
        try:
            self._child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._errors.close()


def main(arguments: Sequence[str]) -> int:
    """Serve requests from stdin until it closes."""
    from loragraft.engine.llama_forward import LlamaForward

    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # llama.cpp and its back ends may print to stdout
    path, context, threads = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    try:
        with LlamaForward(path, context=context, threads=threads) as model:
            for line in sys.stdin:
                values = model.logits(json.loads(line)).astype("<f4", copy=False)
                answer.write(_FRAME.pack(*values.shape))
                answer.write(values.data.cast("B"))
                answer.flush()
    except LoragraftError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
