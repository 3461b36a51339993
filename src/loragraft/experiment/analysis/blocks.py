"""A report in tables: the verdict in front, figures with their intervals, then all the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from loragraft.experiment.analysis.model import Analysis, Comparison, Effect, Figure, Verdict
from loragraft.experiment.analysis.numbers import difference, p_value, signed, spelled
from loragraft.experiment.analysis.slices import BY_PAPER
from loragraft.experiment.analysis.standing import standing_of
from loragraft.experiment.markdown import Block, blocks_of
from loragraft.experiment.statistics.results import Interval
from loragraft.experiment.table import NOT_RUN, Table
from loragraft.experiment.verdict.wording import SHARE

DECISIONS: Mapping[str, str] = {
    "promote": "PROMOTE",
    "reject": "reject",
    "undecided": "undecided",
    "blocked": "BLOCKED",
    "not a candidate": "no candidate",
}
_MAIN = "main"


def report_blocks(analysis: Analysis, table: Table | None = None) -> list[Block]:
    """Return the tables of a report.

    Args:
        analysis: What the figures mean.
        table: All figures; None where there are runs alone, and no series.
    """
    blocks = [*(_conditions(one) for one in analysis.verdicts if one.conditions)]
    shown = [] if table is None else blocks_of(_rest(analysis, table))
    blocks += [*(shown[:1] or [_runs(analysis)]), _figures(analysis), _comparisons(analysis)]
    blocks += [_effects(analysis, "Tuning by retrieval", analysis.factorial),
               _effects(analysis, "What the export has cost", analysis.fidelity),
               _controls(analysis), *_slices(analysis)]  # fmt: skip
    return [block for block in (*blocks, *shown[1:]) if block.rows]


def leading_metric(analysis: Analysis) -> str:
    """Return the metric that decides: the rule's, or the first that is compared; else none."""
    compared = {one.metric for one in analysis.comparisons}
    first = (name for name in analysis.metrics if name in compared)
    return str(analysis.rule.get("metric") or next(first, ""))


def verdict_lines(analysis: Analysis) -> list[str]:
    """Return the verdict on each candidate in a sentence, the best news first.

    Where nothing is promoted, what was compared is told without a verdict.
    """
    if not analysis.verdicts:
        metric = leading_metric(analysis)
        return [_told(one, str(analysis.metrics[metric]["unit"]))
                for one in analysis.comparisons if one.metric == metric]  # fmt: skip
    ranks = list(DECISIONS)
    told = sorted(analysis.verdicts, key=lambda one: ranks.index(one.decision))
    return [f"{DECISIONS[one.decision]}: {one.sentence}" for one in told if one.conditions]


def _told(one: Comparison, unit: str) -> str:
    adjusted = p_value(one.adjusted).removeprefix("= ")
    return (
        f"{one.experiment} beside {one.baseline}: {one.metric} {difference(one.difference, unit)} "
        f"{_between(one.interval, unit, sign=True)}, p {p_value(one.test.p)} (corrected for all "
        f"that was compared: {adjusted}), better in {one.better} and worse in {one.worse} of "
        f"{one.count} questions."
    )


def _rest(analysis: Analysis, table: Table) -> Table:
    """Return a table without what is shown with intervals."""
    compared = {(one.metric, one.experiment) for one in analysis.comparisons}
    return replace(
        table,
        rows=tuple(row for row in table.rows if row.info.tier != _MAIN),
        pairs=tuple(p for p in table.pairs if (p.metric, p.experiment) not in compared),
    )


def _runs(analysis: Analysis) -> Block:
    """Return what is compared where no series tells."""
    rows = [
        [name, str(one["engine"]), str(one["state"]), str(one["total"]),
         ", ".join(f"{count} {status}" for status, count in one["counts"].items())]
        for name, one in analysis.experiments.items()
    ]  # fmt: skip
    return Block("Runs", ("experiment", "model", "state", "asked", "answers"), rows)


def _conditions(verdict: Verdict) -> Block:
    rows = [[one.name, one.met, one.measured, one.wanted, one.next] for one in verdict.conditions]
    title = f"{verdict.experiment}: {DECISIONS[verdict.decision]}"
    return Block(title, ("condition", "met", "measured", "wanted", "next"), rows)


def _figures(analysis: Analysis) -> Block:
    """Return the main metrics of all experiments, each with its interval and count."""
    names = list(analysis.experiments)
    by_name = {(one.metric, one.experiment): one for one in analysis.figures}
    rows = []
    leading = leading_metric(analysis)
    for metric, info in analysis.metrics.items():
        if info["tier"] == _MAIN or metric == leading:
            cells = [_figure(by_name.get((metric, name)), str(info["unit"])) for name in names]
            arrow = {"higher": " ↑", "lower": " ↓"}.get(str(info["better"]), "")
            rows.append([f"{metric}{arrow}", *cells])
    return Block("What counts: mean over questions, 95 % interval", ("metric", *names), rows)


