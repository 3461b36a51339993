"""Regular expressions out of an adapter's configuration, matched in a bounded number of steps.

``re`` goes back as often as a pattern lets it: ``((a|b)+)+!`` takes 2^31 ways through the name of
a layer, and nothing stops it. Patterns come from strangers, so those that could do that run here,
in the order of ``re`` but with a count: beyond the limit they are refused, before PEFT meets them.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from loragraft.errors import AdapterError

MAX_PATTERN = 100_000
"""Characters: choices among some thousand modules."""
MAX_TEXT = 2_000
"""Characters of a module's name; real ones have some fifty."""
MAX_STEPS = 50_000
"""Of one match, 0.1 s at most. Usual patterns need some hundred; ``re`` would take milliseconds."""
DEAR_STEPS = 5_000
"""A match beyond this many counts against its configuration's budget."""
BUDGET_STEPS = 200_000
"""Steps of all dear matches of one configuration."""
ALL_STEPS = 10_000_000
"""Steps of all matches of one configuration, some twenty seconds: more than a mixture of 30,000
expert modules takes, and an end where a header lists names by the million."""

_BACKTRACKS = re.compile(r"[*+?{|]")
"""Without repeats and choices there is nothing to go back to: ``re`` itself is used."""
_FLAGS = re.IGNORECASE | re.UNICODE | re.DOTALL | re.VERBOSE
_CATEGORIES = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}
_SINGLE = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN"})

Then = Callable[[int], bool]
Value = Any  # a number, a syntax tree, a tuple of them: each kind of node has its own
Node = tuple[Any, Value]


class _TooManySteps(Exception):
    """A match went beyond its limit."""


class _Unknown(Exception):
    """A pattern holds something that is not judged here."""


@dataclass
class Budget:
    """Steps that one configuration's matches have taken.

    Attributes:
        spent: Those of dear matches.
        total: All.
    """

    spent: int = field(default=0)
    total: int = field(default=0)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a regular expression out of an adapter's configuration.

    Raises:
        AdapterError: If it is none, or longer than any that names modules.
    """
    if len(pattern) > MAX_PATTERN:
        raise AdapterError(
            f"The adapter's configuration holds a pattern of {len(pattern)} characters "
            f"({pattern[:60]!r}…), expected at most {MAX_PATTERN}. List the modules' names instead."
        )
    return _compile(pattern)


@lru_cache(maxsize=4096)
def _compile(pattern: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise AdapterError(
            f"The adapter's configuration holds {pattern!r}, which is no regular expression "
            f"({error}). PEFT could not load it either."
        ) from None


def match_pattern(
    pattern: str, text: str, budget: Budget, *, foreign: str, whole: bool = False
) -> Mapping[str, str] | None:
    """Match a pattern at the start of a text as ``re`` does, in a bounded number of steps.

    Args:
        pattern: The pattern.
        text: A module's name.
        budget: What the configuration has spent so far.
        foreign: The part of the pattern that the configuration holds.
        whole: Whether the match must end where the text ends.

    Returns:
        The named groups, or None where the text does not match.

    Raises:
        AdapterError: If the pattern is none, or takes too many steps.
    """
    compiled = compile_pattern(pattern)
    if len(text) > MAX_TEXT:
        raise AdapterError(
            f"The adapter's file holds a name of {len(text)} characters ({text[:60]!r}…), expected "
            f"the path of a module, {MAX_TEXT} at most. Fetch the file again."
        )
    if not _BACKTRACKS.search(foreign):
        found = compiled.fullmatch(text) if whole else compiled.match(text)
        return None if found is None else found.groupdict("")
    try:
        run = _Run(text, compiled)
        matched = run.sequence(_parse(pattern), 0, 0, lambda end: not whole or end == len(text))
    except (_TooManySteps, RecursionError):
        raise _too_costly(foreign, text) from None
    except _Unknown as error:
        raise AdapterError(
            f"The adapter's configuration holds the pattern {_short(foreign)} with {error}, which "
            "no pattern of module names needs. Write it without, or list the modules' names."
        ) from None
    budget.total += run.steps
    if run.steps > DEAR_STEPS:
        budget.spent += run.steps
    if budget.spent > BUDGET_STEPS or budget.total > ALL_STEPS:
        raise _too_costly(foreign, text)
    return run.named() if matched else None


def _short(text: str) -> str:
    return repr(text) if len(text) <= 80 else f"{text[:77]!r}…"


def _too_costly(foreign: str, text: str) -> AdapterError:
    return AdapterError(
        f"The adapter's configuration holds the pattern {_short(foreign)}, which goes back and "
        f"forth over the name {_short(text)} without end: PEFT would hang on it. Do not trust "
        "this adapter; if it is yours, list the modules' names instead."
    )


@lru_cache(maxsize=4096)
def _parse(pattern: str) -> Sequence[Node]:
    """Return ``re``'s own syntax tree of a pattern."""
    try:
        parser = importlib.import_module("re._parser")
    except ModuleNotFoundError:  # before Python 3.11
        parser = importlib.import_module("sre_parse")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nodes: Sequence[Node] = parser.parse(pattern).data
    return nodes


