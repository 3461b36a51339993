"""Numbers and units: what is the same, however it is written, and what is not."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.experiment.metrics.facts.numerals import find_numbers, plain
from loragraft.experiment.metrics.facts.quantities import find_quantities, read_quantity, same
from loragraft.experiment.metrics.facts.units import names, symbols


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,200 and 1 200", [1200, 1200]),
        ("1.2e3, 1.2 × 10³, 1.2 x 10^3", [1200, 1200, 1200]),  # noqa: RUF001
        ("twelve hundred", [1200]),
        ("one hundred and five", [105]),
        ("two million three hundred thousand and five", [2_300_005]),
        ("ninety-five", [95]),
        ("five and seven", [5, 7]),
        ("a dozen, three dozen", [12, 36]),
        ("two thirds, a fifth, half", [Fraction(2, 3), Fraction(1, 5), Fraction(1, 2)]),
        ("one and a half", [Fraction(3, 2)]),
        ("2 1/2 or 2½", [Fraction(5, 2), Fraction(5, 2)]),
        ("three point five", [Fraction(7, 2)]),
        ("1.200,50", [Fraction(2401, 2)]),
        ("1.200.000", [1_200_000]),
        ("0,125 and 1,5", [Fraction(1, 8), Fraction(3, 2)]),
        ("−5, -5, minus five", [-5, -5, -5]),  # noqa: RUF001
        ("7–9", [7, 9]),  # noqa: RUF001
        ("5 ± 1", [5]),
        ("1.2 million, 12k", [1_200_000, 12_000]),
        ("10^6", [1_000_000]),
        ("５ km", [5]),  # noqa: RUF001
        ("5th, 1990s, B12, P3, COVID-19, v1.2.3, 12.03.1985, 12:30", []),
        ("the third day", []),
        ("hundred", []),
        ("1e999", []),
        ("1/0", []),
        ("9" * 100, []),
    ],
)
def test_numbers(text: str, values: list[Fraction]) -> None:
    assert [number.value for number in find_numbers(plain(text))] == values


SAME = [
    ("1,200", "1.2e3"), ("95 months", "ninety-five months"), ("5 km", "5000 m"),
    ("7.9 years", "95 months"), ("22.1 %", "0.221"), ("22.1 per cent", "22.1%"),
    ("15.5 mV per week", "15.5 millivolts per week"), ("15.5 mV/week", "15.5 mV a week"),
    ("74.5 km/s", "74.5 kilometres per second"), ("74.5 km s-1", "74500 m/s"),
    ("36.9 g", "36.90 grams"), ("37 people", "thirty-seven persons"), ("20 °C", "293.15 K"),
    ("68 °F", "20 °C"), ("20 degrees", "20 °C"), ("7-9 days", "7 to 9 days"),
    ("between 7 and 9 days", "7-9 d"), ("about 5 km", "5 km"), ("over 5 km", "more than 5 km"),
    ("$1.2 million", "1,200,000 dollars"), ("half a kilometre", "500 m"), ("1/4", "25 %"),
    ("a quarter", "25 %"), ("3 m²", "3 square metres"), ("3 cubic centimetres", "3 cm^3"),
    ("3 ml", "3 cm3"), ("1 g/cm3", "1000 kg m-3"), ("26.82 m/s", "60 mph"), ("1 kWh", "3.6 MJ"),
    ("2 mM", "2 mmol/L"), ("1 inch", "2.54 cm"), ("90 minutes", "1.5 h"), ("5 birds per hour",
    "5 per hour"), ("35,000 cells per ml", "3.5 x 10^4 cells per ml"), ("10 Km", "10 km"),
    ("100 μm", "0.1 mm"), ("100 um", "100 µm"), ("1 bar", "100 kPa"), ("5 mV", "0.005 V"),
]  # fmt: skip
OTHER = [
    ("95 months", "95 years"), ("8 years", "95 months"), ("37 g", "36.9 g"), ("5 km", "5 m"),
    ("more than 5 km", "5 km"), ("at least 5 km", "at most 5 km"), ("7 days", "7-9 days"),
    ("15.5 mV per week", "15.5 mV per day"), ("15.5 mV per week", "15.5 mV"), ("20 °C", "20 °F"),
    ("20 °C", "20 K"), ("22.1", "22.1 %"), ("-5 °C", "5 °C"), ("5 Mm", "5 mm"), ("5 kg", "5 N"),
    ("387 cycles", "387 days"), ("1 gallon", "1 pint"), ("5 $", "5 €"), ("5 m2", "5 m"),
    ("1,200", "1.200"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same(one: str, other: str) -> None:
    ours, theirs = read_quantity(one), read_quantity(other)
    assert ours is not None
    assert theirs is not None
    assert same(ours, theirs)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_not_the_same(one: str, other: str) -> None:
    ours, theirs = read_quantity(one), read_quantity(other)
    assert ours is not None
    assert theirs is not None
    assert not same(ours, theirs)
    assert not same(theirs, ours)


@pytest.mark.parametrize("text", ["12 March 1985", "Arc 9", "cavallin II", "", "no", "5 km north"
                                  " of the old farm", "7 of 9 days", "one of them"])  # fmt: skip
def test_texts_that_are_no_quantity(text: str) -> None:
    assert read_quantity(text) is None


def test_lists_and_ranges() -> None:
    found = find_quantities("It was 5, 7 or 9 days, never between 10 and 12 h.")
    shown = [(str(one.low.value), str(one.high.value), one.unit) for one in found]
    assert [(low, high) for low, high, _ in shown] == [("5", "5"), ("7", "7"), ("9", "9"),
                                                       ("10", "12")]  # fmt: skip
    assert [unit.scale for _, _, unit in shown if unit] == [86400, 86400, 86400, 3600]


@given(st.integers(-(10**12), 10**12), st.sampled_from(["", "km", "mV per week", "%", "°C"]))
def test_a_number_equals_itself_however_it_is_grouped(value: int, unit: str) -> None:
    ours, theirs = read_quantity(f"{value} {unit}"), read_quantity(f"{value:,} {unit}")
    assert ours is not None
    assert theirs is not None
    assert ours.value == value
    assert same(ours, theirs)


@given(st.floats(1e-6, 1e9), st.sampled_from(sorted(symbols())))
def test_a_quantity_equals_itself_in_exponents(value: float, unit: str) -> None:
    ours, theirs = read_quantity(f"{value!r} {unit}"), read_quantity(f"{value:.16e} {unit}")
    if ours is not None and theirs is not None:  # US$ and the like may stand before numbers only
        assert same(theirs, ours) == (Fraction(repr(value)) == Fraction(f"{value:.16e}"))


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    for one in find_quantities(text):
        assert 0 <= one.start < one.stop <= len(text)


def test_units_convert_by_their_sources() -> None:
    known = names()
    assert known["mile"].scale == Fraction("1609.344")
    assert known["pound"].scale == Fraction("0.45359237")
    assert known["kilowatt hour"].scale == 3_600_000
    assert symbols()["eV"].scale == Fraction("1.602176634e-19")
    assert known["degree fahrenheit"].to_base(Fraction(32)) == Fraction("273.15")
    assert known["celsius"].from_base(Fraction("273.15")) == 0
