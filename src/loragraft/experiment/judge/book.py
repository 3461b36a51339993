"""Verdicts kept in a file: what was judged once is not paid for again.

One line for each question to a judge, bound to the judge and its settings by the file's key. A
verdict is found by what was asked, so that answers which changed are judged anew and all others
are not.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args

from loragraft.artifact.closing import Closing
from loragraft.artifact.journal import Journal
from loragraft.artifact.jsonl import Line, parse_object, scan_jsonl
from loragraft.artifact.lock import hold_lock
from loragraft.artifact.metadata import plain
from loragraft.errors import InputError
from loragraft.experiment.judge.asking import Asked, Settings, VerdictStatus
from loragraft.experiment.judge.prompt import PROMPT_VERSION

SCHEMA_VERSION = 1
MOST_ROUNDS = 2
"""Runs in which a question is asked: one that got no answer is tried again by the next run."""
AGAIN = frozenset(("timeout", "error"))
"""What the next run may mend; a judge that writes no verdict will not tomorrow either."""
LONGEST_NOTE = 2000

_STATUSES = frozenset(get_args(VerdictStatus))


def judge_key(judge: Mapping[str, Any], settings: Settings) -> str:
    """Return what decides verdicts beside what is asked.

    Args:
        judge: Of the engine: its identity, or what stands for it, as JSON values.
        settings: How it is asked.
    """
    told = [SCHEMA_VERSION, PROMPT_VERSION, judge, asdict(settings)]
    return _digest(told)


def _digest(values: object) -> str:
    text = json.dumps(plain(values), sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class _Known:
    """Verdicts by what was asked."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[Asked, int]] = {}
        self.engine: str | None = None
        self.facts: dict[str, Any] | None = None

    def learn(self, entry: Mapping[str, Any]) -> None:
        """Take an entry in; one that this program did not write is passed over."""
        engine, content, tried = (entry.get(name) for name in ("engine", "content", "round"))
        if isinstance(engine, str) and content is None:
            self.engine = engine
        if isinstance(entry.get("facts"), dict):
            self.facts = entry["facts"]
        asked = _asked(entry)
        if isinstance(content, str) and type(tried) is int and asked is not None:
            self.found[content] = (asked, tried)


def read_verdicts(path: Path) -> dict[str, Asked]:
    """Return what became of each question of a file, by what was asked; nothing is changed.

    Raises:
        InputError: If the file cannot be read.
    """
    known = _Known()
    for line in scan_jsonl(path):
        if isinstance(line, Line):
            known.learn(line.values)
    return {content: asked for content, (asked, _tried) in known.found.items()}


class VerdictBook(Closing):
    """The verdicts of one file; a context manager that holds its lock.

    Attributes:
        path: The file.
        moved: Where verdicts of another judge were moved to; None if there were none.
    """

    def __init__(self, path: Path, key: str) -> None:
        """Open a file, or begin one; one of another key is moved aside.

        Args:
            path: The file; its folder is made.
            key: Of :func:`judge_key`.

        Raises:
            InputError: If the file cannot be read, or is none of these and cannot give way.
            LockedError: If another process writes it.
        """
        self.path, self._key = path, key
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(hold_lock(path.with_name(f".{path.name}.lock")))
            self.moved = _move_aside(path, key)
            self._open()
            self._stack = stack.pop_all()

    def _open(self) -> None:
        self._journal = Journal(self.path, self._key)
        self._known = _Known()
        for entry in self._journal.entries:
            self._known.learn(entry)

    def bind(self, engine: Mapping[str, Any]) -> None:
        """Hold the verdicts to the engine that was opened; those of another are moved aside.

        Args:
            engine: Its identity.
        """
        told = _digest(engine)
        if self._known.engine not in (None, told):
            self._journal.close()
            self.moved = _give_way(self.path)
            self._open()
        if self._known.engine is None:
            self._journal.append({"engine": told})
            self._known.engine = told

    @property
    def facts(self) -> dict[str, Any] | None:
        """What was told of the judge's files when they were last looked at."""
        return self._known.facts

    def tell_facts(self, facts: Mapping[str, Any]) -> None:
        """Note what the judge's files are now, as JSON values."""
        self._journal.append({"facts": plain(facts)})
        self._known.facts = dict(facts)

    def __len__(self) -> int:
        """Return how many questions it knows."""
        return len(self._known.found)

    def get(self, content: str) -> Asked | None:
        """Return what became of a question; None where it is still to be asked."""
        found = self._known.found.get(content)
        if found is None or (found[0].status in AGAIN and found[1] < MOST_ROUNDS):
            return None
        return found[0]

    def last(self, content: str) -> Asked | None:
        """Return what is known of a question, whether or not it is to be asked again."""
        found = self._known.found.get(content)
        return None if found is None else found[0]

    def keep(self, content: str, asked: Asked, about: Mapping[str, Any] | None = None) -> None:
        """Note what became of a question.

        Args:
            content: What was asked, see :attr:`Ask.content`.
            asked: What became of it.
            about: More to note, as JSON values: whose answers were compared.

        Raises:
            OutOfSpaceError: If the disk is full.
        """
        tried = self._known.found[content][1] if content in self._known.found else 0
        entry = {**(about or {}), "content": content, "round": tried + 1, **asdict(asked)}
        self._journal.append(entry)
        self._known.learn(entry)

    def close(self) -> None:
        """Close the file and free its lock; twice does no harm."""
        self._journal.close()
        self._stack.close()


_TEXTS = ("id", "reasons", "error", "raw")
_COUNTS = ("attempts", "prompt_tokens", "tokens")


def _asked(entry: Mapping[str, Any]) -> Asked | None:
    """Return what an entry says; None where it says nothing that this program wrote."""
    values: dict[str, Any] = {field.name: entry.get(field.name) for field in fields(Asked)}
    word, cost = values["word"], values["cost"]
    fits = (
        values["status"] in _STATUSES
        and (isinstance(word, str) == (values["status"] == "ok"))
        and all(isinstance(values[name], str) for name in _TEXTS)
        and all(type(values[name]) is int and values[name] >= 0 for name in _COUNTS)
        and (cost is None or (isinstance(cost, (int, float)) and math.isfinite(cost)))
    )
    return Asked(**values) if fits else None


def _move_aside(path: Path, key: str) -> Path | None:
    """Move a file of another key away, so that nothing is lost; return its new path."""
    try:
        with path.open("rb") as file:
            head = file.readline(LONGEST_NOTE)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    if not head or _key_of(head) == key:
        return None
    return _give_way(path)


def _give_way(path: Path) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    for number in range(1, 1000):
        more = "" if number == 1 else f"-{number}"
        target = path.with_name(f"{path.stem}.previous-{stamp}{more}{path.suffix}")
        if not os.path.lexists(target):
            path.rename(target)
            return target
    raise InputError(f"{path} cannot be moved aside: there are too many of its kind. Tidy up.")


def _key_of(head: bytes) -> str | None:
    try:
        found = parse_object(head).get("key")
    except InputError:
        return None
    return found if isinstance(found, str) else None
