"""What a rule is: it judges rows by themselves, or compares them with those that were kept.

A rule that judges by itself answers for a whole batch at once. A rule that remembers is asked
about each row that all others let through, and told which rows were kept in the end; so a row that
was dropped for another reason never counts against a later one, in whatever order the rules stand:

```
for each batch of rows:
    for each judge:              verdicts = judge.check_many(rows left)
    for each memory:             memory.begin(rows left)
    for each row left:           all memories check(number) -> kept or dropped
        kept:                    all memories keep(number)
    for each memory:             memory.end()
    now and then:                state.commit()
```

What is decided depends on the rows and their order alone. Batches begin at the same lines in every
run, and a run that was killed goes on where the last commit left the engine and every memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from loragraft.dataset.curate.state import State


class Row(NamedTuple):
    """A line of the raw file.

    Attributes:
        line: Its number, from 1.
        id: What its record will be called.
        values: The JSON object.
    """

    line: int
    id: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Drop:
    """Why a row goes.

    Attributes:
        measured: What was found, in few words ("27 characters", "0.94 like t-17").
        missing: Whether the row lacks what the rule needs; that is counted as a reason of its own.
    """

    measured: str
    missing: bool = False


class Judge(Protocol):
    """Judges rows by themselves."""

    def check_many(self, rows: Sequence[Row]) -> list[Drop | None]:
        """Return for each row why it goes, or None."""


class Memory(Protocol):
    """Compares rows with those that were kept before."""

    def open(self, state: State) -> None:
        """Take up what was committed last; called once, before anything else.

        Tables are made in ``state.connection`` with CREATE TABLE IF NOT EXISTS, files are taken
        from ``state.file(name)``; the state commits both together, the memory never does.
        """

    def begin(self, rows: Sequence[Row]) -> None:
        """Take a batch: whatever is cheaper for many at once is done here."""

    def check(self, number: int) -> Drop | None:
        """Return why a row of the batch goes, or None; earlier rows of it may have been kept."""

    def keep(self, number: int) -> None:
        """Remember a row of the batch: it was kept. Rows come in order, checked or not."""

    def end(self) -> None:
        """Leave the batch: what was remembered goes into the state, which may commit now."""
