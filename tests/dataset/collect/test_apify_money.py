"""What a run may cost: agreed to, limited, planned, stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loragraft.artifact.secret import Secret
from loragraft.dataset.collect.apify import plan_apify, stop_run
from loragraft.dataset.collect.request import ApifyRequest
from loragraft.dataset.collect.store import state_path
from loragraft.errors import CheckFailedError, InputError
from tests.support.apify_server import ACTOR, KEY, ApifyServer, price, tweets
from tests.support.collecting import INPUT, Notes, collect, rows

PER_RESULT = price("PRICE_PER_DATASET_ITEM", unitName="tweet", pricePerUnitUsd=0.0004)


def test_nothing_is_started_that_is_not_agreed_to_or_too_dear(
    apify: ApifyServer, out: Path
) -> None:
    apify.prices, asked = [PER_RESULT], []

    def no(actor: Any, cost: Any) -> bool:  # noqa: ANN401
        asked.append((actor.name, cost.amount))
        return False

    assert collect(apify.url, out, target=3500, agree=no) is None
    assert asked == [(ACTOR, "$1.40")]
    with pytest.raises(CheckFailedError, match=r"cost \$1.40, and --max-cost allows \$1.00"):
        collect(apify.url, out, target=3500, max_cost=1.0)
    assert apify.count("POST", "") == 0
    assert not state_path(out).exists()


def test_refusing_another_run_leaves_the_file_as_it_is(apify: ApifyServer, out: Path) -> None:
    apify.items = tweets(4)
    collect(apify.url, out)
    assert collect(apify.url, out, add=True, agree=lambda a, c: False) is None
    assert rows(out) == tweets(4)
    assert collect(apify.url, out, resume=True).records == 4


def test_limits_are_handed_to_apify_too(apify: ApifyServer, out: Path) -> None:
    apify.items, apify.prices = tweets(4), [PER_RESULT]
    collect(apify.url, out, target=100, max_cost=1.0)
    assert apify.runs[0].query == {"maxItems": "100"}
    event = {"eventTitle": "Result", "eventDescription": "", "eventPriceUsd": 0.001}
    apify.prices = [price("PAY_PER_EVENT", pricingPerEvent={"actorChargeEvents": {"r": event}})]
    collect(apify.url, out.with_name("b.jsonl"), max_cost=2.5)
    assert apify.runs[1].query == {"maxTotalChargeUsd": "2.5"}


def test_a_run_that_becomes_too_dear_is_stopped(apify: ApifyServer, out: Path) -> None:
    apify.items, apify.options = tweets(60), {"step": 5, "usd": 0.1}
    report = collect(apify.url, out, max_cost=2.0)
    assert report.ended == "cost limit reached"
    assert not report.ok
    assert apify.runs[0].aborted
    assert 0 < report.records < 25
    assert rows(out) == tweets(report.records)


def test_a_plan_starts_and_writes_nothing(apify: ApifyServer, out: Path) -> None:
    apify.prices = [PER_RESULT]
    request = ApifyRequest(out, ACTOR, INPUT, target=1000)
    actor, cost = plan_apify(request, Secret(KEY), url=apify.url, note=print)
    assert (actor.name, cost.amount) == (ACTOR, "$0.40")
    assert list(out.parent.iterdir()) == []


def test_an_interrupted_run_can_be_stopped(apify: ApifyServer, out: Path) -> None:
    apify.items, apify.options = tweets(30), {"step": 6}
    stop: list[Callable[[int], None]] = []

    class Interrupting(Notes):
        def advance(self, count: int) -> None:
            if count and not stop:
                stop.append(self.advance)
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(apify.url, out, progress=Interrupting())
    assert stop_run(out, Secret(KEY), url=apify.url).status == "ABORTED"
    report = collect(apify.url, out, resume=True)
    assert report.ended == "ABORTED"
    assert rows(out) == tweets(report.records)
    with pytest.raises(InputError, match="No run of a collection"):
        stop_run(out, Secret(KEY), url=apify.url)
    with pytest.raises(InputError, match="No run of a collection"):
        stop_run(out.with_name("none.jsonl"), Secret(KEY), url=apify.url)
