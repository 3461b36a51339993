"""A series' table in blocks: for a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loragraft.experiment.table import Line, Row, Table, number, shown

TIERS = (
    ("main", "What counts"),
    ("sanity", "Sanity: for catching catastrophes only"),
    ("diagnostic", "Diagnostics: times are one answer's, several at once; throughput is the run's"),
)


@dataclass(frozen=True)
class Block:
    """One table.

    Attributes:
        title: Above it.
        columns: Heads.
        rows: Cells.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def blocks_of(table: Table) -> list[Block]:
    """Return a series' tables: experiments, metrics by tier, and comparisons."""
    blocks = [_experiments(table)]
    for tier, title in TIERS:
        rows = [row for row in table.rows if row.info.tier == tier]
        if rows:
            blocks.append(_metrics(table, title, rows))
    spread = _spread(table)
    blocks += [spread] if spread.rows else []
    more = (_pairs(table), _judged(table))
    return [*blocks, *(block for block in more if block.rows)]


def _experiments(table: Table) -> Block:
    rows = [
        [_name(table, line), line.engine, line.state, str(line.total or ""), _counts(line),
         ", ".join(line.stale)]
        for line in table.lines
    ]  # fmt: skip
    size = f", {table.size}" if table.size else ""
    return Block(f"Series {table.series}{size}",
                 ("experiment", "model", "state", "asked", "answers", "stale"), rows)  # fmt: skip


def _name(table: Table, line: Line) -> str:
    also = [*line.aliases, *(["baseline"] if line.name == table.baseline else [])]
    return f"{line.name} ({', '.join(also)})" if also else line.name


def _counts(line: Line) -> str:
    return ", ".join(f"{count} {status}" for status, count in line.counts.items())


def _metrics(table: Table, title: str, rows: Sequence[Row]) -> Block:
    names = [line.name for line in table.lines]
    body = [
        [row.info.name, _unit(row), *(shown(row.cells.get(name)) for name in names)]
        for row in rows
    ]  # fmt: skip
    return Block(title, ("metric", "unit", *names), body)


def _unit(row: Row) -> str:
    arrow = {"higher": " ↑", "lower": " ↓", None: ""}[row.info.better]
    return f"{row.info.unit}{arrow}"


def _spread(table: Table) -> Block:
    """Return the variance within and between questions, where they have several answers."""
    rows = []
    for row in table.rows:
        for name, cell in row.cells.items():
            if cell is not None and cell.spread is not None and row.info.tier != "diagnostic":
                found = cell.spread
                rows.append([row.info.name, name, number(found.within), number(found.between),
                             str(found.answers)])  # fmt: skip
    return Block("Variance of repeated answers",
                 ("metric", "experiment", "within a question", "between questions", "answers"),
                 rows)  # fmt: skip


def _pairs(table: Table) -> Block:
    """Return what verdicts rest on; all other pairs are in the JSON."""
    main = {row.info.name for row in table.rows if row.info.tier == "main"}
    rows = [
        [pair.metric, pair.experiment, number(pair.value), number(pair.baseline_value),
         f"{pair.difference:+.3f}", str(pair.count), str(pair.excluded)]
        for pair in table.pairs
        if pair.metric in main
    ]  # fmt: skip
    columns = ("metric", "experiment", "its mean", "baseline", "difference", "questions",
               "left out")  # fmt: skip
    return Block(f"Beside the baseline {table.baseline}, on questions that both have", columns,
                 rows)  # fmt: skip


def _judged(table: Table) -> Block:
    """Return the judge's verdicts; one who does not care for places prefers the first in half."""
    rows = [
        [f"{pair['a']} against {pair['b']}", _share(pair["win_rate"]), str(pair["judged"]),
         f"{pair['wins']} / {pair['ties']} / {pair['losses']}", _share(pair["disagreement_rate"]),
         _share(pair["first_rate"]),
         ", ".join(f"{count} {why}" for why, count in pair["missing"].items())]
        for pair in table.judged
    ]  # fmt: skip
    columns = ("pair", "win rate", "questions", "won / tied / lost", "orders disagree",
               "first place preferred", "missing")  # fmt: skip
    return Block("Judged in pairs, both orders", columns, rows)


def _share(value: float | None) -> str:
    return "" if value is None else number(value)


def markdown_of(blocks: Sequence[Block]) -> str:
    """Spell tables as Markdown, each under its title."""
    parts = []
    for block in blocks:
        parts.append(f"## {escaped(block.title)}\n")
        parts.append(_line(block.columns))
        parts.append(_line(["---"] * len(block.columns)))
        parts += [_line(row) for row in block.rows]
        parts.append("")
    return "\n".join(parts)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"


def escaped(text: str) -> str:
    """Return a text that stays in its cell and means nothing to Markdown."""
    from loragraft.chat.cleaning import clean

    plain = " ".join(clean(text).split())
    for sign in ("\\", "|", "`", "<", "[", "*"):
        plain = plain.replace(sign, f"\\{sign}")
    return plain
