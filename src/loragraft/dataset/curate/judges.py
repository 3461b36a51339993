"""The rules that judge a row by itself: one function each, one line each in :data:`JUDGES`.

A function takes the rule's model and returns what judges one row: it measures, and says what it
found where that is reason to drop.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from loragraft.dataset.curate import specs
from loragraft.dataset.curate.fields import (
    read,
    read_flag,
    read_key,
    read_number,
    read_seconds,
    read_texts,
)
from loragraft.dataset.curate.rule import Drop, Judge, Row
from loragraft.dataset.curate.words import Keywords, Phrases, stands_in, urls_of, words_of

Values = Mapping[str, Any]
Judging = Callable[[Values], Drop | None]
_T = TypeVar("_T")
_Reader = Callable[[Values, str], _T | None]

_SHOWN = 40
"""Characters of a value that is quoted in a reason."""


class OneByOne:
    """A rule that needs no batch."""

    def __init__(self, judge: Judging) -> None:
        """Take what judges one row."""
        self._judge = judge

    def check_many(self, rows: Sequence[Row]) -> list[Drop | None]:
        """Judge each row."""
        return [self._judge(row.values) for row in rows]


def quoted(value: object) -> str:
    """Quote a value in few characters."""
    text = " ".join(str(value).split())
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")


def counted(count: int, what: str) -> str:
    """Spell a number of things."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def lacking(values: Values, path: str, expected: str) -> Drop:
    """Say that a row lacks what a rule needs."""
    found = read(values, path)
    if found is None:
        return Drop(f"{path} is missing", missing=True)
    if found in ("", [], {}):
        return Drop(f"{path} is empty", missing=True)
    return Drop(f"{path} is {quoted(found)}: no {expected}", missing=True)


def _each(
    paths: Sequence[str],
    reader: _Reader[_T],
    expected: str,
    measure: Callable[[_T], str | None],
) -> Judging:
    """Judge each field of a rule; the first that is wrong is the reason."""

    def judge(values: Values) -> Drop | None:
        for path in paths:
            found = reader(values, path)
            if found is None:
                return lacking(values, path, expected)
            wrong = measure(found)
            if wrong is not None:
                return Drop(wrong if len(paths) == 1 else f"{path}: {wrong}")
        return None

    return judge


def _each_text(paths: Sequence[str], measure: Callable[[str], str | None]) -> Judging:
    """Judge each text of each field."""

    def measure_all(texts: Sequence[str]) -> str | None:
        return next((wrong for text in texts if (wrong := measure(text)) is not None), None)

    return _each(paths, read_texts, "text", measure_all)


def _outside(value: float, low: float | None, high: float | None) -> bool:
    return (low is not None and value < low) or (high is not None and value > high)


def judge_length(spec: specs.Length) -> Judging:
    """Count characters, composed as NFC has them, or words."""

    def measure(text: str) -> str | None:
        whole = unicodedata.normalize("NFC", text).strip()
        count = len(whole) if spec.unit == "characters" else len(words_of(whole))
        outside = _outside(count, spec.min, spec.max)
        return counted(count, spec.unit.removesuffix("s")) if outside else None

    return _each_text(spec.field, measure)


def judge_range(spec: specs.Range) -> Judging:
    """Compare a number."""

    def measure(number: float) -> str | None:
        return f"{number:,}" if _outside(number, spec.min, spec.max) else None

    return _each(spec.field, read_number, "number", measure)


def judge_items(spec: specs.Items) -> Judging:
    """Count what a list holds."""

    def count(values: Values, path: str) -> int | None:
        found = read(values, path)
        if isinstance(found, list | dict):
            return len(found)
        return 1 if isinstance(found, str) and found.strip() else None

    def measure(number: int) -> str | None:
        return counted(number, "item") if _outside(number, spec.min, spec.max) else None

    return _each(spec.field, count, "list", measure)


def judge_unique_words(spec: specs.UniqueWords) -> Judging:
    """Count different words."""

    def measure(text: str) -> str | None:
        count = len(set(words_of(text)))
        return counted(count, "different word") if count < spec.min else None

    return _each_text(spec.field, measure)


def judge_generic_phrases(spec: specs.GenericPhrases) -> Judging:
    """Measure how much of a text is phrases that say nothing."""
    phrases = Phrases(spec.phrases)

    def measure(text: str) -> str | None:
        share = phrases.share(words_of(text))
        return f"{share:.0%} generic" if share >= spec.below else None

    return _each_text(spec.field, measure)


