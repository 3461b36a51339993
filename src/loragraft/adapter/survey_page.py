"""A survey as one HTML page that needs nothing else."""

from __future__ import annotations

from importlib.resources import files

from loragraft.adapter.survey import ALONE, Survey

TEMPLATE = "survey.html.jinja"


def render_survey(survey: Survey) -> str:
    """Return the page; every name and message in it is escaped."""
    from jinja2 import Environment, StrictUndefined

    text = files("loragraft.adapter").joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text).render(survey=survey, alone=ALONE, counts=_counts(survey))


def _counts(survey: Survey) -> dict[str, int]:
    """Count the pairs by verdict."""
    counts = {"pass": 0, "warn": 0, "fail": 0}
    for adapter in survey.adapters:
        for base in survey.bases:
            counts[survey.verdict(adapter, base)] += 1
    return counts
