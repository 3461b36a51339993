"""A page, read by an independent parser."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any


@dataclass
class Cell:
    """A table cell of an experiment's metric.

    Attributes:
        experiment: Its id.
        metric: Its name.
        values: Of the figures in it.
        texts: As they are shown.
    """

    experiment: str
    metric: str
    values: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


class Reader(HTMLParser):
    """Gathers what tests ask for.

    Attributes:
        tags: How often each stands in the page.
        ids: Of elements.
        handlers: Attributes that would run scripts, and addresses that would be loaded.
        cells: Of tables, with an experiment and a metric.
        scripts: Texts of scripts and style, by id or tag.
        policy: What the page may do.
        words: What a person reads.
    """

    def __init__(self, text: str) -> None:
        """Read a page."""
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.handlers: list[str] = []
        self.cells: list[Cell] = []
        self.scripts: dict[str, str] = {}
        self.policy = ""
        self.words: list[str] = []
        self._inside = ""
        self._cell: Cell | None = None
        self._figure = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at an element."""
        self.tags[tag] += 1
        found = {name: value or "" for name, value in attrs}
        self.ids.update([found["id"]] if "id" in found else [])
        loads = {"src", "srcset", "style", "action", "background", "poster", "data"}
        self.handlers += [f"{tag} {name}" for name in found if name[:2] == "on" or name in loads]
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"]
        if tag in ("script", "style"):
            self._inside = found.get("id") or tag
            self.scripts.setdefault(self._inside, "")
        if tag == "td":
            names = found.get("data-experiment", ""), found.get("data-metric", "")
            self._cell = Cell(*names)
            self.cells.append(self._cell)
        if tag == "data" and self._cell:
            self._figure = True
            self._cell.values.append(float(found["value"]))

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        self._inside = "" if tag in ("script", "style") else self._inside
        self._cell = None if tag == "td" else self._cell

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        if self._inside:
            self.scripts[self._inside] += data
        else:
            self.words.append(data)
        if self._figure and self._cell:
            self._cell.texts.append(data)
            self._figure = False

    def json(self, name: str) -> Any:  # noqa: ANN401 - JSON is what it is
        """Return what a data element holds."""
        return json.loads(self.scripts[name])

    @property
    def text(self) -> str:
        """Return what a person reads, with single spaces."""
        return re.sub(r"\s+", " ", "".join(self.words)).replace("\u2060", "")
