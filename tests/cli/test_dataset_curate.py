"""``loragraft dataset curate`` and ``review``, as a person or a script uses them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loragraft.cli.main import main
from tests.support.rows import RULES, write_rows, write_rules

HOSTILE = "\x1b[2J\x1b]0;title\x07 and \u202eorbit <script>alert(1)</script> of copper"


def run(*arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["dataset", *map(str, arguments)], input=stdin)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with rules and raw rows."""
    write_rules(tmp_path / "rules.yaml")
    write_rows(tmp_path / "raw.jsonl", 300)
    return tmp_path


def curate(folder: Path, *options: str) -> Result:
    out = folder / "clean.jsonl"
    return run("curate", folder / "rules.yaml", folder / "raw.jsonl", "-o", out, *options)


def review(folder: Path, *options: str, stdin: str | None = None) -> Result:
    return run("review", folder / "clean.jsonl", *options, stdin=stdin)


def test_a_table_says_what_was_dropped_and_files_hold_the_rest(folder: Path) -> None:
    result = curate(folder)
    assert result.exit_code == 0, result.output
    kept = len((folder / "clean.jsonl").read_text().splitlines())
    assert f"raw.jsonl: {kept} of 300 rows kept" in result.stdout
    for name in ("length", "per author", "exact duplicates", "missing field", "likes is missing"):
        assert name in result.stdout
    assert f"{kept} records." in result.stderr
    report = json.loads((folder / "clean.report.json").read_text())
    assert report["kept"] == kept
    assert (folder / "clean.report.html").read_text().startswith("<!doctype html>")
    again = curate(folder)
    assert again.exit_code == 0
    assert "unchanged" in again.stderr


def test_json_is_the_report(folder: Path) -> None:
    result = curate(folder, "--json")
    values = json.loads(result.stdout)
    assert values.pop("unchanged") is False
    assert values == json.loads((folder / "clean.report.json").read_text())
    assert json.loads(curate(folder, "--json").stdout)["unchanged"] is True


def test_nothing_kept_is_a_failed_check(folder: Path) -> None:
    write_rules(folder / "rules.yaml", RULES.replace("min: 10", "min: 10000") + "target: 9\n")
    result = curate(folder)
    assert result.exit_code == 1
    assert "No row was kept" in result.stderr
    assert "9 were wanted: 9 are missing." in result.stderr


@pytest.mark.parametrize("text", ["", "question,answer\nwhy,because\n", '[{"question": "why"}]'])
def test_a_file_without_a_row_says_what_was_expected(folder: Path, text: str) -> None:
    (folder / "raw.jsonl").write_text(text)
    result = curate(folder)
    assert result.exit_code == 1
    assert "raw.jsonl holds no row: expected one JSON object a line.\n" in result.stderr
    assert "rules that dropped" not in result.stderr
    assert "?." not in result.stderr


def test_broken_lines_are_named_and_strict_ends_there(folder: Path) -> None:
    with (folder / "raw.jsonl").open("a") as file:
        file.write("{oops\n" * 5)
    strict = curate(folder, "--strict")
    assert strict.exit_code == 2
    assert "line 301 is no JSON" in strict.stderr
    assert not (folder / "clean.jsonl").exists()
    result = curate(folder)
    assert result.exit_code == 0
    assert "Line 301 is no JSON" in result.stderr
    assert "5 lines could not be read" in result.stderr


def test_a_typo_in_the_rules_is_named(folder: Path) -> None:
    write_rules(folder / "rules.yaml", RULES.replace("min: 20", "mim: 20"))
    result = curate(folder)
    assert result.exit_code == 2
    assert "rules.yaml, line 3" in result.stderr
    assert "mim" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("rules.yaml",), ("rules.yaml", "raw.jsonl")])
def test_a_command_that_lacks_something_is_refused(arguments: tuple[str, ...]) -> None:
    assert run("curate", *arguments).exit_code == 2


