"""Axes and places on them."""

from hypothesis import given
from hypothesis import strategies as st

from loragraft.experiment.page.marks import axis_over, bins_axis, share_axis


def test_a_share_axis_has_quarters() -> None:
    axis = share_axis()
    assert [(tick.at, tick.text) for tick in axis.ticks] == [
        (0, "0"), (25, "25"), (50, "50"), (75, "75"), (100, "100")
    ]  # fmt: skip
    assert [axis.at(value) for value in (-1, 0.125, 2)] == [0, 12.5, 100]


def test_ticks_are_round_and_have_signs_for_differences() -> None:
    axis = axis_over([-0.03, 0.16, 0.0], "share", gaps=True)
    assert [tick.text for tick in axis.ticks] == ["0", "+5", "+10", "+15"]
    axis = axis_over([-0.11, 0.01], "share", gaps=True)
    assert [tick.text for tick in axis.ticks] == [
        "\u221210",
        "\u22127.5",
        "\u22125",
        "\u22122.5",
        "0",
    ]
    assert axis.low < -0.11
    assert axis.high > 0.01


def test_times_stand_on_a_logarithmic_axis() -> None:
    axis = bins_axis([(0.01, 0.1), (0.1, 1.0)], "seconds", log=True)
    assert [(tick.at, tick.text) for tick in axis.ticks] == [(0, "0.01"), (50, "0.1"), (100, "1")]
    assert not bins_axis([(0.0, 1.0)], "seconds", log=True).log


def test_a_single_value_has_one_tick_in_the_middle() -> None:
    axis = bins_axis([(2.0, 2.0)], "count", log=False)
    assert [(tick.at, tick.text) for tick in axis.ticks] == [(50, "2")]


@given(st.lists(st.integers(-(10**9), 10**9), max_size=6))
def test_every_value_has_its_place_in_order(numbers: list[int]) -> None:
    values = [number / 1000 for number in numbers]
    axis = axis_over(values, "count")
    assert 2 <= len(axis.ticks) <= 16
    places = [axis.at(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in [*places, *(tick.at for tick in axis.ticks)])
