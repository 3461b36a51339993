"""Checks end: by an answer, by a refusal, or by being left behind."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loragraft.adapter.findings import Severity
from loragraft.doctor.rows import Row, Surroundings, broken, fine, shown
from loragraft.doctor.run import CHECKS, SECONDS, examine
from loragraft.errors import UnavailableError


def sound(surroundings: Surroundings) -> list[Row]:
    return [fine("a", "well", "well")]


def test_a_check_that_hangs_is_left_behind() -> None:
    never = threading.Event()

    def hang(surroundings: Surroundings) -> list[Row]:
        never.wait(60)
        return []

    start = time.monotonic()
    try:
        diagnosis = examine(Surroundings(), (("hang", hang), ("a", sound)), seconds=0.3)
    finally:
        never.set()
    assert time.monotonic() - start < 5
    assert [row.finding.code for row in diagnosis.rows] == ["hang", "a"]
    assert "no answer within 0.3 s" in diagnosis.rows[0].finding.measured
    assert diagnosis.verdict is Severity.WARN


@pytest.mark.parametrize("error", [PermissionError(13, "no"), UnavailableError("not there")])
def test_what_is_refused_is_said(error: Exception) -> None:
    def refuse(surroundings: Surroundings) -> list[Row]:
        raise error

    (row,) = examine(Surroundings(), (("b", refuse),)).rows
    assert row.finding.severity is Severity.WARN
    assert str(error) in row.finding.measured


def test_a_bug_keeps_its_traceback() -> None:
    def stumble(surroundings: Surroundings) -> list[Row]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        examine(Surroundings(), (("c", stumble), ("a", sound)))
    assert any(entry.name == "stumble" for entry in caught.traceback)


def test_a_failure_is_the_verdict() -> None:
    def fail(surroundings: Surroundings) -> list[Row]:
        return [broken("d", "gone", "there", "bring it back")]

    diagnosis = examine(Surroundings(), (("d", fail), ("a", sound)))
    assert diagnosis.verdict is Severity.FAIL
    assert json.loads(json.dumps(diagnosis.to_json()))["verdict"] == "fail"


def test_all_checks_answer_here_and_import_nothing_that_may_crash(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from loragraft.doctor.run import examine\n"
        "from loragraft.doctor.rows import Surroundings\n"
        "found = examine(Surroundings((pathlib.Path(sys.argv[1]),)), seconds=60)\n"
        "assert len(found.rows) >= 15, found.rows\n"
        "assert found.verdict != 'fail', found.rows\n"
        "assert not any('no answer' in row.finding.measured for row in found.rows), found.rows\n"
        "heavy = {'torch', 'transformers', 'peft', 'numba', 'llvmlite', 'llama_cpp'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_codes_are_unique_and_time_is_bounded() -> None:
    assert len({name for name, _ in CHECKS}) == len(CHECKS)
    assert SECONDS < 10


def test_texts_of_others_stay_on_their_line() -> None:
    assert shown("a\nb\x1b[31m\udcff") == "a\\nb\\x1b[31m\\udcff"
    assert shown("größe \U0001f600") == "größe \U0001f600"
