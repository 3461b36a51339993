"""How often to try again what may only have failed for a moment."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that another time may be different."""


@dataclass(frozen=True)
class Retry:
    """How often to try again, and how long to wait before.

    Attributes:
        attempts: Failures in a row, without a MiB between them, after which to give up.
        first: Seconds before the second try; doubled for each further one.
        longest: Seconds at most, also where the server asks for more.
        sleep: What waits.
    """

    attempts: int = 5
    first: float = 1.0
    longest: float = 30.0
    sleep: Callable[[float], object] = field(default=time.sleep, repr=False)

    def wait(self, failures: int, asked: float | None) -> None:
        """Wait as long as the server asked, or as the number of failures says."""
        delay = self.first * 2.0 ** (failures - 1) * random.uniform(0.75, 1.25)
        self.sleep(min(delay if asked is None else asked, self.longest))
