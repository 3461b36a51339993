"""Values of questions keep their papers, and questions that one side lacks are counted."""

from __future__ import annotations

import math

from loragraft.experiment.statistics.sample import paired, values_of

PAPERS = {"a": "one", "b": "two", "c": "one", "d": None}


def test_questions_of_a_paper_stay_together() -> None:
    found = values_of({"c": 0.5, "a": 1.0, "d": 0.0, "b": 0.25, "e": 1.0}, PAPERS)
    assert found.ids == ("a", "b", "c", "d", "e")
    assert found.papers.tolist() == [0, 1, 0, 2, 3]
    assert (found.count, found.paper_count, found.clustered) == (5, 4, True)
    sums, sizes = found.totals()
    assert sums.tolist() == [1.5, 0.25, 0.0, 1.0]
    assert sizes.tolist() == [2, 1, 1, 1]


def test_a_question_is_not_its_neighbours_paper() -> None:
    # A question "x" without a paper, beside one of a paper that is called x.
    assert values_of({"x": 1, "y": 0}, {"y": "x"}).paper_count == 2


def test_questions_of_one_side_are_counted_and_left_out() -> None:
    found = paired({"a": 1, "b": 0, "c": 1}, {"b": 1, "c": 1, "d": 1}, PAPERS)
    assert found.difference.ids == ("b", "c")
    assert found.difference.values.tolist() == [-1, 0]
    assert found.excluded == 2
    assert paired({"a": 1}, {"a": 1}, PAPERS, asked=10).excluded == 9


def test_means_that_differ_by_rounding_are_equal() -> None:
    found = paired({"a": 0.1 + 0.2, "b": 1e-9}, {"a": 0.3, "b": 0.0}, PAPERS)
    assert found.difference.values.tolist() == [0.0, 1e-9]


def test_right_and_wrong_is_seen_in_the_values() -> None:
    assert paired({"a": 1}, {"a": 0}, {}).binary
    assert not paired({"a": 1}, {"a": 0.5}, {}).binary


def test_no_values_are_no_papers() -> None:
    found = values_of({}, {})
    assert (found.count, found.paper_count, found.clustered) == (0, 0, False)
    assert math.isnan(found.mean)
