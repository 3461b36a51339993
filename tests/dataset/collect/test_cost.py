"""What a run costs, by each of Apify's pricing models."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from loragraft.dataset.collect.cost import dollars, estimate
from tests.support.apify_server import actor, price


def read(*prices: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return pricing records as apify-client reads them."""
    from apify_client._models import ActorResource

    return ActorResource.model_validate(actor(list(prices))).pricing_infos


def event(title: str, usd: float | None, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"eventTitle": title, "eventDescription": "", "eventPriceUsd": usd, **more}


def per_event(**events: dict[str, Any]) -> Any:  # noqa: ANN401
    return read(price("PAY_PER_EVENT", pricingPerEvent={"actorChargeEvents": events}))


def test_a_price_for_each_result_is_known() -> None:
    prices = read(price("PRICE_PER_DATASET_ITEM", unitName="tweet", pricePerUnitUsd=0.0004))
    cost = estimate(prices, 3500)
    assert (cost.low, cost.high) == (pytest.approx(1.4), pytest.approx(1.4))
    assert cost.amount == "$1.40"
    assert cost.words == "$0.40 for 1,000 tweets."
    assert estimate(prices, None).results == 1000


def test_tiers_give_a_range() -> None:
    tiers = {"FREE": {"tieredPricePerUnitUsd": 0.001}, "GOLD": {"tieredPricePerUnitUsd": 0.0005}}
    prices = read(price("PRICE_PER_DATASET_ITEM", unitName="row", tieredPricing=tiers))
    cost = estimate(prices, 2000)
    assert cost.amount == "$1.00 to $2.00"
    assert "by your plan" in cost.words


def test_events_add_up_where_it_is_known_which_is_a_result() -> None:
    start = event("Start", 0.02, isOneTimeEvent=True)
    cost = estimate(per_event(s=start, r=event("Tweet", 0.0003, isPrimaryEvent=True)), 1000)
    assert cost.amount == "$0.32"
    assert "once: Start $0.02" in cost.words
    item = {"apify-default-dataset-item": event("Result", 0.001), "x": event("Extra", 0.5)}
    cost = estimate(per_event(**item), 1000)
    assert cost.amount == "$1.00 or more"
    assert "nobody knows how often: Extra $0.50" in cost.words


def test_events_of_unknown_meaning_cost_nobody_knows_what() -> None:
    cost = estimate(per_event(a=event("A", 0.1), b=event("B", 0.2)), 1000)
    assert cost.amount == "unknown"
    assert "A $0.10, B $0.20" in cost.words
    tiers = {"FREE": {"tieredEventPriceUsd": 0.002}, "GOLD": {"tieredEventPriceUsd": 0.001}}
    cost = estimate(per_event(a=event("A", None, eventTieredPricingUsd=tiers)), 1000)
    assert cost.amount == "$1.00 to $2.00"


def test_usage_and_rent_are_unknown_and_said_so() -> None:
    assert estimate((), 10).amount == "unknown"
    assert "--max-cost" in estimate(read(price("FREE")), 10).words
    rent = read(price("FLAT_PRICE_PER_MONTH", trialMinutes=0, pricePerUnitUsd=25))
    assert "$25.00 a month" in estimate(rent, 10).words


def test_the_price_in_force_counts() -> None:
    def at(year: int, usd: float) -> dict[str, Any]:
        record = price("PRICE_PER_DATASET_ITEM", unitName="x", pricePerUnitUsd=usd)
        return {**record, "startedAt": f"{year}-01-01T00:00:00Z"}

    prices = read(at(2030, 9.0), at(2020, 1.0), at(2024, 2.0))
    now = datetime(2025, 1, 1, tzinfo=timezone.utc)
    assert estimate(prices, 1, now).amount == "$2.00"


def test_small_amounts_are_spelled_with_their_digits() -> None:
    assert dollars(0.0004) == "$0.0004"
    assert dollars(0) == "$0.00"
    assert dollars(1234.5) == "$1,234.50"
    assert estimate(per_event(), 5).to_json()["low_usd"] is None
