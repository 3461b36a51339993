"""Many requests at once: none lost, none double, whatever fails; and they end when they shall."""

from __future__ import annotations

import signal
import threading
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.engine.batch import gate
from loragraft.engine.batch.failing import FailedError
from loragraft.engine.batch.gate import Gate
from loragraft.engine.batch.remote import MOST_LIMITED, Pace, Requests
from loragraft.errors import InputError, UnavailableError

NOW = Pace(concurrency=3, retries=2, first=0.0, longest=0.0)
FAILURES = {
    "passing": FailedError("timeout", "slow.", passing=True),
    "final": FailedError("refused", "no."),
    "limited": FailedError("error", "slower.", passing=True, limited=True, after=0.0),
}
Outcome = tuple[int, str, int]


def expected(failures: list[str], retries: int) -> tuple[str, int]:
    """Return what becomes of a request that fails so many times, one attempt after the other."""
    attempts = limited = 0
    for failure in failures:
        again = retries if failure != "final" else min(1, retries)
        if failure == "limited" and limited < MOST_LIMITED and again:
            limited += 1
            continue
        attempts += 1
        if attempts > again:
            return FAILURES[failure].status, attempts
    return "ok", attempts + 1


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.sampled_from([*FAILURES]), max_size=5), max_size=10),
    st.integers(0, 3),
    st.integers(1, 5),
)
def test_each_item_has_one_result(plans: list[list[str]], retries: int, width: int) -> None:
    left = [list(plan) for plan in plans]

    def ask(item: int, attempt: int, stop: threading.Event) -> Outcome:
        if left[item]:
            raise FAILURES[left[item].pop(0)]
        return item, "ok", attempt

    def tell(item: int, failed: FailedError, attempts: int) -> Outcome:
        return item, failed.status, attempts

    requests = Requests(Pace(width, retries, first=0.0, longest=0.0))
    found = sorted(requests.run(range(len(plans)), ask, tell))
    assert found == [(item, *expected(plan, retries)) for item, plan in enumerate(plans)]


def answered(item: int, attempt: int, stop: threading.Event) -> int:
    return item


def failed(item: int, error: FailedError, attempts: int) -> int:
    raise AssertionError(error)


def test_the_same_requests_may_be_sent_again_and_to_an_end() -> None:
    requests = Requests(NOW)
    for _ in range(3):
        assert sorted(requests.run(range(20), answered, failed)) == [*range(20)]
    assert list(requests.run([], answered, failed)) == []
    requests.close()
    requests.close()


def test_an_interruption_ends_the_work() -> None:
    asked: Counter[int] = Counter()
    released = threading.Event()

    def ask(item: int, attempt: int, stop: threading.Event) -> int:
        asked[item] += 1
        if item == 5:
            signal.raise_signal(signal.SIGINT)
            released.set()
        if item > 5:
            stop.wait(20)
            raise FailedError("error", "It was stopped.")
        return item

    with pytest.raises(KeyboardInterrupt):
        list(Requests(NOW).run(range(1000), ask, failed))
    assert released.is_set()
    assert sum(asked.values()) < 20


def test_what_is_no_failure_of_a_request_ends_the_work_as_it_is() -> None:
    def ask(item: int, attempt: int, stop: threading.Event) -> int:
        if item == 3:
            raise ZeroDivisionError
        return item

    with pytest.raises(ZeroDivisionError):
        list(Requests(NOW).run(range(50), ask, failed))

    def refuse(item: int, attempt: int, stop: threading.Event) -> int:
        raise InputError("no such model")

    with pytest.raises(InputError, match="no such model"):
        list(Requests(NOW).run(range(50), refuse, failed))


def test_nobody_there_is_asked_again_before_the_work_ends() -> None:
    asked: Counter[int] = Counter()

    def ask(item: int, attempt: int, stop: threading.Event) -> int:
        asked[item] += 1
        raise FailedError("error", "x", passing=True, ends=UnavailableError("no server"))

    with pytest.raises(UnavailableError, match="no server"):
        list(Requests(Pace(1, 2, first=0.0, longest=0.0)).run(range(50), ask, failed))
    assert asked[0] == 3


def test_a_slow_reader_loses_nothing() -> None:
    running = Requests(NOW).run(range(30), answered, failed)
    assert sorted([next(running), *running]) == [*range(30)]


class Clock:
    """A time that passes where somebody waits."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.now = 0.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


class Stop(threading.Event):
    """Lets the clock pass instead of waiting."""

    def __init__(self, clock: Clock) -> None:
        """Wait by a clock."""
        super().__init__()
        self.clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        """Pass the time."""
        self.clock.now += timeout or 0.0
        return self.is_set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(gate, "time", found)
    return found


def test_requests_a_minute(clock: Clock) -> None:
    door, stop, times = Gate(120), Stop(clock), []
    for _ in range(5):
        assert door.enter(stop)
        times.append(clock.now)
    assert times == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0])
    door.hold(10.0)
    assert door.enter(stop)
    assert clock.now == pytest.approx(12.0)
    door.hold(1.0)
    door.hold(0.1)  # does not shorten what was asked before
    assert door.enter(stop)
    assert clock.now == pytest.approx(13.0)
    stop.set()
    assert not door.enter(stop)


def test_waits_grow_and_end() -> None:
    pace = Pace(first=1.0, longest=8.0)
    waits = [pace.delay(failures) for failures in range(1, 2000, 1)]
    assert all(0.7 <= wait <= 8.0 for wait in waits)
    assert waits[0] <= 1.0
    assert min(waits[4:]) >= 5.6
