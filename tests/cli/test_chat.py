"""``loragraft chat``: in a pipe, as JSON, and in a real terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loragraft.cli.main import main
from tests.support.talking import SAYING

GREEDY = ("--temperature", "0", "--max-tokens", "20", "--threads", "1")
WAIT_SECONDS = 60


@pytest.fixture
def bundle(talking_bundle: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    return talking_bundle("qwen3")


def run(*arguments: str | Path, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(main, ["chat", *map(str, arguments)], input=stdin)


def test_all_of_a_pipe_is_one_question_and_only_the_answer_is_printed(bundle: Path) -> None:
    result = run(bundle, *GREEDY, stdin=b"/help\nlazy\xff dogs\n")
    assert result.exit_code == 0, result.output
    assert result.stdout == SAYING + "\n"
    assert "tokens read" in result.stderr
    assert "\x1b" not in result.output


def test_a_prompt_and_json(bundle: Path, talking_bundle: Callable[[str], Path]) -> None:
    other = talking_bundle("llama")
    result = run(bundle, "--compare", other, "--prompt", "lazy", "--json", *GREEDY)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["model"] for record in records] == ["qwen3", "llama"]
    assert [record["text"] for record in records] == [SAYING, SAYING]
    assert records[0]["finish"] == "stop"


def test_two_models_in_a_pipe_answer_one_after_the_other(
    bundle: Path, talking_bundle: Callable[[str], Path]
) -> None:
    result = run(bundle, "--compare", talking_bundle("llama"), *GREEDY, stdin="lazy")
    assert result.stdout == f"qwen3:\n{SAYING}\nllama:\n{SAYING}\n"


def test_the_same_seed_gives_the_same_answer(bundle: Path) -> None:
    hot = ("--temperature", "4", "--seed", "5", "--max-tokens", "20", "--threads", "1")
    answers = {run(bundle, *hot, "--prompt", "lazy").stdout for _ in range(2)}
    assert len(answers) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--prompt", " "), 2, "no question"),
        (("--prompt", "x", "--top-p", "2"), 2, "top_p"),
        (("--prompt", "x", "--context", "0"), 2, "--context"),
        (("--prompt", "x", "--quant", "Q9"), 2, "holds no Q9"),
        (("--prompt", "x", "--threads", "100000"), 2, "0<=x<=512"),
        (("--prompt", "x", "--threads", "-1"), 2, "0<=x<=512"),
        (("--prompt", "x", "--gpu-layers", "-1"), 2, "--gpu-layers"),
        (("--prompt", "x", "--ollama"), 3, "No Ollama answers"),
        (("--prompt", "fox " * 600, "--context", "64"), 2, "context of 64"),
        (("--prompt", "x", "--compare", "./none"), 2, "./none is not there"),
    ],
)  # fmt: skip
def test_refusals(bundle: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    result = run(bundle, *arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_a_template_that_refuses_a_system_message(talking_bundle: Callable[[str], Path]) -> None:
    result = run(talking_bundle("gemma2"), "--system", "x", "--prompt", "lazy", *GREEDY)
    assert result.exit_code == 2
    assert "System role not supported" in result.stderr
    assert result.stdout == ""


ANSWER_SECONDS, ANSWER_BEGINNING = 30, 80
"""How long a question that was typed too early is waited for; letters no echo of it has."""


class Typist:
    """Types into a program in a terminal and reads what it shows."""

    def __init__(self, terminal: int, process: subprocess.Popen[bytes]) -> None:
        """Sit down at a program's terminal."""
        self._terminal, self.process = terminal, process
        self.shown = ""

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self._terminal, text.encode())

    def wait_for(self, text: str) -> None:
        """Read until a text is shown after what was waited for before."""
        end = time.monotonic() + WAIT_SECONDS
        while text not in self.shown:
            assert time.monotonic() < end, f"{text!r} does not come: {self.shown!r}"
            self._hear(0.1)
        self.shown = self.shown.partition(text)[2]

    def keep_on(self, act: Callable[[], object], text: str, silence: float = 0.5) -> None:
        """Do something until a text is shown: a program reads no keys before its prompt stands."""
        end = time.monotonic() + WAIT_SECONDS
        while text not in self.shown:
            assert time.monotonic() < end, f"{text!r} does not come: {self.shown!r}"
            act()
            while text not in self.shown and self._hear(silence):
                assert time.monotonic() < end, f"{text!r} does not come: {self.shown!r}"
        self.shown = self.shown.partition(text)[2]

    def hears_words(self, question: str) -> bool:
        """Read until an answer has begun after a question; tell whether one does."""
        end = time.monotonic() + ANSWER_SECONDS
        while len(self.shown.rpartition(question)[2]) < ANSWER_BEGINNING:
            if time.monotonic() > end:
                return False
            self._hear(0.1)
        return True

    def leave(self) -> int:
        """Press Ctrl-D until the program ends; return its exit status."""
        end = time.monotonic() + WAIT_SECONDS
        while self.process.poll() is None and time.monotonic() < end:
            self.type("\x04")
            self._hear(0.5)
        return self.ended()

    def terminate(self) -> int:
        """Send SIGTERM, again where it came just before the program waited; return its status."""
        end = time.monotonic() + WAIT_SECONDS
        while self.process.poll() is None and time.monotonic() < end:
            os.kill(self.process.pid, signal.SIGTERM)
            again = time.monotonic() + 5
            while self.process.poll() is None and time.monotonic() < again:
                self._hear(0.1)
        return self.ended()

    def ended(self) -> int:
        """Return the exit status; what is still said is read, as a terminal does."""
        end = time.monotonic() + WAIT_SECONDS
        while self.process.poll() is None and time.monotonic() < end:
            self._hear(0.1)
        return self.process.wait(0)

    def _hear(self, seconds: float) -> bool:
        """Read what is said within so long; False for nothing."""
        if not select.select([self._terminal], [], [], seconds)[0]:
            return False
        with suppress(OSError):  # the other end is closed
            self.shown += os.read(self._terminal, 4096).decode("utf-8", "replace")
        return True


