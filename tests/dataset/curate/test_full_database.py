"""A disk that is full while rules write what they remember."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from loragraft.dataset.curate import state
from loragraft.dataset.curate.run import curate
from loragraft.errors import OutOfSpaceError
from tests.support.rows import write_rows, write_rules

_PAGES = 40
"""Pages of 4 KiB that fit, as it were."""
_RULES = """
rules: [{kind: near_duplicates, field: text}]
record: {kind: reply, id: id, task_type: {text: reply}, prompt: text, reply: text}
"""


def test_a_full_disk_is_named_and_the_run_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, rules = (
        write_rows(tmp_path / "raw.jsonl", 800),
        write_rules(tmp_path / "rules.yaml", _RULES),
    )
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    curate(rules, raw, whole)
    connect = state._connect

    def connect_small(path: Path) -> sqlite3.Connection:
        base = connect(path)
        base.execute(f"PRAGMA max_page_count = {_PAGES}")
        return base

    with monkeypatch.context() as patch:
        patch.setattr(state, "_connect", connect_small)
        with pytest.raises(OutOfSpaceError, match="The disk filled up while"):
            curate(rules, raw, out)
    assert not out.exists()

    curate(rules, raw, out)
    assert out.read_bytes() == whole.read_bytes()