def judge_keywords(spec: specs.Keywords) -> Judging:
    """Look for words of a list; each counts once."""
    keywords = Keywords(spec.words)

    def measure(text: str) -> str | None:
        found = dict.fromkeys(keywords.find(text))
        return ", ".join(map(quoted, list(found)[:3])) if len(found) > spec.max else None

    return _each_text(spec.field, measure)


def judge_urls(spec: specs.Urls) -> Judging:
    """Count links."""

    def measure(text: str) -> str | None:
        found = urls_of(text)
        return (
            f"{counted(len(found), 'link')}: {quoted(found[0])}" if len(found) > spec.max else None
        )

    return _each_text(spec.field, measure)


def judge_flag(spec: specs.Flag) -> Judging:
    """Compare a truth."""

    def measure(flag: bool) -> str | None:
        return f"is {str(flag).lower()}" if flag is not spec.value else None

    return _each(spec.field, read_flag, "yes or no", measure)


def judge_one_of(spec: specs.OneOf) -> Judging:
    """Look a name up in a list; case counts."""
    values = keys_of(spec.values)

    def measure(key: str) -> str | None:
        return quoted(key) if key not in values else None

    return _each(spec.field, read_key, "name or number", measure)


def judge_time_between(spec: specs.TimeBetween) -> Judging:
    """Measure the time from one stamp to another."""

    def judge(values: Values) -> Drop | None:
        stamps = []
        for path in spec.paths:
            seconds = read_seconds(values, path)
            if seconds is None:
                return lacking(values, path, "time")
            stamps.append(seconds)
        between = stamps[1] - stamps[0]
        if not _outside(between, spec.min_seconds, spec.max_seconds):
            return None
        return Drop(_spell_seconds(between))

    return judge


def judge_not_inside(spec: specs.NotInside) -> Judging:
    """Look for a text in another where it must not stand."""
    return _compared(spec.field, spec.other, wanted=False)


def judge_inside(spec: specs.Inside) -> Judging:
    """Look for a text in another where it must stand."""
    return _compared(spec.field, spec.other, wanted=True)


def _compared(paths: Sequence[str], others: Sequence[str], *, wanted: bool) -> Judging:
    def judge(values: Values) -> Drop | None:
        texts = {path: read_texts(values, path) for path in (*paths, *others)}
        for path, found in texts.items():
            if found is None:
                return lacking(values, path, "text")
        outer = "\n".join(text for path in others for text in texts[path] or ())
        for path in paths:
            inner = texts[path] or ()
            standing = [text for text in inner if stands_in(text, outer)]
            if standing and not wanted:
                return Drop(f"{quoted(standing[0])} stands in {others[0]}")
            if wanted and not standing:
                return Drop(f"{quoted(inner[0])} does not stand in {others[0]}")
        return None

    return judge


def keys_of(values: Sequence[specs.Plain]) -> frozenset[str]:
    """Return plain values as :func:`~loragraft.dataset.curate.fields.read_key` spells them."""
    keys = (read_key({"value": value}, "value") for value in values)
    return frozenset(key for key in keys if key is not None)


def _spell_seconds(seconds: float) -> str:
    """Spell a time between two others as thresholds are given, and for people."""
    size, exact = abs(seconds), f"{seconds:,.0f} s"
    if size < 120:
        return exact
    if size < 7200:
        return f"{exact} ({seconds / 60:.1f} min)"
    days = size >= 172_800
    return f"{exact} ({seconds / 86_400:.1f} days)" if days else f"{exact} ({seconds / 3600:.1f} h)"


JUDGES: Mapping[type[specs.RuleSpec], Callable[[Any], Judging]] = {
    specs.Length: judge_length,
    specs.Range: judge_range,
    specs.Items: judge_items,
    specs.UniqueWords: judge_unique_words,
    specs.GenericPhrases: judge_generic_phrases,
    specs.Keywords: judge_keywords,
    specs.Urls: judge_urls,
    specs.Flag: judge_flag,
    specs.OneOf: judge_one_of,
    specs.TimeBetween: judge_time_between,
    specs.NotInside: judge_not_inside,
    specs.Inside: judge_inside,
}
"""Model of a rule to what judges by it."""


def open_judge(spec: specs.RuleSpec) -> Judge:
    """Return what judges by a rule of :data:`JUDGES`."""
    return OneByOne(JUDGES[type(spec)](spec))