def _figure(figure: Figure | None, unit: str) -> str:
    if figure is None:
        return NOT_RUN
    if figure.value is None:
        return figure.reason
    count = str(figure.count) if figure.count == figure.of else f"{figure.count} of {figure.of}"
    between = "" if figure.interval is None else f" {_between(figure.interval, unit)}"
    return f"{spelled(figure.value, unit)}{between} (n={count})"


def _between(interval: Interval, unit: str, sign: bool = False) -> str:
    if interval.low == interval.high:
        return "(no spread)"
    ends = [signed(end, unit) if sign else spelled(end, unit).split(" ")[0]
            for end in (interval.low, interval.high)]  # fmt: skip
    return f"[{ends[0]}, {ends[1]}]"


def _comparisons(analysis: Analysis) -> Block:
    """Return what verdicts rest on; comparisons of all other metrics are in the JSON."""
    leading = leading_metric(analysis)
    shown = [one for one in analysis.comparisons
             if one.metric == leading or analysis.metrics[one.metric]["tier"] == _MAIN]  # fmt: skip
    families = Counter(one.family for one in analysis.comparisons)
    rows = [_comparison(one, str(analysis.metrics[one.metric]["unit"]), families[one.family])
            for one in shown]  # fmt: skip
    tests = ", ".join(dict.fromkeys(one.test.name for one in shown))
    title = f"Beside the baseline {analysis.baseline}, on questions that both have ({tests})"
    columns = ("metric", "experiment", "difference", "p (corrected)", "better / worse",
               "questions", "left out", "could see")  # fmt: skip
    return Block(title, columns, rows)


def _comparison(one: Comparison, unit: str, family: int) -> list[str]:
    corrected = "Holm" if one.family == "gating" else "BH"
    p, adjusted = (p_value(value).removeprefix("= ") for value in (one.test.p, one.adjusted))
    in_papers = "" if one.papers == one.count else f" in {one.papers} papers"
    return [
        one.metric,
        one.experiment,
        f"{difference(one.difference, unit)} {_between(one.interval, unit, sign=True)}",
        f"{p} ({adjusted}, {corrected} of {family})" if family > 1 else p,
        f"{one.better} / {one.worse}",
        f"{one.count}{in_papers}",
        str(one.excluded),
        _visible(one, unit),
    ]


def _visible(one: Comparison, unit: str) -> str:
    """Return the smallest difference that could have been seen; more than all is none."""
    if one.smallest is None:
        return ""
    if unit == SHARE and one.smallest > 1:
        return "none"
    return difference(one.smallest, unit).removeprefix("+")


def _effects(analysis: Analysis, title: str, effects: Sequence[Effect]) -> Block:
    rows = []
    for one in effects:
        unit = str(analysis.metrics.get(one.metric, {}).get("unit", ""))
        value = f"{difference(one.value, unit)} {_between(one.interval, unit, sign=True)}"
        p = p_value(one.p).removeprefix("= ")
        rows.append([one.name, one.metric, value, p, str(one.count), one.sentence])
    return Block(title, ("effect", "metric", "value", "p", "questions", "in words"), rows)


def _controls(analysis: Analysis) -> Block:
    rows = []
    for one in analysis.controls:
        unit = str(analysis.metrics.get(one.metric, {}).get("unit", ""))
        rows.append([one.name, one.experiment or "the questions", one.metric,
                     _or_blank(one.value, unit), _or_blank(one.real, unit), str(one.count),
                     standing_of(one), one.sentence])  # fmt: skip
    columns = ("control", "of", "metric", "control's", "real", "answers", "result", "in words")
    return Block("Controls", columns, rows)


def _or_blank(value: float | None, unit: str) -> str:
    return "" if value is None else spelled(value, unit)


def _slices(analysis: Analysis) -> Iterator[Block]:
    """Yield the promotion's metric by each division of the questions but papers: too many."""
    metric = leading_metric(analysis)
    unit = str(analysis.metrics.get(metric, {}).get("unit", ""))
    chosen = [one for one in analysis.slices if one.metric == metric and one.by != BY_PAPER]
    names = list(analysis.experiments)
    for by in dict.fromkeys(one.by for one in chosen):
        rows = [
            [one.name, str(one.questions), *(_slice(one.values.get(name), unit) for name in names)]
            for one in chosen if one.by == by
        ]  # fmt: skip
        yield Block(f"{metric} by {by}", (by, "questions", *names), rows)


def _slice(found: tuple[float, int] | None, unit: str) -> str:
    return "" if found is None else f"{spelled(found[0], unit)} (n={found[1]})"
