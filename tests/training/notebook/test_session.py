"""A run inside of a notebook: its process watched, its log shown, its result packed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from loragraft.adapter.fetch import fetch
from loragraft.artifact.checksums import write_checksums
from loragraft.artifact.hashing import sha256_file
from loragraft.errors import BundleError
from loragraft.training.log import Alarm, Evaluation, Sample, Step, TrainingLog, write_log
from loragraft.training.notebook import (
    pack_result,
    run_command,
    show_log,
)
from tests.adapter.builders import write_adapter

WAITS = """import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
print("begun", flush=True)
try:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    time.sleep(600)
"""
STOPS = WAITS + "except KeyboardInterrupt:\n    print('saved')\n    raise SystemExit(130)"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def published(folder: Path) -> Path:
    """Make what a run publishes."""
    target = write_adapter(folder / "my run")
    (target / "training_config.yaml").write_text("experiment_id: my run\n")
    write_checksums(target, {path.name: sha256_file(path) for path in target.iterdir()})
    return target


def test_a_packed_result_is_fetched_and_sound(tmp_path: Path) -> None:
    folder = published(tmp_path / "outputs")
    packed = pack_result(folder, tmp_path)
    assert packed.path.name == "my run.tar.gz"
    assert packed.sha256 == sha256_file(packed.path)
    again = packed.path.read_bytes()
    os.utime(folder / "adapter_config.json", (1, 1))
    assert pack_result(folder, tmp_path).path.read_bytes() == again
    report = fetch(str(packed.path), tmp_path / "fetched")
    assert report.verdict.value == "pass", report.findings
    assert {file.name for file in report.files} >= {path.name for path in folder.iterdir()}


def test_a_result_that_was_changed_is_not_packed(tmp_path: Path) -> None:
    folder = published(tmp_path)
    (folder / "training_config.yaml").write_text("lora: {r: 9}\n")
    with pytest.raises(BundleError, match=r"training_config\.yaml has SHA-256"):
        pack_result(folder, tmp_path)
    assert not list(tmp_path.glob("*.gz*"))


def test_lines_and_exit_code_of_a_command_come_through(capsys: pytest.CaptureFixture[str]) -> None:
    code = "import sys; print('\u00e9'); print('bad', file=sys.stderr, flush=True); sys.exit(3)"
    assert run_command(python(code)) == 3
    assert sorted(capsys.readouterr().out.split()) == ["bad", "\u00e9"]


def test_a_command_is_stopped_in_time_and_may_save(capsys: pytest.CaptureFixture[str]) -> None:
    # The child inherits the mask: it hears of the signal once it waits, however late that is.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        assert run_command(python(STOPS), hours=0) == 130
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    assert capsys.readouterr().out.split() == ["begun", "saved"]


def test_stopping_the_cell_stops_the_command(tmp_path: Path) -> None:
    mark = tmp_path / "saved"
    code = WAITS + f"except KeyboardInterrupt:\n    open({str(mark)!r}, 'w').close()"

    class Stop:
        """A stdout at which the person presses the button."""

        def write(self, text: str) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(5)

        def flush(self) -> None: ...

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", Stop())
        with pytest.raises(KeyboardInterrupt):
            run_command(python(code))
    assert mark.exists()


def test_the_log_is_shown_as_text(tmp_path: Path) -> None:
    sample = Sample("q1", "what?\n\nnow", "this", "\x1b[2Jthat that", 3, True, loop=True)
    log = TrainingLog(
        "words", "stopped-early",
        (Step(10, 1.0, 2.0, 1e-4, 0.5, 100, 3.0), Step(20, 2.0, 1.0, 1e-5, 0.5, 100, 3.0)),
        (Evaluation(10, 1.0, 1.5, 2.0, -0.5, {"spearman": 0.25}, (sample,)),
         Evaluation(20, 2.0, 1.75, None, None, {})),
        (Alarm("gap", 20, 0.75, 0.3, "The gap is 0.75."),),
    )  # fmt: skip
    write_log(tmp_path, log)
    text = show_log(tmp_path)
    assert "stopped-early after 20 steps and 6 s" in text
    assert "    10   1.00      1.5000    2.0000  best  spearman 0.2500" in text
    assert "Alarm at step 20: The gap is 0.75." in text
    assert "Samples after step 10:" in text
    assert "asked     what? now" in text
    assert "that that (caught in a loop)" in text
    assert "\x1b" not in text