def test_hostile_texts_do_nothing_to_terminal_or_page(folder: Path) -> None:
    rows = [
        {"id": "x", "text": HOSTILE, "likes": 1, "author": "a"},
        {"id": "\x1b[31m", "text": HOSTILE, "likes": 50, "author": "a"},
        {"id": "z", "text": f"other {HOSTILE}", "likes": 50, "author": "\x1b"},
    ]
    (folder / "raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_rules(folder / "rules.yaml", RULES.replace("rules:", 'description: "<b>\\e[2J"\nrules:'))
    outputs = [curate(folder).output, curate(folder, "--json").output]
    outputs += [review(folder, stdin="s\n").output, review(folder, "--list").output]
    outputs.append((folder / "clean.report.html").read_text())
    for output in outputs:
        assert "\x1b" not in output
        assert "\u202e" not in output
    assert "<script>" not in outputs[-1]
    assert "&lt;script&gt;" in outputs[-1]
    assert "http" not in outputs[-1].split("</head>")[0]


def test_a_sample_is_reviewed_with_four_keys_and_taken_up_again(folder: Path) -> None:
    curate(folder)
    first = review(folder, stdin="a\nwhat\nr\nskip\nq\n")
    assert first.exit_code == 0, first.output
    assert "1 of 5" in first.stdout
    assert "4 of 5" in first.stdout
    assert "5 of 5" not in first.stdout
    assert "Of 5 records: 1 accepted, 1 rejected, 3 undecided." in first.stderr
    listed = json.loads(review(folder, "--json").stdout)["sample"]
    assert [item["decision"] for item in listed] == ["accepted", "rejected"] + ["undecided"] * 3
    second = review(folder, stdin="a\na\n")
    assert "1 of 3" in second.stdout
    assert "Of 5 records: 3 accepted, 1 rejected, 1 undecided." in second.stderr
    assert curate(folder).exit_code == 0
    ids = [json.loads(line)["id"] for line in (folder / "clean.jsonl").read_text().splitlines()]
    assert listed[0]["record"]["id"] in ids
    assert listed[1]["record"]["id"] not in ids
    assert "rejected by a person" in curate(folder).stdout


def test_decisions_are_given_without_a_terminal(folder: Path) -> None:
    curate(folder)
    ids = [item["record"]["id"] for item in json.loads(review(folder, "--json").stdout)["sample"]]
    result = review(folder, "--accept", ids[0], "--reject", ids[1], "--reject", ids[2], "--list")
    assert result.exit_code == 0, result.output
    assert "1 accepted, 2 rejected." in result.stderr
    assert result.stdout.count("rejected") == 2
    assert review(folder, "--reject", "nobody").exit_code == 2
    both = review(folder, "--accept", ids[0], "--reject", ids[0])
    assert both.exit_code == 2
    assert len((folder / "clean.review.jsonl").read_text().splitlines()) == 3


def test_review_of_what_is_no_file_of_records(folder: Path) -> None:
    assert review(folder).exit_code == 2
    (folder / "clean.jsonl").write_text('{"id": "a"}\n')
    result = review(folder)
    assert result.exit_code == 2
    assert "line 1" in result.stderr


def typed(folder: Path, keys: Sequence[bytes], last: bytes) -> tuple[int, bytes]:
    """Review in a terminal; return the exit code, and what is shown behind the last key."""
    import pty
    import termios

    curate(folder)
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "loragraft", "dataset", "review", str(folder / "clean.jsonl")]
    shown = b""
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower) as process:
        for key in keys:
            while not shown.endswith(b"quit (q)? "):
                shown += os.read(leader, 65536)
            while termios.tcgetattr(leader)[3] & termios.ICANON:
                time.sleep(0.01)  # what is typed before a key is waited for is thrown away
            shown = b""
            os.write(leader, key)
        while last not in shown:
            shown += os.read(leader, 65536)
        code = process.wait()
    os.close(follower)
    os.close(leader)
    return code, shown


def test_a_terminal_takes_single_keys(folder: Path) -> None:
    code, shown = typed(folder, (b"a", b"x", b"r", b"\x04"), b"undecided")
    assert code == 0
    assert b"1 accepted, 1 rejected, 3 undecided" in shown


def test_ctrl_c_keeps_what_was_decided(folder: Path) -> None:
    code, _ = typed(folder, (b"r", b"\x03"), b"What was decided is kept.")
    assert code == 130
    assert len((folder / "clean.review.jsonl").read_text().splitlines()) == 1


def test_interrupting_says_that_nothing_is_lost_and_the_command_goes_on(folder: Path) -> None:
    rows = (folder / "raw.jsonl").read_text()
    (folder / "raw.jsonl").write_text(rows * 300)
    names = ("curate", "rules.yaml", "raw.jsonl", "-o", "clean.jsonl")
    command = [sys.executable, "-m", "loragraft", "dataset", *names]
    state = folder / ".clean.jsonl.curate" / "kept.jsonl"
    with subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL
    ) as process:
        while not (state.exists() and state.stat().st_size):
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert "the same command goes on from there" in said
    assert not (folder / "clean.jsonl").exists()
    assert state.exists()
