"""What a collection is asked for, and what it says in the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loragraft.adapter.fetch.retry import Retry

PAGE = 250
"""Items of a page: a checkpoint each, and about two megabytes of tweets."""

POLL_SECONDS = 5.0
SETTLE_SECONDS = 2.0

SUCCEEDED, TARGET, COST = "SUCCEEDED", "target reached", "cost limit reached"
"""Why collection is over: as the run ended, or as we ended it."""


@dataclass(frozen=True)
class Pace:
    """How long to wait for what.

    Attributes:
        poll: Seconds between two looks at a run that has nothing new.
        settle: Seconds after which a finished run's data are looked at for the last time: Apify
            counts and lists them a little later than it stores them.
        settled: How many such last looks there are while more is announced than listed.
        retry: How often a request is tried.
        sleep: What waits.
    """

    poll: float = field(default_factory=lambda: POLL_SECONDS)
    settle: float = field(default_factory=lambda: SETTLE_SECONDS)
    settled: int = 15
    retry: Retry | None = None
    sleep: Callable[[float], object] = field(default=time.sleep, repr=False)


@dataclass(frozen=True)
class ApifyRequest:
    """What to collect.

    Attributes:
        out: The file to make.
        actor: ``owner/name`` or id; None where a run is attached to.
        run_input: The actor's input.
        run_id: A run to attach to instead of starting one.
        target: Records at most.
        max_cost: US dollars at most.
        resume: Whether a collection that is there goes on.
        replace: Whether what is there gives way.
        add: Whether, where the last run is over, another one is started and what is new added.
        page: Items of a page.
    """

    out: Path
    actor: str | None = None
    run_input: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    target: int | None = None
    max_cost: float | None = None
    resume: bool = False
    replace: bool = False
    add: bool = False
    page: int = PAGE


@dataclass(frozen=True)
class CollectReport:
    """What was collected.

    Attributes:
        out: The file.
        records: How many records are in it.
        again: Items that were there already.
        empty: Items that were no records.
        ended: Why it is over.
        runs: Every run with its status, message and cost.
        new: Records that this call brought.
    """

    out: Path
    records: int
    again: int
    empty: int
    ended: str
    runs: tuple[Mapping[str, Any], ...]
    new: int

    @property
    def ok(self) -> bool:
        """Whether it ended as it was meant to."""
        return self.ended in (SUCCEEDED, TARGET)

    def to_json(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "out": str(self.out), "ok": self.ok}
