"""What a run will cost, as far as an actor's prices say.

Apify's pricing models: a price for each result, prices for events (one of them mostly a result),
the platform's usage, and a monthly rent on top of it, which Apify no longer offers. Usage depends
on how long an actor works and cannot be known before; tiered prices depend on one's plan, so the
cheapest and the dearest are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

PER_RESULT, PER_EVENT = "PRICE_PER_DATASET_ITEM", "PAY_PER_EVENT"
RENT, USAGE = "FLAT_PRICE_PER_MONTH", "FREE"
DATASET_ITEM = "apify-default-dataset-item"
"""The event that Apify itself charges for each item, where an actor does not."""
_SAMPLE = 1000
"""Results that a price is told for, where no target is given."""


@dataclass(frozen=True)
class Estimate:
    """What a run will cost.

    Attributes:
        results: For how many results.
        low: US dollars at least; None if nobody knows.
        high: US dollars at most; None if nobody knows.
        model: Apify's name of the pricing model.
        words: How it comes about, as a sentence.
    """

    results: int
    low: float | None
    high: float | None
    model: str
    words: str

    @property
    def amount(self) -> str:
        """The amount for people."""
        if self.low is None:
            return "unknown"
        if self.high is None:
            return f"{dollars(self.low)} or more"
        if self.high == self.low:
            return dollars(self.low)
        return f"{dollars(self.low)} to {dollars(self.high)}"

    def to_json(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"results": self.results, "low_usd": self.low, "high_usd": self.high,
                "model": self.model, "words": self.words}  # fmt: skip


def dollars(amount: float) -> str:
    """Spell an amount: cents, and more digits where there are no cents."""
    return f"${amount:,.2f}" if amount >= 0.01 or amount == 0 else f"${amount:.6f}".rstrip("0")


def estimate(prices: Sequence[Any], target: int | None, now: datetime | None = None) -> Estimate:
    """Return what so many results cost.

    Args:
        prices: An actor's ``pricing_infos`` as apify-client reads them, past and future ones too.
        target: How many; None tells the price of 1,000.
        now: When; the record that is in force counts.
    """
    results = _SAMPLE if target is None else target
    price = _in_force(prices, now or datetime.now(timezone.utc))
    if price is None or price.pricing_model == USAGE:
        return Estimate(results, None, None, USAGE, _USAGE_WORDS)
    if price.pricing_model == PER_RESULT:
        return _per_result(price, results)
    if price.pricing_model == PER_EVENT:
        return _per_event(price, results)
    rent = f"{dollars(price.price_per_unit_usd)} a month" if price.pricing_model == RENT else "?"
    words = f"The actor is rented ({rent}), and the platform's usage comes on top of that."
    return Estimate(results, None, None, str(price.pricing_model), words)


_USAGE_WORDS = (
    "The actor costs what it uses of the platform (computing, transfer, proxies), which nobody "
    "knows before. With --max-cost the run is stopped when it has used that much."
)


def _in_force(prices: Sequence[Any], now: datetime) -> Any:  # noqa: ANN401 - one of four models
    begun = [price for price in prices if price.started_at <= now]
    return max(begun, key=lambda price: price.started_at, default=None)


def _range(
    flat: float | None, tiers: Mapping[str, Any] | None, name: str
) -> tuple[float, float] | None:
    """Return the lowest and the highest of a price's tiers."""
    if flat is not None:
        return flat, flat
    amounts = [float(getattr(tier, name)) for tier in (tiers or {}).values()]
    return (min(amounts), max(amounts)) if amounts else None


def _per_result(price: Any, results: int) -> Estimate:  # noqa: ANN401
    found = _range(price.price_per_unit_usd, price.tiered_pricing, "tiered_price_per_unit_usd")
    if found is None:
        return Estimate(results, None, None, PER_RESULT, "The actor names no price.")
    words = f"{_thousand(found)} for 1,000 {price.unit_name}s{_tiers(found)}."
    return Estimate(results, found[0] * results, found[1] * results, PER_RESULT, words)


def _thousand(each: tuple[float, float]) -> str:
    low, high = dollars(each[0] * 1000), dollars(each[1] * 1000)
    return low if low == high else f"{low} to {high}"


def _tiers(each: tuple[float, float]) -> str:
    return "" if each[0] == each[1] else ", by your plan"


def _per_event(price: Any, results: int) -> Estimate:  # noqa: ANN401
    """Add up the events that come once and the one that stands for a result."""
    events = price.pricing_per_event.actor_charge_events or {}
    prices = {
        name: found
        for name, event in events.items()
        if (found := _range(event.event_price_usd, event.event_tiered_pricing_usd,
                            "tiered_event_price_usd"))
    }  # fmt: skip
    once = [name for name in prices if events[name].is_one_time_event]
    result = _result_event(events, prices)
    others = [name for name in prices if name not in once and name != result]
    if result is None:
        words = f"The actor charges for events ({_listed(events, prices)})"
        words += "; which of them is a result it does not say."
        return Estimate(results, None, None, PER_EVENT, words)
    low, high = (
        sum(prices[name][end] for name in once) + prices[result][end] * results for end in (0, 1)
    )
    title, each = events[result].event_title, prices[result]
    words = f"{title}: {_thousand(each)} for 1,000{_tiers(each)}"
    words += f"; once: {_listed(events, {n: prices[n] for n in once})}" if once else ""
    if others:
        rest = _listed(events, {name: prices[name] for name in others})
        words += f"; and, nobody knows how often: {rest}"
    return Estimate(results, low, None if others else high, PER_EVENT, words + ".")


def _result_event(events: Mapping[str, Any], prices: Iterable[str]) -> str | None:
    """Return the event that is charged for each result: marked so, Apify's own, or the only one."""
    repeated = [name for name in prices if not events[name].is_one_time_event]
    for name in repeated:
        if events[name].is_primary_event:
            return name
    if DATASET_ITEM in repeated:
        return DATASET_ITEM
    return repeated[0] if len(repeated) == 1 else None


def _listed(events: Mapping[str, Any], prices: Mapping[str, tuple[float, float]]) -> str:
    return ", ".join(
        f"{events[name].event_title} {dollars(low)}"
        + ("" if low == high else f" to {dollars(high)}")
        for name, (low, high) in prices.items()
    )
