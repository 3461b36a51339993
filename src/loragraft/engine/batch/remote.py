"""Many requests to a server at the same time, each tried again where that may help, none lost."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty, Queue
from typing import Generic, TypeVar

from loragraft.engine.batch.failing import FailedError
from loragraft.engine.batch.gate import Gate
from loragraft.errors import UnavailableError

Item = TypeVar("Item")
Result = TypeVar("Result")
Ask = Callable[[Item, int, threading.Event], Result]
"""Sends the request of an item; hears which attempt it is, and sees when all is stopped."""

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
"""Seconds before another attempt, doubled each time: a server that restarts is back within them."""
LONGEST_ASKED = 600.0
"""Seconds for which a server may make us wait at once; for longer, the person comes back."""
MOST_LIMITED = 30
"""Refusals of one request for being one too many, which cost it no attempt."""
GIVE_UP_AFTER = 12
"""Requests in a row that a server failed, each after all its attempts: it will fail the others
too, and hours are saved by saying so."""
LOOK_SECONDS = 0.5
"""Between two looks for an interruption, where waiting itself does not notice one."""
END_SECONDS = 2.0
"""That requests under way get to end when all is over; they notice with their next piece."""


@dataclass(frozen=True)
class Pace:
    """How fast, and how often.

    Attributes:
        concurrency: Requests at the same time.
        retries: Further attempts after the first.
        per_minute: Requests at most; None for any number.
        first: Seconds before the second attempt.
        longest: Seconds at most before any, where the server does not ask for more.
    """

    concurrency: int = 4
    retries: int = 3
    per_minute: int | None = None
    first: float = FIRST_WAIT
    longest: float = LONGEST_WAIT

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failures: longer each time, never in step."""
        return min(self.first * 2.0 ** min(failures - 1, 30), self.longest) * random.uniform(0.7, 1)


@dataclass
class _Call(Generic[Item, Result]):
    """One call's work: what is to do, what is done, and whether to stop."""

    items: deque[Item]
    ask: Ask[Item, Result]
    tell: Callable[[Item, FailedError, int], Result]
    stop: threading.Event
    done: Queue[tuple[Result, FailedError | None] | BaseException] = field(default_factory=Queue)


class Requests:
    """Sends requests by several threads."""

    def __init__(self, pace: Pace) -> None:
        """Start nothing yet."""
        self._pace = pace
        self._gate = Gate(pace.per_minute)
        self._stop = threading.Event()

    def close(self) -> None:
        """End the present work."""
        self._stop.set()

    def run(
        self,
        items: Sequence[Item],
        ask: Ask[Item, Result],
        tell: Callable[[Item, FailedError, int], Result],
    ) -> Generator[Result, None, None]:
        """Yield one result for each item, in the order in which they are ready.

        Args:
            items: What is asked for.
            ask: Sends one request; the number is that of the attempt, from 1. Raises FailedError,
                also when all is stopped.
            tell: Makes a result of what failed finally; the number is that of the attempts.

        Raises:
            LoragraftError: What ``ask`` raises, and where the server fails one after the other.
            KeyboardInterrupt: If the user interrupts.
        """
        self._stop = threading.Event()
        call = _Call(deque(items), ask, tell, self._stop)
        count = min(self._pace.concurrency, len(items))
        threads = [
            threading.Thread(target=self._work, args=(call,), daemon=True) for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        try:
            yield from self._results(call, len(items))
        finally:
            call.stop.set()
            for thread in threads:
                thread.join(END_SECONDS / len(threads))

    def _results(self, call: _Call[Item, Result], count: int) -> Iterator[Result]:
        streak = 0
        for left in range(count - 1, -1, -1):
            found = _next(call.done)
            if isinstance(found, BaseException):
                raise found
            result, failed = found
            streak = streak + 1 if failed is not None and failed.passing else 0
            yield result
            if failed is not None and streak >= GIVE_UP_AFTER and left:
                raise UnavailableError(
                    f"The last {streak} requests failed, each {self._pace.retries + 1} times. "
                    f"{failed.words} What was answered is kept: run the same command again then."
                )

    def _work(self, call: _Call[Item, Result]) -> None:
        while not call.stop.is_set():
            try:
                item = call.items.popleft()
            except IndexError:
                return
            try:
                found = self._one(call, item)
            except BaseException as error:
                call.done.put(error)
                return
            if found is not None:
                call.done.put(found)

    def _one(
        self, call: _Call[Item, Result], item: Item
    ) -> tuple[Result, FailedError | None] | None:
        """Ask until there is an answer or no attempt left; None if all was stopped."""
        attempts = limited = 0
        while self._gate.enter(call.stop):
            attempts += 1
            try:
                return call.ask(item, attempts, call.stop), None
            except FailedError as failed:
                again = self._pace.retries if failed.passing else min(1, self._pace.retries)
                if failed.limited and limited < MOST_LIMITED and again:
                    attempts, limited = attempts - 1, limited + 1
                elif attempts > again:
                    if failed.ends is not None:
                        raise failed.ends from None
                    return call.tell(item, failed, attempts), failed
                self._rest(call.stop, failed, attempts + limited)
        return None

    def _rest(self, stop: threading.Event, failed: FailedError, failures: int) -> None:
        """Wait before another attempt; where the server asks for it, everybody does."""
        seconds = self._pace.delay(failures) if failed.after is None else failed.after
        if seconds > max(LONGEST_ASKED, self._pace.longest):
            raise UnavailableError(
                f"{failed.words} The server asks to wait {seconds:.0f} seconds: run the same "
                "command again then; what was answered is kept."
            )
        if failed.limited or failed.after is not None:
            self._gate.hold(seconds)
        else:
            stop.wait(seconds)


def _next(done: Queue[Result]) -> Result:
    """Return what is ready next; an interruption is noticed on every system meanwhile."""
    while True:
        try:
            return done.get(timeout=LOOK_SECONDS)
        except Empty:
            continue
