"""The samples, as the page's script reads them: small, escaped, every text harmless."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from loragraft.chat.cleaning import clean
from loragraft.experiment.analysis.model import Analysis, Browsable, ShownAnswer, ShownQuestion
from loragraft.experiment.analysis.numbers import spelled, trimmed

TAGS = ("win", "loss", "tie", "ungrounded", "fabricated citation", "missing")
"""What samples are filtered by, in the order of the page."""

Part: TypeAlias = str | list[str]
"""Of an answer: text, or a citation: what it says, and its label."""

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028",
            "\u2029": "\\u2029"}  # fmt: skip


def embedded(value: object) -> str:
    """Return JSON that stands safely in a script element: nothing in it can close it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign, escape in _ESCAPES.items():
        text = text.replace(sign, escape)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def passages_json(browsable: Browsable) -> str:
    """Return all passages: ``[chunk_id, doc_id, title, text]`` each."""
    return embedded(
        [
            [clean(one.chunk_id), clean(one.doc_id), clean(one.title), clean(one.text)]
            for one in browsable.passages
        ]
    )


def samples_json(analysis: Analysis, browsable: Browsable) -> str:
    """Return all questions and answers, as ``samples.js`` unpacks them.

    A question is ``[id, text, expected, task type, paper, seen, answers]`` with the answers by
    number of the experiment, each ``[status, parts, repeat, passages by label, scores, tags]``.
    Scores are spelled here, so that the page shows the same digits everywhere.
    """
    names = list(analysis.experiments)
    metrics = list(_metrics(browsable))
    types = sorted({one.task_type for one in browsable.questions})
    return embedded(
        {
            "experiments": [clean(name) for name in names],
            "baseline": names.index(analysis.baseline) if analysis.baseline in names else -1,
            "metrics": [clean(name) for name in metrics],
            "main": _main(analysis, metrics),
            "tags": TAGS,
            "types": [clean(name) for name in types],
            "questions": [
                _question(one, names, metrics, types, analysis) for one in browsable.questions
            ],
        }
    )


def _metrics(browsable: Browsable) -> Iterator[str]:
    """Yield the names of all metrics that samples have, in the order of their first answer."""
    known: set[str] = set()
    for question in browsable.questions:
        for answers in question.answers.values():
            for answer in answers:
                yield from (name for name in answer.scores if name not in known)
                known.update(answer.scores)


def _main(analysis: Analysis, metrics: list[str]) -> int:
    """Return the number of the metric that is shown in the table of samples."""
    wanted = analysis.rule.get("metric")
    return metrics.index(wanted) if wanted in metrics else 0 if metrics else -1


def _question(
    one: ShownQuestion,
    names: list[str],
    metrics: list[str],
    types: list[str],
    analysis: Analysis,
) -> list[Any]:
    units = {name: str(analysis.metrics.get(name, {}).get("unit", "")) for name in metrics}
    answers = {
        names.index(name): [_answer(answer, metrics, units) for answer in found]
        for name, found in one.answers.items()
        if name in names
    }
    return [clean(one.id), clean(one.question), [clean(text) for text in one.expected],
            types.index(one.task_type), clean(one.paper), one.seen, answers]  # fmt: skip


def _answer(one: ShownAnswer, metrics: list[str], units: Mapping[str, str]) -> list[Any]:
    scores = [_score(one.scores.get(name), units[name]) for name in metrics]
    passages = {clean(label): number for label, number in one.passages.items()}
    tags = [TAGS.index(tag) for tag in one.tags if tag in TAGS]
    return [clean(one.status), list(parts_of(one)), one.repeat, passages, scores, tags]


def _score(value: float | str | None, unit: str) -> str:
    if value is None:
        return ""
    return clean(value) if isinstance(value, str) else trimmed(spelled(value, unit))


def parts_of(answer: ShownAnswer) -> Iterator[Part]:
    """Cut an answer into text and citations; citations that overlap or lie outside are text."""
    text, done = answer.text, 0
    for start, stop, label in sorted(answer.citations):
        if not done <= start < stop <= len(text):
            continue
        if start > done:
            yield clean(text[done:start])
        yield [clean(text[start:stop]), clean(label)]
        done = stop
    if done < len(text):
        yield clean(text[done:])
