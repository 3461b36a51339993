"""A report in tables and in Markdown: the verdict first, the page's own digits, nothing loose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from loragraft.errors import InputError
from loragraft.experiment.analysis.blocks import report_blocks, verdict_lines
from loragraft.experiment.analysis.model import Browsable
from loragraft.experiment.analysis.numbers import difference, spelled
from loragraft.experiment.analysis.writing import report_markdown, write_report
from tests.support.report_data import BASELINE, HYBRID, made

MADE = made(40)


def test_the_verdict_stands_in_front() -> None:
    (line,) = verdict_lines(MADE.analysis)
    verdict = MADE.analysis.verdicts[-1]
    assert line.endswith(verdict.sentence)
    first = report_blocks(MADE.analysis)[0]
    assert first.title.startswith(HYBRID)
    assert [row[0] for row in first.rows] == [one.name for one in verdict.conditions]
    markdown = report_markdown(MADE.analysis).splitlines()
    assert markdown[0] == "# Science, 0.5B"
    assert markdown[2].startswith("**")


def test_figures_and_differences_have_the_digits_of_the_page() -> None:
    text = "\n".join(" ".join(row) for block in report_blocks(MADE.analysis) for row in block.rows)
    for figure in MADE.analysis.figures:
        if figure.value is not None and MADE.analysis.metrics[figure.metric]["tier"] == "main":
            assert spelled(figure.value, MADE.analysis.metrics[figure.metric]["unit"]) in text
    gain = next(one for one in MADE.analysis.comparisons if one.family == "gating")
    assert f"{difference(gain.difference, 'share')} [" in text
    assert f"{gain.better} / {gain.worse}" in text


def test_without_a_verdict_the_differences_are_told() -> None:
    bare = replace(MADE.analysis, verdicts=(), rule={})
    lines = verdict_lines(bare)
    assert len(lines) == 2
    assert all(f"beside {BASELINE}: factuality" in line for line in lines)
    assert verdict_lines(replace(bare, comparisons=())) == []


def test_hostile_sentences_mean_nothing_to_markdown() -> None:
    verdict = replace(
        MADE.analysis.verdicts[-1], sentence="<img src=x> [a](javascript:b) \x1b[31m|`"
    )
    text = report_markdown(replace(MADE.analysis, verdicts=(verdict,), title="a|<b>\n# c"))
    assert text.startswith("# a\\|\\<b> # c\n")
    assert "\x1b" not in text
    assert "\\<img src=x> \\[a](javascript:b)" in text


def test_a_report_is_written_whole_or_refused(tmp_path: Path) -> None:
    page = write_report(tmp_path / "new" / "report", MADE.analysis, MADE.browsable)
    assert sorted(path.name for path in page.parent.iterdir()) == ["index.html", "report.json",
                                                                   "report.md"]  # fmt: skip
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(tmp_path / "file", MADE.analysis, Browsable((), ()))
