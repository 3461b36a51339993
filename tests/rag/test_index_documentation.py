"""The script that measures a large collection, on a small one."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import index_documentation


def test_it_builds_updates_and_asks(
    tmp_path: Path, static_folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(index_documentation, "HELD_BACK", 3)
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.md").write_text(f"# Page {number}\n\nThe adapter meets page {number}.")
    later = sum(index_documentation.is_held_back(f"docs/{number}.md") for number in range(12))
    assert 0 < later < 12
    arguments = ["--folder", str(folder), "--index", str(tmp_path / "big"),
                 "--embedder", str(static_folder), "--question", "Which adapter?"]  # fmt: skip
    assert index_documentation.main(arguments) == 0
    printed = capsys.readouterr().out
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    assert [row[1:4] for row in rows[1:4]] == [
        [str(12 - later), str(12 - later), str(12 - later)],
        [str(12 - later), str(12 - later), "0"],
        ["12", "12", str(later)],
    ]
    assert rows[-1][0] == "| Which adapter?"
    assert index_documentation.main(arguments) == 0  # what is built is not built again
    again = capsys.readouterr().out
    assert again.splitlines()[2] == printed.splitlines()[2]
