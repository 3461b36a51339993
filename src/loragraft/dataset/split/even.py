"""A table of fractions to whole numbers, without favour: Cox's controlled rounding.

Cells become floor or ceil of what they are, and so do the sums of rows, of columns and of all. On
average over seeds every cell keeps its value, however large or small its row is; so a stratum of
one record goes to a split as often as its share says. A rounding that is found by a flow, or
greedily, keeps the bounds as well, but sends single records where it suits the others.

Source: L. H. Cox, A constructive procedure for unbiased controlled rounding, Journal of the
American Statistical Association 82 (1987). While cells are fractions there is a circle of them, at
right angles like a rook's tour; adding to every other one and taking from the rest leaves all sums,
and makes at least one cell whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Mapping
from typing import TypeAlias, TypeVar

from loragraft.dataset.split.seed import rank

R = TypeVar("R", bound=Hashable)
C = TypeVar("C", bound=Hashable)
Node: TypeAlias = tuple[bool, int]
"""A row (True) or a column, by number; 0 is the one that takes up what sums lack."""
Edge: TypeAlias = tuple[int, int]


def round_evenly(
    table: Mapping[tuple[R, C], int],
    unit: int,
    seed: int,
    purpose: str,
    columns: Mapping[C, int] | None = None,
    total: int | None = None,
) -> dict[tuple[R, C], int]:
    """Round a table of numbers.

    Args:
        table: Numbers times ``unit``, by row and column. The order takes part in the decision.
        unit: What stands for 1.
        seed: Of the decision.
        purpose: Tells this rounding from others of the same seed, which would draw alike.
        columns: What columns' sums shall be; each the floor or ceil of what it is.
        total: What the sum of all shall be, likewise.

    Returns:
        Whole numbers by row and column.
    """
    rows: dict[R, int] = {}
    names: dict[C, int] = {}
    tour = _Tour(unit, seed, purpose)
    for (row, column), value in table.items():
        tour.put((rows.setdefault(row, len(rows) + 1), names.setdefault(column, len(names) + 1)),
                 value)  # fmt: skip
    tour.close()
    for column, wanted in (columns or {}).items():
        tour.settle_column(names[column], wanted)
    if total is not None:
        tour.settle_total(total)
    tour.finish()
    return {(row, column): tour.whole((rows[row], names[column])) for row, column in table}


class _Tour:
    """The cells that are fractions yet, as edges between rows and columns."""

    def __init__(self, unit: int, seed: int, purpose: str) -> None:
        self._unit = unit
        self._seed = seed
        self._purpose = purpose
        self._values: dict[Edge, int] = {}
        self._edges: dict[Node, list[Edge]] = {}
        self._sums: dict[Node, int] = {}
        self._steps = 0

    def put(self, edge: Edge, value: int) -> None:
        """Add a cell."""
        self._values[edge] = value
        for node in _ends(edge):
            self._edges.setdefault(node, []).append(edge)
            self._sums[node] = self._sums.get(node, 0) + value

    def close(self) -> None:
        """Give every row and column, and all together, a cell that makes its sum whole."""
        sums = dict(self._sums)
        self._total = sum(value for (is_row, _), value in sums.items() if is_row)
        for (is_row, number), value in sums.items():
            self.put((number, 0) if is_row else (0, number), -value % self._unit)
        self.put((0, 0), self._total % self._unit)
        self._whole_sums = sums

    def whole(self, edge: Edge) -> int:
        """Return a cell that is whole."""
        number, rest = divmod(self._values[edge], self._unit)
        assert not rest, edge
        return number

    def settle_column(self, column: int, wanted: int) -> None:
        """Round the sum of a column to a given side."""
        exact = self._whole_sums[False, column]
        # What fills the column up goes the other way: to 0 if the sum is to be the ceil.
        self._settle((0, column), up=wanted * self._unit < exact)

    def settle_total(self, wanted: int) -> None:
        """Round the sum of all to a given side."""
        self._settle((0, 0), up=wanted * self._unit > self._total)

    def _settle(self, edge: Edge, *, up: bool) -> None:
        while self._values[edge] % self._unit:
            circle = self._circle_through(edge)
            more, less = self._room(circle)
            self._turn(circle, more if up else -less)

    def finish(self) -> None:
        """Round whatever is a fraction yet, either way as often as keeps averages."""
        for node in list(self._edges):
            while next(self._open(node), None) is not None:
                circle = self._circle(node)
                more, less = self._room(circle)
                self._turn(circle, more if self._draw(more + less) < less else -less)

    def _draw(self, below: int) -> int:
        """Return a whole number below another that only the seed and the step decide."""
        self._steps += 1
        drawn = rank(self._seed, "step", self._purpose, str(self._steps))
        return int.from_bytes(drawn, "big") % below

    def _open(self, node: Node) -> Iterator[Edge]:
        """Yield the fractions of a row or column, and forget cells that are whole."""
        edges = self._edges[node]
        for at in range(len(edges) - 1, -1, -1):
            if self._values[edges[at]] % self._unit:
                yield edges[at]
            else:
                edges[at] = edges[-1]
                edges.pop()

    def _circle(self, node: Node) -> list[Edge]:
        """Walk along fractions until a node comes again: whole sums leave no dead end."""
        way: list[Edge] = []
        places = {node: 0}
        while True:
            last = way[-1] if way else None
            edge = next(edge for edge in self._open(node) if edge != last)
            way.append(edge)
            node = _other(edge, node)
            if node in places:
                return way[places[node] :]
            places[node] = len(way)

    def _circle_through(self, edge: Edge) -> list[Edge]:
        """Find a circle that holds a fraction: whole sums leave no bridge."""
        start, goal = _ends(edge)
        came: dict[Node, Edge] = {start: edge}
        waiting = deque([start])
        while goal not in came:
            node = waiting.popleft()
            for onward in self._open(node):
                stop = _other(onward, node)
                if stop not in came and onward != edge:
                    came[stop] = onward
                    waiting.append(stop)
        way = [edge]
        while goal != start:
            way.append(came[goal])
            goal = _other(came[goal], goal)
        return way

    def _room(self, circle: list[Edge]) -> tuple[int, int]:
        """Return how much the first of a circle, and every other one, can grow and shrink."""
        rests = [self._values[edge] % self._unit for edge in circle]
        grow, shrink = rests[::2], rests[1::2]
        return (min(self._unit - max(grow), min(shrink)), min(min(grow), self._unit - max(shrink)))

    def _turn(self, circle: list[Edge], by: int) -> None:
        for at, edge in enumerate(circle):
            self._values[edge] += -by if at % 2 else by


def _ends(edge: Edge) -> tuple[Node, Node]:
    return ((True, edge[0]), (False, edge[1]))


def _other(edge: Edge, node: Node) -> Node:
    return (False, edge[1]) if node[0] else (True, edge[0])
