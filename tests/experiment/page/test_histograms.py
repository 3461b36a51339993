"""Histograms of values that are all alike."""

import dataclasses

from loragraft.experiment.analysis.model import Browsable, Distribution
from loragraft.experiment.page.figures import ALONE, spreads_of
from loragraft.experiment.page.make import render
from tests.experiment.page.reading import Reader
from tests.support.report_data import BASELINE, HYBRID, made

METRIC = "citations_fabricated"
ZEROS = Distribution(BASELINE, METRIC, "count", (-0.5, 0.5), (90,), 0.0, 0.0, 0.0, 0.0, 1)
EDGES, COUNTS = (0.0, 1.0, 2.0), (60, 30)


def test_values_that_are_all_one_have_one_bar_and_one_tick_at_it() -> None:
    analysis = dataclasses.replace(made(20).analysis, distributions=(ZEROS,))
    spread = spreads_of(analysis, seconds=False)[0]
    (column,) = spread.plots[0].columns
    assert (column.left, column.width, column.height) == (50 - ALONE / 2, ALONE, 100)
    assert column.count == 90
    assert [(tick.at, tick.text) for tick in spread.axis.ticks] == [(50, "0")]
    text = Reader(render(analysis, Browsable((), ()))).text
    assert "all 90 answers have 0" in text
    assert "1 distinct" not in text


def test_beside_others_the_bar_stands_at_its_value_on_their_axis() -> None:
    zeros = dataclasses.replace(ZEROS, edges=EDGES, counts=(90, 0))
    others = Distribution(HYBRID, METRIC, "count", EDGES, COUNTS, 0.5, 0.4, 0.0, 2.0, 3)
    analysis = dataclasses.replace(made(20).analysis, distributions=(zeros, others))
    spread = spreads_of(analysis, seconds=False)[0]
    assert [one.alike for one in spread.plots] == [True, False]
    assert [(one.left, one.count) for one in spread.plots[0].columns] == [(0, 90)]
    assert [tick.text for tick in spread.axis.ticks] == ["0", "1", "2"]
    text = Reader(render(analysis, Browsable((), ()))).text
    assert "all 90 answers have 0" in text
    assert "0 to 2, 3 distinct" in text


def test_a_single_answer_is_not_all_answers() -> None:
    one = dataclasses.replace(ZEROS, counts=(1,))
    analysis = dataclasses.replace(made(20).analysis, distributions=(one,))
    assert "the only answer has 0" in Reader(render(analysis, Browsable((), ()))).text
