"""A report as one HTML page that needs nothing else."""

from __future__ import annotations

from importlib.resources import files
from itertools import groupby

from loragraft.dataset.leaks.report import FAILING, KINDS, NEXT_STEPS, SEVERITIES, Leak, LeakReport

TEMPLATE = "leaks.html.jinja"
MOST_ON_PAGE = 200
"""Findings of a kind that the page shows: nobody reads more, and browsers grow slow."""


def render_page(report: LeakReport, title: str) -> str:
    """Return the page; every text in it is escaped, control characters are shown."""
    from jinja2 import Environment, StrictUndefined

    from loragraft.chat.cleaning import clean

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["clean"] = clean
    text = files("loragraft.dataset.leaks").joinpath(TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(text).render(
        report=report,
        title=title,
        groups=_groups(report),
        judged=[n for n in report.records if any(n in c.records for c in report.counts)],
        kinds=KINDS,
        severities=SEVERITIES,
        failing=FAILING,
        steps=NEXT_STEPS,
        most=MOST_ON_PAGE,
    )


def _groups(report: LeakReport) -> dict[tuple[str, str], list[Leak]]:
    """Return the findings by kind and severity."""
    grouped = groupby(report.leaks, key=lambda leak: (leak.kind, str(leak.severity)))
    return {key: list(found)[:MOST_ON_PAGE] for key, found in grouped}