@contextmanager
def terminal(*arguments: str | Path) -> Iterator[Typist]:
    """Run a chat in a terminal of its own."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "loragraft", "chat", *map(str, arguments)]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "TERM": "dumb", "COLUMNS": "80"},
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Typist(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.slow
def test_a_conversation_in_a_terminal(bundle: Path, tmp_path: Path) -> None:
    with terminal(bundle, *GREEDY) as typist:
        typist.wait_for("/help lists the commands")
        typist.type("lazy\r")
        typist.wait_for(SAYING)
        typist.wait_for("tokens/s")
        typist.type(f"/save {tmp_path / 'talk'}\r")
        typist.wait_for("2 lines written")
        pid = typist.process.pid
        typist.keep_on(lambda: os.kill(pid, signal.SIGINT), "Ctrl-D or /exit")  # no end there
        typist.type("dogs\r")
        typist.wait_for(SAYING)
        typist.wait_for("tokens read")
        assert typist.leave() == 0
    assert len((tmp_path / "talk").read_text().splitlines()) == 2


@pytest.mark.slow
def test_ctrl_c_stops_an_answer_and_sigterm_the_program(smollm2_bundle: Path) -> None:
    long = ("--temperature", "3", "--max-tokens", "4000", "--threads", "1")
    with terminal(smollm2_bundle, *long) as typist:
        typist.wait_for("/help lists the commands")

        def ask_and_interrupt() -> None:
            typist.type("Tell me all about the sea.\r")
            if typist.hears_words("sea."):  # before the prompt stands, there is nothing to stop
                os.kill(typist.process.pid, signal.SIGINT)

        typist.keep_on(ask_and_interrupt, "stopped]", silence=5)
        typist.type("/undo\r")
        typist.wait_for("Taken back: Tell me")
        assert typist.terminate() == 143
