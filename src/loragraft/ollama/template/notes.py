"""Saying beforehand what a translated template does not do, with the difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from loragraft.ollama.template.go_code import date_code
from loragraft.ollama.template.go_text import common_start
from loragraft.ollama.template.model import THINK, Model
from loragraft.ollama.template.probing import Date, Prober
from loragraft.ollama.template.tree import leaves

if TYPE_CHECKING:
    from loragraft.ollama.template.translate import Case

EXCERPT = 60
"""Characters of each text that a note shows from the first difference on."""
BEFORE = 20
"""Characters that it shows before the difference."""

_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
_DOCUMENT = {"title": "Lighthouses", "text": "They stand at the coast."}
_KNOWN = {
    *("messages", "tools", "documents", "add_generation_prompt", "enable_thinking", "thinking"),
    *("strftime_now", "raise_exception", "namespace", "range", "dict", "cycler", "joiner"),
}
"""Variables of templates that are translated, or have notes of their own."""


def notes(prober: Prober, model: Model, cases: Sequence[Case]) -> tuple[str, ...]:
    """Return what differs from the chat template, in words."""
    return tuple(
        [
            *_needs_tools(prober),
            *_differing(cases),
            *_refused(cases, model),
            *_joined(cases),
            *_dates(model),
            *_tools(prober),
            *_documents(prober),
            *_variables(prober),
        ]
    )


def difference(jinja: str, go: str) -> str:
    """Return where two texts part, in words."""
    start = max(0, len(common_start([jinja, go])) - BEFORE)
    dots = "..." if start else ""
    return f"Jinja writes {_excerpt(jinja, start, dots)}, Ollama {_excerpt(go, start, dots)}"


def _excerpt(text: str, start: int, dots: str) -> str:
    stop = start + BEFORE + EXCERPT
    return f"{dots}{text[start:stop]!r}{'...' if len(text) > stop else ''}"


def _differing(cases: Sequence[Case]) -> Iterator[str]:
    seen: set[str] = set()
    for case in cases:
        if case.jinja is None or case.same or case.joined or case.go is None:
            continue
        plain = case.name.removesuffix(f", think {THINK[case.think]}")
        if plain not in seen:
            yield f"differs ({case.name}): {difference(case.jinja, case.go)}."
        seen.add(plain)


def _refused(cases: Sequence[Case], model: Model) -> Iterator[str]:
    names = [case.name for case in cases if case.jinja is None and case.think is None]
    if not names:
        return
    text = (
        f"Jinja refuses these conversations, Ollama renders them all the same: {', '.join(names)}"
    )
    if "start" in model.unseen:
        text += "; a system message goes before the first user's words"
    yield f"{text}."


def _joined(cases: Sequence[Case]) -> Iterator[str]:
    for case in cases:
        if case.joined and case.jinja is not None and case.go is not None and not case.same:
            yield (
                "Ollama joins adjacent messages of one role with a blank line before any template "
                f"sees them ({case.name}): {difference(case.jinja, case.go)}."
            )
            return


def _dates(model: Model) -> Iterator[str]:
    dates = {
        piece
        for tree in model.gaps.values()
        for gap in leaves(tree)
        for piece in gap
        if isinstance(piece, Date)
    }
    for date in sorted(dates, key=lambda date: date.form):
        if date_code(date) is None:
            yield (
                f"the date in the form {date.form!r} cannot be had in Ollama: it is written as "
                "2031-08-05 is."
            )
        else:
            yield f"the date ({date.form!r}) is that of the server's clock."


def _probe(prober: Prober, **more: Any) -> tuple[str | None, str | None]:  # noqa: ANN401
    messages = [{"role": "user", "content": "What is a lighthouse?"}]
    return prober.render(messages), prober.render(messages, **more)


def _missing(plain: str | None, found: str | None) -> str | None:
    """Return what a template writes more; None where it is the same."""
    if plain is None or found is None or plain == found:
        return None
    start = len(common_start([plain, found]))
    return _excerpt(found, start, "..." if start else "")


def _needs_tools(prober: Prober) -> Iterator[str]:
    if prober.tools is not None:
        yield (
            "the chat template renders no conversation without a list of tools: it was translated "
            "with an empty one."
        )


def _tools(prober: Prober) -> Iterator[str]:
    missing = _missing(*_probe(prober, tools=[_TOOL]))
    if missing is not None:
        yield (
            "tools are not translated: with a tool, Jinja also writes "
            f"{missing}; the Go template writes none of it, and a tool's result as a user's words."
        )


def _documents(prober: Prober) -> Iterator[str]:
    missing = _missing(*_probe(prober, documents=[_DOCUMENT]))
    if missing is not None:
        yield f"documents are not translated: with one, Jinja also writes {missing}."


def _variables(prober: Prober) -> Iterator[str]:
    names = prober.undeclared() - _KNOWN
    if names:
        yield (
            f"Ollama has nothing to set {', '.join(sorted(names))}, which the template reads: they "
            "count as not given."
        )
