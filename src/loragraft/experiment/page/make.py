"""The page: one file that needs no network, and that runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from loragraft.experiment.analysis import numbers
from loragraft.experiment.analysis.model import Analysis, Browsable
from loragraft.experiment.analysis.standing import standing_of
from loragraft.experiment.page.figures import slice_tables, spreads_of, tiers_of
from loragraft.experiment.page.forest import (
    better_of,
    effects_of,
    focus_of,
    panels_of,
    unit_of,
)
from loragraft.experiment.page.marks import LOOKS, MINUS
from loragraft.experiment.page.provenance import rows_of
from loragraft.experiment.page.samples import passages_json, samples_json
from loragraft.experiment.page.verdicts import cards_of, others_of

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_PACKAGE = "loragraft.experiment.page"
_TEMPLATE = "page.html.jinja"
_STYLES = ("page.css", "plots.css", "samples.css", "print.css")
_SCRIPTS = ("data.js", "table.js", "sample.js", "page.js")


def render(analysis: Analysis, browsable: Browsable) -> str:
    """Return the page of an analysis.

    Every text in it is escaped, and control characters are shown. A policy in the page forbids
    everything but its own style and script: even markup that escaped notice could load nothing.

    Args:
        analysis: What the series means.
        browsable: Its samples.
    """
    style, script = _joined("styles", _STYLES), _script()
    return (
        _environment(analysis)
        .get_template(_TEMPLATE)
        .render(
            analysis=analysis,
            style=_markup(style),
            script=_markup(script),
            policy=_policy(style, script),
            samples=_markup(samples_json(analysis, browsable)),
            passages=_markup(passages_json(browsable)),
            asked=len(browsable.questions),
            created=_date(analysis.created),
            heights=_heights(len(analysis.experiments)),
            **_views(analysis),
        )
    )


def _views(analysis: Analysis) -> dict[str, Any]:
    return {
        "names": list(analysis.experiments),
        "cards": cards_of(analysis),
        "others": others_of(analysis),
        "focus": focus_of(analysis),
        "panels": panels_of(analysis, ("main",)),
        "more_panels": panels_of(analysis, ("diagnostic", "sanity")),
        "tiers": tiers_of(analysis),
        "slices": slice_tables(analysis),
        "factorial": effects_of(analysis, analysis.factorial),
        "fidelity": effects_of(analysis, analysis.fidelity),
        "times": spreads_of(analysis, seconds=True),
        "spreads": spreads_of(analysis, seconds=False),
    }


def _date(created: str) -> str:
    """Return a time as people write it: ``2026-11-22 03:40 UTC``."""
    from datetime import datetime, timezone

    try:
        when = datetime.fromisoformat(created.replace("Z", "+00:00"))
    except ValueError:
        return created
    return f"{when.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC" if when.tzinfo else created


def _heights(count: int) -> list[float]:
    """Return where experiments' marks stand in a row, so that none hides another, in percent."""
    return [round(50 + 40 * (n - (count - 1) / 2) / max(count - 1, 1), 1) for n in range(count)]


def _environment(analysis: Analysis) -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    from loragraft.chat.cleaning import clean

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        loader=FunctionLoader(lambda name: _read("templates", name)),
        finalize=lambda value: clean(value) if type(value) is str else value,
    )  # fmt: skip
    looks = {name: number % LOOKS for number, name in enumerate(analysis.experiments)}
    environment.globals.update(
        look=lambda name: looks.get(name, 0),
        unit_of=lambda metric: unit_of(analysis, metric),
        better_of=lambda metric: better_of(analysis, metric),
        scale_of=numbers.scale_of,
        rows_of=rows_of,
        standing_of=standing_of,
    )
    environment.filters.update(_filters())
    return environment


def _filters() -> dict[str, Callable[..., Any]]:
    return {
        "bare": lambda value, unit="": _data(value, numbers.bare(value, unit)),
        "spelled": lambda value, unit="": _data(value, numbers.spelled(value, unit)),
        "trimmed": lambda value, unit="": _data(value, numbers.trimmed(numbers.bare(value, unit))),
        "signed": lambda value, unit="": _data(value, numbers.signed(value, unit)),
        "difference": lambda value, unit="": _data(value, numbers.difference(value, unit)),
        "p": lambda value: _data(value, numbers.p_value(value)),
        "p_alone": lambda value: _data(value, numbers.p_value(value).removeprefix("= ")),
        "level": numbers.percent,
        "breakable": _breakable,
        "path": lambda text: _breakable(text, signs="_-/."),
    }


def _data(value: float | None, text: str) -> Markup:
    """Return a figure with the JSON's own value beside it."""
    from markupsafe import Markup

    shown = MINUS + text[1:] if text.startswith("-") else text
    if value is None:
        return Markup("<span>{}</span>").format(shown)
    return Markup('<data value="{}">{}</data>').format(repr(float(value)), shown)


def _breakable(text: str, signs: str = "_-/") -> Markup:
    """Return a name that may be broken behind each underscore, hyphen and slash: nowhere else."""
    from markupsafe import Markup, escape

    from loragraft.chat.cleaning import clean

    safe = str(escape(clean(text)))
    for sign in signs:
        safe = safe.replace(sign, f"{sign}<wbr>")
    return Markup(safe)


def _script() -> str:
    return '"use strict";\n(() => {\n' + _joined("scripts", _SCRIPTS) + "})();\n"


def _joined(folder: str, names: Sequence[str]) -> str:
    return "".join(_read(folder, name) for name in names)


def _read(folder: str, name: str) -> str:
    return files(_PACKAGE).joinpath(folder).joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Return what the browser may do: this style and this script, and nothing from anywhere."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _markup(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)
