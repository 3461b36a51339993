"""Means with their counts, pairs over shared questions, variance in two parts: by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.experiment.markdown import blocks_of, markdown_of
from loragraft.experiment.metrics.protocol import MetricInfo
from loragraft.experiment.records import NOT_APPLICABLE, Score, Status
from loragraft.experiment.spread import spread_of
from loragraft.experiment.table import (
    Cell,
    Line,
    Row,
    Table,
    cell_of,
    number,
    pair_of,
    shown,
)

INFO = MetricInfo("exact_match", "share", "higher", "main", "nowhere")


def scores(*values: float | Status | None, repeats: int = 1) -> list[Score]:
    """Return scores of questions in turn: a value, or the status that it has none for."""
    found = []
    for place, value in enumerate(values):
        name, repeat = f"q{place // repeats}", place % repeats
        ok = isinstance(value, float)
        status: Status = "ok" if ok else value or "error"  # type: ignore[assignment]
        found.append(Score(name, repeat, "exact_match", status, value if ok else None))  # type: ignore[arg-type]
    return found


def test_only_scores_that_are_ok_count_and_the_others_are_told() -> None:
    cell = cell_of(scores(1.0, 0.0, "timeout", 1.0, "unscorable", "timeout"))
    assert (cell.value, cell.count, cell.of) == (pytest.approx(2 / 3), 3, 6)
    assert cell.missing == {"timeout": 2, "unscorable": 1}
    assert shown(cell) == "0.667 (n=3 of 6)"


def test_a_metric_that_nothing_has_is_no_zero() -> None:
    cell = cell_of(scores("timeout", "error"))
    assert (cell.value, cell.count, cell.of) == (None, 0, 2)
    assert shown(cell) == "no answer has it"
    assert shown(Cell(None, 0, 2, NOT_APPLICABLE)) == NOT_APPLICABLE
    assert shown(None) == "not run"


def test_repeats_count_as_one_question() -> None:
    cell = cell_of(scores(1.0, 0.0, 1.0, 1.0, "error", 0.0, repeats=2))
    assert (cell.value, cell.count, cell.of) == (pytest.approx((0.5 + 1 + 0) / 3), 3, 3)
    assert cell.spread is not None


def test_a_pair_is_over_the_questions_that_both_have() -> None:
    pair = pair_of("exact_match", ("new", "old"), scores(1.0, 1.0, "error", 0.0),
                   scores(0.0, "timeout", 1.0, 0.0))  # fmt: skip
    assert pair is not None
    assert (pair.value, pair.baseline_value, pair.difference) == (0.5, 0.0, 0.5)
    assert (pair.count, pair.excluded) == (2, 2)
    assert pair_of("m", ("a", "b"), scores(1.0), scores("error")) is None


def test_variance_within_and_between_by_hand() -> None:
    # Means 1, 3, 5; within: each ±1 -> sum of squares 2 a question, 6 / 3 = 2.
    # Between: mean square 2 * (4 + 0 + 4) / 2 = 8; (8 - 2) / 2 = 3.
    found = spread_of([[0.0, 2.0], [2.0, 4.0], [4.0, 6.0]])
    assert found is not None
    assert (found.within, found.between) == (pytest.approx(2.0), pytest.approx(3.0))
    assert (found.answers, found.questions) == (6, 3)


def test_no_repeats_no_variance_within() -> None:
    assert spread_of([[1.0], [2.0]]) is None
    single = spread_of([[1.0, 2.0]])
    assert single is not None
    assert (single.within, single.between) == (0.5, 0.0)


@given(st.lists(st.lists(st.floats(-5, 5), min_size=3, max_size=3), min_size=2, max_size=12))
def test_equal_groups_agree_with_the_textbook(groups: list[list[float]]) -> None:
    found = spread_of(groups)
    assert found is not None
    values = np.array(groups)
    within = values.var(axis=1, ddof=1).mean()
    between = max(values.mean(axis=1).var(ddof=1) - within / 3, 0.0)
    assert found.within == pytest.approx(within, abs=1e-9)
    assert found.between == pytest.approx(between, abs=1e-9)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.000"), (0.12345, "0.123"), (-0.5, "-0.500"), (123.456, "123.5"),
     (2e9, "2,000,000,000"), (0.00012, "1.20e-04")],
)  # fmt: skip
def test_figures_are_short(value: float, text: str) -> None:
    assert number(value) == text


def hostile() -> Table:
    """Return a table whose texts try to leave their cells."""
    line = Line("a|b", ("x`y",), "complete", "\x1b[31mmodel|`<b>*", 3, {"ok": 3}, ("index",))
    rows = (Row(INFO, {"a|b": cell_of(scores(1.0))}),)
    return Table("s", "0.5B", "a|b", {}, (line,), rows, (), {"a|b": "other | questions"})


def test_markdown_keeps_hostile_names_in_their_cells() -> None:
    text = markdown_of(blocks_of(hostile()))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert "\x1b" not in text
    assert "\\<b>\\*" in text
    for row in rows:
        bare = row.replace("\\|", "")
        assert bare.count("|") in (7, 4)


def test_json_holds_all_that_the_table_shows() -> None:
    values = json.loads(json.dumps(hostile().to_json()))
    assert values["metrics"][0]["of"]["a|b"]["count"] == 1
    assert values["not_compared"] == {"a|b": "other | questions"}
    assert [block.title for block in blocks_of(hostile())] == ["Series s, 0.5B", "What counts"]


def test_pairs_that_a_judge_compared_are_a_table_of_their_own() -> None:
    told = {"a": "new", "b": "old", "win_rate": 0.75, "judged": 4, "wins": 3, "ties": 0,
            "losses": 1, "disagreement_rate": None, "first_rate": 0.5,
            "missing": {"parse_error": 2}}  # fmt: skip
    block = blocks_of(replace(hostile(), judged=(told,)))[-1]
    row = dict(zip(block.columns, block.rows[0], strict=True))
    assert row == {
        "pair": "new against old", "win rate": "0.750", "questions": "4",
        "won / tied / lost": "3 / 0 / 1", "orders disagree": "", "first place preferred": "0.500",
        "missing": "2 parse_error",
    }  # fmt: skip
