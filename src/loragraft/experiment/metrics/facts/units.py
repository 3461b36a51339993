"""Units and what they are worth in base units.

Sources: BIPM, The International System of Units, 9th ed. (2019, v3.01): units, prefixes, and those
accepted beside them; NIST SP 811 (2008), appendix B: inch, foot, mile, pound, calorie, psi and the
like; the Julian year of 365.25 days, and a month of a twelfth of it (IAU Style Manual 1989).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

_PREFIXES = {
    "Q": ("quetta", 30), "R": ("ronna", 27), "Y": ("yotta", 24), "Z": ("zetta", 21),
    "E": ("exa", 18), "P": ("peta", 15), "T": ("tera", 12), "G": ("giga", 9), "M": ("mega", 6),
    "k": ("kilo", 3), "h": ("hecto", 2), "da": ("deca", 1), "d": ("deci", -1), "c": ("centi", -2),
    "m": ("milli", -3), "μ": ("micro", -6), "u": ("micro", -6), "n": ("nano", -9),
    "p": ("pico", -12), "f": ("femto", -15), "a": ("atto", -18), "z": ("zepto", -21),
    "y": ("yocto", -24),
}  # fmt: skip
_SI = """
m|metre meter|1|m
g|gram gramme|1/1000|kg
s|second|1|s
A|ampere amp|1|A
K|kelvin|1|K
mol|mole|1|mol
cd|candela|1|cd
Hz|hertz|1|s-1
N|newton|1|kg m s-2
Pa|pascal|1|kg m-1 s-2
J|joule|1|kg m2 s-2
W|watt|1|kg m2 s-3
coulomb|coulomb|1|A s
V|volt|1|kg m2 s-3 A-1
farad|farad|1|kg-1 m-2 s4 A2
Ω|ohm|1|kg m2 s-3 A-2
S|siemens|1|kg-1 m-2 s3 A2
Wb|weber|1|kg m2 s-2 A-1
T|tesla|1|kg s-2 A-1
H|henry|1|kg m2 s-2 A-2
lm|lumen|1|cd
lx|lux|1|cd m-2
Bq|becquerel|1|s-1 decay
Gy|gray|1|m2 s-2
Sv|sievert|1|m2 s-2 dose
kat|katal|1|mol s-1
l|litre liter|1/1000|m3
L||1/1000|m3
eV|electronvolt|1.602176634e-19|kg m2 s-2
bar|bar|100000|kg m-1 s-2
B|byte|8|bit
bit|bit|1|bit
cal|calorie|4.184|kg m2 s-2
Wh||3600|kg m2 s-2
Ah||3600|A s
Da|dalton|1.66053906892e-27|kg
pc|parsec|30856775814913673|m
M|molar|1000|mol m-3
bp||1|basepair
yr||31557600|s
"""
_OTHERS = """
C F||1|degree
min mins|minute|60|s
h hr hrs|hour|3600|s
d|day|86400|s
sec secs||1|s
wk wks|week|604800|s
|fortnight|1209600|s
mo mos|month|2629800|s
y yrs|year|31557600|s
|decade|315576000|s
|century centuries|3155760000|s
|millennium millennia|31557600000|s
|inch inches|0.0254|m
ft|foot feet|0.3048|m
yd yds|yard|0.9144|m
mi|mile|1609.344|m
nmi|nautical_mile|1852|m
AU au|astronomical_unit|149597870700|m
ly|light_year lightyear|9460730472580800|m
Å|angstrom ångström|1e-10|m
|micron|1e-6|m
ha|hectare|10000|m2
|acre|4046.8564224|m2
cc||1e-6|m3
lb lbs|pound|0.45359237|kg
oz|ounce|0.028349523125|kg
|stone|6.35029318|kg
t|tonne metric_ton|1000|kg
|carat|0.0002|kg
mph||0.44704|m s-1
kmh kph||5/18|m s-1
kn kt kts|knot|463/900|m s-1
atm|atmosphere|101325|kg m-1 s-2
mmHg||133.322387415|kg m-1 s-2
Torr torr||133.322368421|kg m-1 s-2
psi||6894.757293168|kg m-1 s-2
hp|horsepower|745.69987158227|kg m2 s-3
rpm||1/60|s-1 turn
% pct|percent per_cent percentage_point|1/100|
‰|permille per_mille|1/1000|
ppm|part_per_million|1e-6|
ppb|part_per_billion|1e-9|
°|degree|1|degree
|radian|1|radian
dB|decibel|1|decibel
$ USD US$|dollar|1|usd
€ EUR|euro|1|eur
£ GBP||1|gbp
¥ JPY|yen|1|jpy
¢|cent|1/100|usd
|ton|1|ton
|gallon|1|gallon
|pint|1|pint
|teaspoon|1|teaspoon
|tablespoon|1|tablespoon
|cup|1|cup
"""
_TEMPERATURES = """
°C|degree_celsius degree_centigrade celsius centigrade|1|273.15
°F|degree_fahrenheit fahrenheit|5/9|459.67
"""
DEGREE = (("degree", 1),)
TEMPERATURE = (("K", 1),)
Dimension = tuple[tuple[str, int], ...]
"""Powers of base units, by name."""


@dataclass(frozen=True)
class Unit:
    """What a number counts.

    Attributes:
        scale: Base units in one of it.
        dimension: Of what kind it is; empty for shares and counts.
        offset: Added to a number before it is scaled: of degrees Celsius.
    """

    scale: Fraction
    dimension: Dimension
    offset: Fraction = Fraction(0)

    def to_base(self, value: Fraction) -> Fraction:
        """Return a number of it in base units."""
        return (value + self.offset) * self.scale

    def from_base(self, value: Fraction) -> Fraction:
        """Return what so many base units are in it."""
        return value / self.scale - self.offset

    def to_the(self, power: int) -> Unit:
        """Return a power of it; degrees become kelvins."""
        powers = {name: one * power for name, one in self.dimension}
        return Unit(self.scale**power, dimension(powers))

    def times(self, other: Unit) -> Unit:
        """Return the product of both."""
        powers = dict(self.dimension)
        for name, power in other.dimension:
            powers[name] = powers.get(name, 0) + power
        return Unit(self.scale * other.scale, dimension(powers))


def dimension(powers: dict[str, int]) -> Dimension:
    """Return powers in their order, without those that are none."""
    return tuple(sorted((name, power) for name, power in powers.items() if power))


@cache
def symbols() -> dict[str, Unit]:
    """Return units by symbol, large and small letters apart."""
    found: dict[str, Unit] = {}
    for short, _, unit, prefixed in _rows():
        for symbol in short:
            found[symbol] = unit
            for prefix, (_, power) in _PREFIXES.items() if prefixed else ():
                found.setdefault(prefix + symbol, _scaled(unit, power))
    for symbol, name in (("C", "coulomb"), ("F", "farad")):  # a bare C or F means degrees
        for prefix, (_, power) in _PREFIXES.items():
            found[prefix + symbol] = _scaled(found[name], power)
    for gone in ("as", "coulomb", "farad"):
        found.pop(gone, None)
    return {**found, "kb": found["kbp"]}


@cache
def names() -> dict[str, Unit]:
    """Return units by name in small letters, singular and plural."""
    found: dict[str, Unit] = {}
    for _, long, unit, prefixed in _rows():
        for name in long:
            for form in _forms(name):
                found[form] = unit
            for prefix, power in _PREFIXES.values() if prefixed else ():
                for form in _forms(prefix + name):
                    found[form] = _scaled(unit, power)
    hour = found["hour"]
    for work in ("watt", "kilowatt", "megawatt", "ampere", "amp", "milliampere", "milliamp"):
        for form in ("hour", "hours"):
            found[f"{work} {form}"] = found[work].times(hour)
    return found


def _scaled(unit: Unit, power: int) -> Unit:
    return Unit(unit.scale * Fraction(10) ** power, unit.dimension)


def _forms(name: str) -> tuple[str, ...]:
    bare = name.replace("_", " ")
    first, space, rest = bare.partition(" ")
    if first in ("degree", "part"):
        return bare, f"{first}s{space}{rest}"
    return bare, f"{bare}s"


def _rows() -> Iterator[tuple[list[str], list[str], Unit, bool]]:
    """Yield symbols, names, the unit, and whether it takes prefixes."""
    for table, prefixed in ((_SI, True), (_OTHERS, False)):
        for line in table.strip().splitlines():
            short, long, scale, powers = line.split("|")
            unit = Unit(Fraction(scale), _powers(powers))
            yield short.split(), long.split(), unit, prefixed
    for line in _TEMPERATURES.strip().splitlines():
        short, long, scale, zero = line.split("|")
        unit = Unit(Fraction(scale), TEMPERATURE, Fraction(zero))
        yield short.split(), long.split(), unit, False


def _powers(text: str) -> Dimension:
    found: dict[str, int] = {}
    for part in text.split():
        base = part.rstrip("-0123456789")
        found[base] = int(part[len(base) :] or 1)
    return dimension(found)
