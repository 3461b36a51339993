"""A template of cells becomes a notebook: nbformat 4.5, the same text for the same values."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

TEMPLATE = "cells.jinja"
_CELL = re.compile(r"^%% (markdown|code) ([a-z-]+)\n", re.MULTILINE)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+!|~$&-])")
METADATA: Mapping[str, Any] = {
    "accelerator": "GPU",
    "colab": {"gpuType": "T4", "provenance": []},
    "kaggle": {"accelerator": "gpu", "isGpuEnabled": True, "isInternetEnabled": True},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
"""What the platforms read: which kernel, and that a GPU is wanted."""


def render_notebook(values: Mapping[str, Any]) -> str:
    """Return a notebook as JSON text.

    Args:
        values: What the template asks for.
    """
    notebook = {
        "cells": [_cell(*cell) for cell in _cells(_fill(values))],
        "metadata": METADATA,
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _fill(values: Mapping[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined

    text = files("loragraft.training.notebook").joinpath(TEMPLATE).read_text(encoding="utf-8")
    # Nothing here is HTML: the filters below spell a value for where it stands.
    environment = Environment(
        autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(py=repr, md=escape_markdown, code=spell_code, sh=shlex.quote)
    return environment.from_string(text).render(values)


def escape_markdown(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def spell_code(text: str) -> str:
    """Return a text as code within a line of Markdown."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    if not longest:
        return f"`{text}`"
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}"


def _cells(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield kind, name and source of each cell."""
    _, *parts = _CELL.split(text)
    for kind, name, source in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        yield kind, name, re.sub(r"\n{3,}", "\n\n", source).strip("\n") if kind == "markdown" \
            else source.strip("\n")  # fmt: skip


def _cell(kind: str, name: str, source: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "id": name, "metadata": {},
                            "source": source.splitlines(keepends=True)}  # fmt: skip
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return cell
