"""The promotion rule, case by case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.experiment.analysis.model import Comparison, Control, Figure, Protocol, Verdict
from loragraft.experiment.verdict.candidates import Context, LeakCheck, Standing, broken
from loragraft.experiment.verdict.config import PromotionConfig, ProtocolGate
from loragraft.experiment.verdict.decide import decide
from tests.support.verdicts import (
    NEW,
    OLD,
    compared,
    condition,
    context,
    grounded,
    outcome,
    standings,
)

RULE = PromotionConfig()
GROUNDED = grounded(0.40, 0.45, 0.50)
REPLIES = PromotionConfig(gain=0, grounding=None, protocol=ProtocolGate())


def verdict(
    comparison: Comparison | None,
    figure: Figure | None = GROUNDED,
    rule: PromotionConfig = RULE,
    **changes: Any,  # noqa: ANN401
) -> Verdict:
    """Decide on the candidate."""
    comparisons = [] if comparison is None else [comparison]
    figures = [] if figure is None else [figure]
    return decide(rule, comparisons, figures, context(**changes))[1]


@pytest.mark.parametrize(
    ("low", "observed", "high", "p", "wanted"),
    [
        (0.03, 0.08, 0.13, 0.001, "promote"),
        (0.06, 0.08, 0.13, 0.001, "promote"),
        (0.001, 0.05, 0.10, 0.04, "promote"),  # observed is what was asked for, and surely above 0
        (0.0, 0.06, 0.12, 0.06, "undecided"),  # an interval that touches 0 shows nothing
        (0.001, 0.06, 0.12, 0.05, "undecided"),  # nor does a p that is not below
        (-0.02, 0.06, 0.14, 0.001, "undecided"),
        (0.01, 0.049, 0.09, 0.001, "undecided"),  # surely better, not by so much as was asked
        (-0.04, 0.0, 0.04, 1.0, "reject"),
        (0.01, 0.03, 0.0499, 0.001, "reject"),  # surely better, surely not by five points
        (0.01, 0.03, 0.05, 0.001, "undecided"),
        (-0.13, -0.08, -0.03, 0.001, "reject"),
        (-0.02, 0.0, 0.06, 1.0, "undecided"),
    ],
)
def test_gain(low: float, observed: float, high: float, p: float, wanted: str) -> None:
    found = verdict(compared(low, observed, high, p=p))
    assert found.decision == wanted
    assert (found.gain, found.shown) == (observed, low)
    assert (found.questions is not None) == (wanted == "undecided")


@pytest.mark.parametrize(
    ("lower", "value", "upper", "wanted"),
    [
        (0.35, 0.40, 0.45, "promote"),
        (0.34, 0.40, 0.46, "undecided"),
        (0.30, 0.34, 0.38, "undecided"),
        (0.30, 0.33, 0.35, "undecided"),
        (0.30, 0.32, 0.349, "reject"),
        (None, None, None, "undecided"),
    ],
)
def test_grounding(
    lower: float | None, value: float | None, upper: float | None, wanted: str
) -> None:
    found = verdict(compared(0.03, 0.08, 0.13), grounded(lower, value, upper))
    assert found.decision == wanted
    assert (found.grounding, found.grounding_shown) == (value, lower)


def test_a_series_without_grounding_asks_for_none() -> None:
    rule = PromotionConfig(grounding=None)
    found = verdict(compared(0.03, 0.08, 0.13), None, rule)
    assert found.decision == "promote"
    assert "grounding" not in {one.name for one in found.conditions}


def test_grounding_that_nobody_measured_is_open() -> None:
    found = verdict(compared(0.03, 0.08, 0.13), None)
    assert (found.decision, found.questions) == ("undecided", None)
    assert "metrics.groups" in condition(found, "grounding").next


def test_grounding_that_many_answers_lack_is_open() -> None:
    figure = replace(GROUNDED, of=500)
    assert verdict(compared(0.03, 0.08, 0.13), figure).decision == "undecided"
    assert verdict(compared(0.03, 0.08, 0.13), replace(GROUNDED, of=440)).decision == "promote"


def test_grounding_that_passages_do_not_move_is_open() -> None:
    control = Control("shuffled passages", NEW, "grounding_coverage", 0.44, 0.45, 400, False,
                      "shuffled passages ground answers as well.")  # fmt: skip
    found = verdict(compared(0.03, 0.08, 0.13), broken=broken([control]))
    assert (found.decision, condition(found, "grounding").met) == ("undecided", "open")
    assert "shuffled passages ground" in found.sentence
    for stood in (replace(control, passed=True), replace(control, passed=None, value=None)):
        assert verdict(compared(0.03, 0.08, 0.13), broken=broken([stood])).decision == "promote"


def test_an_observed_gain_is_not_promoted_for_being_large() -> None:
    found = verdict(compared(-0.05, 0.20, 0.45, p=0.12))
    assert found.decision == "undecided"
    assert condition(found, "gain").met == "yes"
    assert condition(found, "gain is real").met == "open"


def test_the_corrected_p_decides() -> None:
    lone = compared(0.01, 0.08, 0.15, p=0.03)
    other = replace(lone, experiment="other")
    three = (*standings(), Standing("other"))
    both = [replace(one, adjusted=0.06) for one in (lone, other)]
    found = decide(RULE, both, [GROUNDED, replace(GROUNDED, experiment="other")],
                   context(standings=three))  # fmt: skip
    assert [one.decision for one in found[1:]] == ["undecided"] * 2
    assert "0.060 after Holm" in condition(found[1], "gain is real").measured
    assert verdict(lone).decision == "promote"


def test_exploratory_comparisons_and_other_metrics_promote_nothing() -> None:
    sure = compared(0.1, 0.2, 0.3)
    for other in (replace(sure, family="exploratory"), replace(sure, metric="token_f1")):
        found = verdict(other)
        assert (found.decision, found.gain) == ("undecided", None)


def test_where_lower_is_better_a_fall_is_a_gain() -> None:
    rule = PromotionConfig(metric="absolute_error", gain=0.02, grounding=None)
    fall = replace(compared(-0.09, -0.05, -0.01), metric="absolute_error")
    found = verdict(fall, None, rule, better="lower", unit="points")
    assert found.decision == "promote"
    assert (found.gain, found.shown) == (0.05, 0.01)
    rise = replace(compared(0.01, 0.05, 0.09), metric="absolute_error")
    assert verdict(rise, None, rule, better="lower", unit="points").decision == "reject"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stale": ("index", "adapter")}, "hybrid is stale: index, adapter changed since"),
        ({"state": "interrupted"}, "hybrid is interrupted"),
        ({"state": "not started"}, "hybrid is not started"),
        ({"refused": "index abc against def"}, "index abc against def"),
    ],
)  # fmt: skip
def test_runs_that_are_not_whole_decide_nothing(changes: dict[str, Any], said: str) -> None:
    found = verdict(compared(0.03, 0.08, 0.13), standings=standings(**changes),
                    run="loragraft experiment run s.yaml")  # fmt: skip
    assert (found.decision, found.questions) == ("undecided", None)
    assert said in found.sentence
    assert any("loragraft experiment run s.yaml" in one.next for one in found.conditions)


def test_what_was_never_run_is_said_once_and_not_that_it_has_no_figures() -> None:
    told = "There is no index outputs/indexes/science."
    there = context(standings=standings(state="not started"), leaks=LeakCheck("open", told))
    found = decide(RULE, [], [], there)[1]
    assert found.sentence == (
        "hybrid is undecided; hybrid is not started. Whether test questions leaked is not known: "
        "There is no index outputs/indexes/science."
    )


def test_a_stale_baseline_decides_nothing_either() -> None:
    old = Standing(OLD, "it is the baseline", stale=("model",))
    found = verdict(compared(-0.3, -0.2, -0.1), standings=(old, Standing(NEW)))
    assert found.decision == "undecided"
    assert "plain is stale" in found.sentence


def test_many_missing_answers_decide_nothing() -> None:
    at_most = compared(0.03, 0.08, 0.13, count=360, excluded=40)
    assert verdict(at_most).decision == "promote"
    found = verdict(replace(at_most, count=359, excluded=41))
    assert found.decision == "undecided"
    assert "41 of 400" in found.sentence
    assert condition(found, "enough answers").next.endswith("--retry")


def test_leaks_block_whatever_was_gained() -> None:
    leaks = LeakCheck("no", "of 90 test questions: 3 near", "Split again.")
    sure = compared(0.03, 0.08, 0.13)
    found = verdict(sure, leaks=leaks)
    assert (found.decision, found.questions) == ("blocked", None)
    assert "3 near" in found.sentence
    stale = verdict(sure, leaks=leaks, standings=standings(stale=("index",)))
    assert stale.decision == "blocked"
    allowed = verdict(sure, rule=PromotionConfig(leaks=False), leaks=leaks)
    assert allowed.decision == "promote"
    assert "Leaks were not asked about" in allowed.sentence


def test_leaks_that_nobody_could_look_for_are_told_aloud() -> None:
    found = verdict(compared(0.03, 0.08, 0.13), leaks=LeakCheck("open", "there is no split"))
    assert found.decision == "promote"
    assert "not known: there is no split" in found.sentence


def test_nothing_is_promoted_while_leaks_could_have_been_looked_for_and_were_not() -> None:
    gone = LeakCheck("open", "nobody could look (the index is gone)", "Put it back.", needed=True)
    found = verdict(compared(0.03, 0.08, 0.13), leaks=gone)
    assert (found.decision, found.questions) == ("undecided", None)
    assert found.sentence.count("nobody could look") == 1
    assert verdict(compared(-0.1, -0.05, 0.0), leaks=gone).decision == "reject"


def test_what_cannot_be_looked_at_now_is_said() -> None:
    found = verdict(compared(0.03, 0.08, 0.13), standings=standings(unseen=("index", "model")))
    assert found.decision == "promote"
    assert "what cannot be, now: of hybrid index and model" in found.conditions[0].measured


def test_what_is_no_candidate_is_not_decided_on() -> None:
    alone = Standing("tuned", "it has no retrieval", state="not started")
    found = decide(RULE, [], [], context(standings=(*standings(), alone)))
    assert [one.decision for one in found] == ["not a candidate", "undecided", "not a candidate"]
    assert found[2].sentence == "tuned is not a candidate: it has no retrieval."
    assert found[2].conditions == ()


@pytest.mark.parametrize(
    ("p", "relative", "d", "wanted"),
    [
        (0.049, 0.151, 0.301, "promote"),
        (0.05, 0.151, 0.301, "undecided"),
        (0.049, 0.14, 0.301, "undecided"),
        (0.049, 0.151, 0.29, "undecided"),
    ],
)
def test_the_reply_protocol(p: float, relative: float, d: float, wanted: str) -> None:
    lines = Protocol(outcome(p), d, relative)
    observed = relative * 0.5
    one = compared(0.01, observed, 2 * observed, baseline_value=0.5, protocol=lines)
    found = verdict(one, None, REPLIES)
    assert found.decision == wanted
    assert [c.name for c in found.conditions][-4:-1] == [
        "Mann-Whitney", "relative improvement", "Cohen's d"]  # fmt: skip
    assert (found.questions is not None) == (wanted == "undecided")


def test_the_reply_protocol_rejects_what_it_excludes() -> None:
    slight = compared(0.005, 0.01, 0.02, baseline_value=0.5,
                      protocol=Protocol(outcome(0.001), 0.02, 0.02))  # fmt: skip
    found = verdict(slight, None, REPLIES)
    assert found.decision == "reject"
    assert {c.name for c in found.conditions if c.met == "no"} == {
        "relative improvement", "Cohen's d"}  # fmt: skip
    nothing = replace(slight, protocol=Protocol(outcome(0.001), None, None))
    assert verdict(nothing, None, REPLIES).decision == "undecided"


def test_a_null_effect_names_the_questions_that_would_reject() -> None:
    """Not those that would show an effect of almost nothing, which no number does."""
    found = verdict(compared(-0.06, 0.0, 0.06, p=1.0))
    error = 0.06 / 1.959964
    wanted = 400 * ((1.959964 + 0.841621) * error / 0.05) ** 2
    assert found.questions == pytest.approx(wanted, abs=1)


def test_all_open_conditions_must_be_shown() -> None:
    close = grounded(0.349, 0.40, 0.451)
    alone = verdict(compared(-0.001, 0.08, 0.16, p=0.06)).questions
    both = verdict(compared(-0.001, 0.08, 0.16, p=0.06), close).questions
    slow = verdict(compared(-0.04, 0.06, 0.16, p=0.3), close).questions
    assert alone is not None
    assert both is not None
    assert slow is not None
    assert 400 < both == max(alone, both) < slow


def test_an_effect_on_the_bound_has_no_number() -> None:
    found = verdict(compared(0.03, 0.08, 0.13), grounded(0.30, 0.35, 0.40))
    assert (found.decision, found.questions) == ("undecided", None)
    assert "no number of questions can be named" in found.sentence


def test_sentences_tell_the_figures() -> None:
    one = compared(0.031, 0.082, 0.133, count=420, papers=30)
    found = verdict(one)
    assert found.sentence == (
        "hybrid is to be promoted; factuality +8.2 points over plain (95% interval +3.1 to "
        "+13.3), grounding 45.0 % (at least 40.0 %)."
    )
    assert condition(found, "gain").measured == (
        "+8.2 points (95% interval +3.1 to +13.3, 420 questions in 30 papers)"
    )


@settings(max_examples=40)
@given(
    st.lists(st.floats(-1, 1), min_size=3, max_size=3).map(sorted),
    st.floats(0, 1),
    st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted),
    st.integers(1, 400),
)
def test_every_case_is_decided_consistently(
    ends: list[float], p: float, bounds: list[float], papers: int
) -> None:
    """Nothing is promoted without a gain that was shown, nothing undecided without a reason."""
    found = verdict(compared(*ends, p=p, papers=papers), grounded(*bounds))
    mets = [one.met for one in found.conditions]
    low, observed, high = ends
    lower, _, upper = bounds
    promote = observed >= 0.05 and low > 0 and p < 0.05 and lower >= 0.35
    reject = high < 0.05 or upper < 0.35
    assert found.decision == ("reject" if reject else "promote" if promote else "undecided")
    assert ("no" in mets) == reject
    assert found.questions is None or found.questions > 400
    assert all(one.next for one in found.conditions if one.met == "open")


def test_context_knows_its_experiments() -> None:
    assert Context(OLD, standings()).standing(NEW).fault == ""