class _Run:
    """One match: goes through the syntax tree in the order of ``re`` and counts its steps.

    Every method takes a position and ``then``, which goes on from where it ends; it returns
    whether some way through it lets ``then`` succeed.
    """

    def __init__(self, text: str, compiled: re.Pattern[str]) -> None:
        if compiled.flags & ~_FLAGS:
            raise _Unknown("flags")
        self.text = text
        self.steps = 0
        self._dot_all = bool(compiled.flags & re.DOTALL)
        self._any_case = bool(compiled.flags & re.IGNORECASE)
        self._names = compiled.groupindex
        self._groups: dict[int, tuple[int, int]] = {}

    def named(self) -> dict[str, str]:
        """Return the named groups of the match."""
        spans = {name: self._groups.get(number, (0, 0)) for name, number in self._names.items()}
        return {name: self.text[start:stop] for name, (start, stop) in spans.items()}

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise _TooManySteps

    def sequence(self, nodes: Sequence[Node], index: int, position: int, then: Then) -> bool:
        """Match the nodes from an index on."""
        while index < len(nodes) and str(nodes[index][0]) in _SINGLE:
            if not self._fits(nodes[index], position):
                return False
            index, position = index + 1, position + 1
        self._step()
        if index == len(nodes):
            return then(position)
        code, value = nodes[index]
        handle = getattr(self, f"_on_{str(code).lower()}", None)
        if handle is None:
            raise _Unknown(str(code).lower())
        matched: bool = handle(
            value, position, lambda end: self.sequence(nodes, index + 1, end, then)
        )
        return matched

    def _fits(self, node: Node, position: int) -> bool:
        """Say whether the character at a position is one that a node takes."""
        self._step()
        if position >= len(self.text):
            return False
        character = self.text[position]
        if not self._any_case:
            return self._takes(node, character)
        cases = (character, character.lower(), character.upper())
        if str(node[0]) == "NOT_LITERAL" or (str(node[0]) == "IN" and _is_negated(node[1])):
            return all(self._takes(node, case) for case in cases if len(case) == 1)
        return any(self._takes(node, case) for case in cases if len(case) == 1)

    def _takes(self, node: Node, character: str) -> bool:
        code, value = str(node[0]), node[1]
        if code == "LITERAL":
            return bool(ord(character) == value)
        if code == "NOT_LITERAL":
            return bool(ord(character) != value)
        if code == "ANY":
            return self._dot_all or character != "\n"
        members = value[1:] if _is_negated(value) else value
        return any(_in_set(member, character) for member in members) != _is_negated(value)

    def _on_branch(self, value: Value, position: int, then: Then) -> bool:
        return any(self.sequence(choice.data, 0, position, then) for choice in value[1])

    def _on_subpattern(self, value: Value, position: int, then: Then) -> bool:
        group, added, removed, inner = value
        if added or removed:
            raise _Unknown("flags inside a group")

        def close(end: int) -> bool:
            if group is None:
                return then(end)
            before = self._groups.get(group)
            self._groups[group] = (position, end)
            if then(end):
                return True
            self._groups.pop(group)
            if before is not None:
                self._groups[group] = before
            return False

        return self.sequence(inner.data, 0, position, close)

    def _on_max_repeat(self, value: Value, position: int, then: Then) -> bool:
        return self._repeat(value, position, then, greedy=True)

    def _on_min_repeat(self, value: Value, position: int, then: Then) -> bool:
        return self._repeat(value, position, then, greedy=False)

    def _on_possessive_repeat(self, value: Value, position: int, then: Then) -> bool:
        return self._atomic(lambda close: self._repeat(value, position, close, greedy=True), then)

    def _on_atomic_group(self, value: Value, position: int, then: Then) -> bool:
        return self._atomic(lambda close: self.sequence(value.data, 0, position, close), then)

    def _atomic(self, inner: Callable[[Then], bool], then: Then) -> bool:
        ends: list[int] = []

        def close(end: int) -> bool:
            ends.append(end)
            return True

        return inner(close) and then(ends[0])

    def _repeat(self, value: Value, position: int, then: Then, *, greedy: bool) -> bool:
        low, high, inner = value
        nodes = inner.data
        if len(nodes) == 1 and str(nodes[0][0]) in _SINGLE:
            return self._repeat_single(nodes[0], (low, high), position, then, greedy=greedy)
        return self._repeat_more(nodes, (low, high), 0, position, then, greedy=greedy)

    def _repeat_single(
        self, node: Node, limits: tuple[int, int], position: int, then: Then, *, greedy: bool
    ) -> bool:
        low, high = limits
        if greedy:
            count = 0
            while count < high and self._fits(node, position + count):
                count += 1
            return any(then(position + taken) for taken in range(count, low - 1, -1))
        count = 0
        while True:
            if count >= low and then(position + count):
                return True
            if count >= high or not self._fits(node, position + count):
                return False
            count += 1

    def _repeat_more(
        self,
        nodes: Sequence[Node],
        limits: tuple[int, int],
        count: int,
        position: int,
        then: Then,
        *,
        greedy: bool,
    ) -> bool:
        low, high = limits

        def again(end: int) -> bool:
            if end == position:  # what takes nothing may do so any number of times
                return count < low and then(end)
            return self._repeat_more(nodes, limits, count + 1, end, then, greedy=greedy)

        self._step()
        if not greedy and count >= low and then(position):
            return True
        if count < high and self.sequence(nodes, 0, position, again):
            return True
        return greedy and count >= low and then(position)

    def _on_assert(self, value: Value, position: int, then: Then) -> bool:
        return self._looks(value, position) and then(position)

    def _on_assert_not(self, value: Value, position: int, then: Then) -> bool:
        return not self._looks(value, position) and then(position)

    def _looks(self, value: Value, position: int) -> bool:
        direction, inner = value
        if direction > 0:
            return self.sequence(inner.data, 0, position, lambda end: True)
        start = position - int(inner.getwidth()[0])  # re takes lookbehinds of one width only
        return start >= 0 and self.sequence(inner.data, 0, start, lambda end: end == position)

    def _on_at(self, value: Value, position: int, then: Then) -> bool:
        place = str(value).removeprefix("AT_")
        end = len(self.text)
        if place in ("BEGINNING", "BEGINNING_STRING"):
            return position == 0 and then(position)
        if place == "END_STRING":
            return position == end and then(position)
        if place == "END":
            last = position == end or (position == end - 1 and self.text[-1] == "\n")
            return last and then(position)
        before = position > 0 and _is_word(self.text[position - 1])
        after = position < end and _is_word(self.text[position])
        return (before != after) == (place == "BOUNDARY") and then(position)

    def _on_groupref(self, value: int, position: int, then: Then) -> bool:
        start, stop = self._groups.get(value, (0, -1))
        same = stop >= start and self.text.startswith(self.text[start:stop], position)
        return same and then(position + stop - start)

    def _on_failure(self, value: object, position: int, then: Then) -> bool:
        return False


def _is_word(character: str) -> bool:
    return re.match(r"\w", character) is not None


def _is_negated(members: Sequence[Node]) -> bool:
    return bool(members) and str(members[0][0]) == "NEGATE"


def _in_set(member: Node, character: str) -> bool:
    code, value = str(member[0]), member[1]
    if code == "LITERAL":
        return bool(ord(character) == value)
    if code == "RANGE":
        return bool(value[0] <= ord(character) <= value[1])
    name = str(value).removeprefix("CATEGORY_")
    found = re.match(_CATEGORIES[name.removeprefix("NOT_")], character) is not None
    return found != name.startswith("NOT_")
