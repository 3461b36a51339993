"""Whole numbers for the cells of a table, so that cells, rows, columns and total keep bounds.

A table is a network: a source feeds the rows, each row its cells' columns, each column a sink.
Flows of integers through it are tables of integers, and where real numbers within integer bounds
exist, whole ones do too (Ford and Fulkerson's integrality theorem). The flow is found by Dinic's
algorithm: time grows like cells times the root of rows and columns, for these capacities.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Bounds(NamedTuple):
    """The least and the most that a sum may be."""

    low: int
    high: int


class Cell(NamedTuple):
    """A cell of a table, by the keys of its row and column."""

    row: object
    column: object
    bounds: Bounds


def fill_table(
    cells: Sequence[Cell],
    rows: Mapping[object, Bounds],
    columns: Mapping[object, Bounds],
    total: int,
) -> list[int] | None:
    """Return a whole number for each cell so that all bounds hold; None where there are none.

    Which ones are found, of those that fit, depends on the order of the arguments alone.
    """
    network = _Network()
    source, sink = network.node(), network.node()
    row_nodes = {key: network.node() for key in rows}
    column_nodes = {key: network.node() for key in columns}
    for key, bounds in rows.items():
        network.edge(source, row_nodes[key], bounds)
    for key, bounds in columns.items():
        network.edge(column_nodes[key], sink, bounds)
    edges = [network.edge(row_nodes[c.row], column_nodes[c.column], c.bounds) for c in cells]
    network.edge(sink, source, Bounds(total, total))
    if not network.circulate():
        return None
    return [cell.bounds.low + network.flow(edge) for cell, edge in zip(cells, edges, strict=True)]


class _Network:
    """Nodes and edges with bounds; edges 2k and 2k + 1 are one and its reverse."""

    def __init__(self) -> None:
        self._ends: list[int] = []
        self._room: list[int] = []
        self._edges: list[list[int]] = []
        self._excess: list[int] = []
        self._possible = True

    def node(self) -> int:
        self._edges.append([])
        self._excess.append(0)
        return len(self._edges) - 1

    def edge(self, start: int, stop: int, bounds: Bounds) -> int:
        """Add an edge; what it must carry at least is carried, and owed to its ends."""
        self._possible = self._possible and 0 <= bounds.low <= bounds.high
        self._excess[stop] += bounds.low
        self._excess[start] -= bounds.low
        return self._connect(start, stop, bounds.high - bounds.low)

    def _connect(self, start: int, stop: int, room: int) -> int:
        number = len(self._ends)
        self._ends += (stop, start)
        self._room += (room, 0)
        self._edges[start].append(number)
        self._edges[stop].append(number + 1)
        return number

    def flow(self, edge: int) -> int:
        """Return what an edge carries above its least."""
        return self._room[edge + 1]

    def circulate(self) -> bool:
        """Find a flow that keeps all bounds; tell whether there is one."""
        if not self._possible:
            return False
        owed = list(enumerate(self._excess))
        source, sink = self.node(), self.node()
        needed = 0
        for node, excess in owed:
            if excess > 0:
                self._connect(source, node, excess)
                needed += excess
            elif excess < 0:
                self._connect(node, sink, -excess)
        while needed and (levels := self._levels(source, sink)):
            needed -= self._block(source, sink, levels)
        return not needed

    def _levels(self, source: int, sink: int) -> list[int] | None:
        """Return each node's distance from the source; None where the sink is out of reach."""
        levels = [-1] * len(self._edges)
        levels[source] = 0
        waiting = deque([source])
        while waiting and levels[sink] < 0:
            node = waiting.popleft()
            for edge in self._edges[node]:
                stop = self._ends[edge]
                if self._room[edge] and levels[stop] < 0:
                    levels[stop] = levels[node] + 1
                    waiting.append(stop)
        return levels if levels[sink] >= 0 else None

    def _block(self, source: int, sink: int, levels: list[int]) -> int:
        """Push along shortest ways until none is left."""
        at = [0] * len(self._edges)
        pushed = 0
        way: list[int] = []
        node = source
        while True:
            if node == sink:
                pushed += self._push(way)
                first = next(n for n, edge in enumerate(way) if not self._room[edge])
                del way[first + 1 :]
                node = self._ends[way.pop() ^ 1]
                continue
            onward = self._onward(node, at, levels)
            if onward is not None:
                way.append(onward)
                node = self._ends[onward]
            elif way:
                levels[node] = -1
                node = self._ends[way.pop() ^ 1]
            else:
                return pushed

    def _push(self, way: list[int]) -> int:
        count = min(self._room[edge] for edge in way)
        for edge in way:
            self._room[edge] -= count
            self._room[edge ^ 1] += count
        return count

    def _onward(self, node: int, at: list[int], levels: list[int]) -> int | None:
        edges = self._edges[node]
        while at[node] < len(edges):
            edge = edges[at[node]]
            if self._room[edge] and levels[self._ends[edge]] == levels[node] + 1:
                return edge
            at[node] += 1
        return None
