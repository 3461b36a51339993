"""When the next request may leave: not more often than agreed, and not while a server rests."""

from __future__ import annotations

import threading
import time


class Gate:
    """Lets requests of several threads through, one after the other."""

    def __init__(self, per_minute: int | None = None) -> None:
        """Open.

        Args:
            per_minute: Requests at most; None for any number.
        """
        self._between = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def hold(self, seconds: float) -> None:
        """Let nobody through for so long: the server asked one of them to wait."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def enter(self, stop: threading.Event) -> bool:
        """Wait for one's turn.

        Returns:
            Whether it came; False if everything was stopped meanwhile.
        """
        while not stop.is_set():
            with self._lock:
                now = time.monotonic()
                if now >= self._next:
                    self._next = now + self._between
                    return True
                left = self._next - now
            stop.wait(left)
        return False
