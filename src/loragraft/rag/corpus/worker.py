"""The process that reads files, from the side of the one that asks it."""

from __future__ import annotations

import json
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any

from loragraft.artifact.child import child_command, child_environment, last_words
from loragraft.artifact.closing import Closing
from loragraft.errors import InputError, UnavailableError
from loragraft.rag.corpus.extracted import Extracted, from_json
from loragraft.rag.corpus.limits import MIB, Limits

_MODULE = "loragraft.rag.corpus.child"

_LOOK_SECONDS = 0.25
"""How often the process's memory is looked at while it works, for systems that set no bound."""

_START_SECONDS = 120.0
"""A busy machine with a cold disk takes its time to import; a healthy process answers in one."""


class Worker(Closing):
    """One process that reads one file after the other; a new one where a file broke it."""

    def __init__(self, limits: Limits) -> None:
        """Start nothing yet: an unchanged collection needs none."""
        self._limits = limits
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._errors: IO[bytes] | None = None

    def extract(self, request: Mapping[str, Any]) -> Extracted:
        """Have a file or a text read.

        Args:
            request: "kind", and "path" or "text".

        Raises:
            InputError: If it cannot be read; as the end of a sentence that begins with its name.
            UnavailableError: If the process cannot be started.
        """
        if self._process is None or self._process.poll() is not None:
            self._start()
        answer = self._ask(request)
        if "error" in answer:
            raise InputError(answer["error"])
        return from_json(answer)

    def _start(self) -> None:
        self.close()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        bounds = json.dumps(vars(self._limits))
        try:
            process = subprocess.Popen(
                child_command(_MODULE, [bounds]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                encoding="utf-8",
                env=child_environment(),
            )
        except OSError as error:
            raise UnavailableError(f"The process that reads files cannot start: {error}") from None
        self._process = process
        self._answers = queue.Queue()
        arguments = (process.stdout, self._answers)
        threading.Thread(target=_listen, args=arguments, name="corpus", daemon=True).start()
        self._answer(_START_SECONDS, starting=True)

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        with suppress(OSError):  # it ended: the answer says so
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        return self._answer(self._limits.seconds)

    def _answer(self, seconds: float, *, starting: bool = False) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._answers.get(timeout=_LOOK_SECONDS)
                break
            except queue.Empty:
                if time.monotonic() > deadline:
                    self._kill()
                    if starting:
                        raise UnavailableError(
                            f"The process that reads files did not start in {seconds:g} seconds: "
                            "try again when the machine is less busy."
                        ) from None
                    raise InputError(
                        f"took more than {seconds:g} seconds to read and was given up: it may be "
                        "made to never end, or the machine is busy"
                    ) from None
                self._check_memory()
        if line is not None:
            answer: dict[str, Any] = json.loads(line)
            return answer
        words = self._last_words()
        self._kill()
        if starting:
            raise UnavailableError(f"The process that reads files does not start.{words}")
        raise InputError(f"ended the process that read it: the file is broken, or hostile.{words}")

    def _check_memory(self) -> None:
        import psutil

        assert self._process is not None
        try:
            resident = psutil.Process(self._process.pid).memory_info().rss
        except psutil.Error:
            return
        if resident > self._limits.memory_bytes:
            self._kill()
            raise InputError(too_much_memory(self._limits))

    def _last_words(self) -> str:
        if self._errors is None:
            return ""
        self._errors.seek(0)
        return last_words(self._errors.read()[-4096:].decode("utf-8", "replace"))

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
        self.close()

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    _close(pipe)
            try:
                process.wait(timeout=2.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._errors is not None:
            self._errors.close()
            self._errors = None


def too_much_memory(limits: Limits) -> str:
    """Return what is wrong with a file that needs more memory than there is for it."""
    return (
        f"needs more than {limits.memory_bytes // MIB} MiB of memory to read and was given up: "
        "its content may unpack to something endless"
    )


def _listen(pipe: IO[str], answers: queue.Queue[str | None]) -> None:
    try:
        for line in pipe:
            answers.put(line)
    except (OSError, ValueError):
        pass  # closed meanwhile
    answers.put(None)


def _close(pipe: IO[str]) -> None:
    with suppress(OSError):
        pipe.close()
