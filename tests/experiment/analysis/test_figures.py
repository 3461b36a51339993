"""Figures, comparisons, slices and distributions of experiments, on cases counted by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.experiment.analysis.compared import Gating, comparisons_of
from loragraft.experiment.analysis.distributions import distributions_of
from loragraft.experiment.analysis.figures import NOT_ANSWERED, figures_of
from loragraft.experiment.analysis.slices import slices_of
from loragraft.experiment.measured import Measured
from loragraft.experiment.statistics.interval import mean_interval
from loragraft.experiment.statistics.sample import values_of
from loragraft.experiment.verdict.judge_points import INFO as POINTS
from loragraft.experiment.verdict.judge_points import PairPoints
from tests.support.measured import FACTUALITY, INFOS, SECONDS, experiment

OLD = experiment("old", {"factuality": [0, 1, 0, 0, 1, 0, 0, 0], "first_token_seconds": [1.0] * 8})
NEW = experiment("new", {"factuality": [1, 1, 0, 1, 1, 0, "timeout", 0],
                         "grounding_coverage": [1, 1, 1, 0, 1, 0, "timeout", 0]})  # fmt: skip
ARMS = {"old": OLD, "new": NEW}


def test_a_figure_is_the_mean_over_questions_with_what_is_missing_beside() -> None:
    found = {(one.experiment, one.metric): one for one in figures_of(ARMS, INFOS)}
    new = found["new", "factuality"]
    assert (new.value, new.count, new.of, new.papers) == (pytest.approx(4 / 7), 7, 8, 4)
    assert new.missing == {"timeout": 1}
    assert new.interval is not None
    assert new.interval.method == "t over papers"
    assert new.lower is not None
    assert new.interval.low < new.lower < 4 / 7
    grounding = found["old", "grounding_coverage"]
    assert (grounding.value, grounding.reason, grounding.of) == (None, "not applicable", 8)


def test_the_interval_of_a_figure_is_that_of_its_questions_values() -> None:
    figure = next(figures_of({"new": NEW}, {"factuality": FACTUALITY}))
    right = dict(zip((f"q-{n:03d}" for n in (0, 1, 2, 3, 4, 5, 7)), (1, 1, 0, 1, 1, 0, 0),
                     strict=True))  # fmt: skip
    papers = {name: f"paper-{int(name[2:]) // 2}" for name in right}
    assert figure.interval == mean_interval(values_of(right, papers), low=0, high=1)


def test_repeats_are_one_question_and_absent_answers_are_counted() -> None:
    repeated = experiment("new", {"factuality": [1, 0, 1, 1]}, repeats=2, asked=3)
    figure = next(figures_of({"new": repeated}, {"factuality": FACTUALITY}))
    assert (figure.value, figure.count, figure.of) == (0.75, 2, 3)
    assert figure.missing == {NOT_ANSWERED: 2}


def test_what_never_varies_and_has_no_bounds_has_no_interval() -> None:
    figure = next(figures_of({"old": OLD}, {"first_token_seconds": SECONDS}))
    assert (figure.value, figure.interval, figure.lower) == (1.0, None, None)


def test_comparisons_use_the_questions_that_both_have() -> None:
    found = comparisons_of(ARMS, INFOS, "old", gating=Gating("factuality", frozenset(["new"])))
    assert [one.metric for one in found] == ["factuality"]  # old has no grounding, seconds are none
    one = found[0]
    assert (one.count, one.excluded, one.papers) == (7, 1, 4)
    assert one.difference == pytest.approx(2 / 7)
    assert (one.better, one.worse) == (2, 0)
    assert one.family == "gating"
    assert one.adjusted == one.test.p


def test_only_what_a_promotion_rests_on_gates() -> None:
    arms = {**ARMS, "third": OLD}
    found = comparisons_of(arms, INFOS, "old", gating=Gating("factuality", frozenset(["new"])))
    assert {one.experiment: one.family for one in found} == {"new": "gating",
                                                             "third": "exploratory"}  # fmt: skip
    assert comparisons_of(arms, INFOS, "old", refused={"new", "third"}) == ()
    assert comparisons_of({"new": NEW}, INFOS, "old") == ()


def test_points_that_a_judge_gave_a_pair_are_compared() -> None:
    points = PairPoints({"q-000": 1.0, "q-002": 0.5}, {"q-000": 0.0, "q-002": 0.5}, asked=3)
    given = {(POINTS.name, "new"): points}
    infos = {POINTS.name: POINTS}
    (one,) = comparisons_of(ARMS, infos, "old", given=given)
    assert (one.difference, one.count, one.excluded) == (0.5, 2, 1)
    figures = {one.experiment: one for one in figures_of(ARMS, infos, given)}
    assert figures["new"].value == 0.75
    assert figures["old"].reason == "not applicable"


def test_slices_count_what_each_experiment_has() -> None:
    seen = {f"q-{n:03d}": n < 4 for n in range(8)}
    found = {(one.by, one.name): one for one in slices_of(ARMS, {"factuality": FACTUALITY}, seen)}
    assert found["task type", "numeric"].values == {"old": (0.25, 4), "new": (2 / 3, 3)}
    assert found["paper in training", "seen in training"].values == {"old": (0.25, 4),
                                                                     "new": (0.75, 4)}  # fmt: skip
    assert found["paper in training", "not seen in training"].questions == 4
    assert found["paper", "paper-3"].values == {"old": (0.0, 2), "new": (0.0, 1)}


def test_distributions_share_their_bins_and_leave_right_and_wrong_out() -> None:
    slow = experiment("slow", {"first_token_seconds": [0.01, 5.0], "factuality": [0, 1]})
    found = list(distributions_of({"old": OLD, "slow": slow}, INFOS))
    assert [(one.experiment, one.metric) for one in found] == [
        ("old", "first_token_seconds"), ("slow", "first_token_seconds")]  # fmt: skip
    assert found[0].edges == found[1].edges
    assert found[0].log
    assert [sum(one.counts) for one in found] == [8, 2]
    assert (found[0].mean, found[0].deviation, found[0].distinct) == (1.0, 0.0, 1)
    (alike,) = distributions_of({"old": OLD}, INFOS)
    assert (alike.edges, alike.counts) == ((0.5, 1.5), (8,))


_ANY = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(["error", "unscorable"])


def _finite(values: object) -> bool:
    if isinstance(values, dict):
        return all(map(_finite, values.values()))
    if isinstance(values, list):
        return all(map(_finite, values))
    return not isinstance(values, float) or math.isfinite(values)


@settings(max_examples=30, deadline=None)
@given(st.lists(_ANY, min_size=1, max_size=6), st.lists(_ANY, min_size=1, max_size=6))
def test_edited_scores_of_any_size_give_finite_figures(
    mine: list[float | str], theirs: list[float | str]
) -> None:
    from loragraft.artifact.metadata import plain

    infos = {"first_token_seconds": SECONDS, "output": SECONDS.__class__(
        "output", "points", None, "main", "")}  # fmt: skip
    arms: dict[str, Measured] = {
        name: experiment(name, {"output": values, "first_token_seconds": values}, asked=6)
        for name, values in (("mine", mine), ("theirs", theirs))
    }
    for found in (figures_of(arms, infos), comparisons_of(arms, infos, "theirs"),
                  slices_of(arms, infos, {}), distributions_of(arms, infos)):  # fmt: skip
        assert _finite(plain(list(found)))
