"""A chat template in Jinja becomes one of Ollama's, by its behaviour, and the two are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loragraft.ollama.template.conversations import CONVERSATIONS, Conversation
from loragraft.ollama.template.emit import emit
from loragraft.ollama.template.go_render import compile_go
from loragraft.ollama.template.learn import learn
from loragraft.ollama.template.model import THINK, Model
from loragraft.ollama.template.notes import notes
from loragraft.ollama.template.probing import Prober

NOON = datetime(2031, 8, 5, 12)
"""The clock of comparisons: a day and month of one digit, and no two parts of it alike."""


@dataclass(frozen=True)
class Case:
    """One conversation, rendered by both templates."""

    name: str
    messages: tuple[Mapping[str, Any], ...]
    jinja: str | None
    """The Jinja template's text, less a BOS that is stripped; None where it refuses."""
    go: str | None
    """The Go template's text."""
    same: bool
    joined: bool
    """Ollama joins adjacent messages of one role here: not expected to be the same."""
    think: bool | None = None
    """The request's wish to think."""


@dataclass(frozen=True)
class Translation:
    """A Go template, and how far it can be trusted."""

    go: str
    system: str | None
    """What to register as SYSTEM, where the template cannot hold the default. Those written here
    hold it, so that this is None."""
    exact: bool
    """Every case is the same that Jinja takes and that Ollama leaves alone. Tools and documents
    are no cases; see the notes."""
    cases: tuple[Case, ...]
    notes: tuple[str, ...]
    """What differs, in words."""


def translate_here(
    template: str, *, variables: Mapping[str, str], strip_bos: str | None = None
) -> Translation:
    """Return Ollama's template for a chat template that is trusted to end; see `apart.translate`.

    Raises:
        TemplateError: the template is faulty, or refuses every conversation.
    """
    prober = Prober(template, variables)
    model = learn(prober, strip_bos or "")
    go = emit(model)
    cases = tuple(_cases(prober, go, model, strip_bos or ""))
    exact = all(case.same for case in cases if case.jinja is not None and not case.joined)
    return Translation(go, None, exact, cases, notes(prober, model, cases))


def _cases(prober: Prober, go: str, model: Model, strip: str) -> list[Case]:
    rendered = compile_go(go)
    thinks = tuple(THINK) if model.toggled else (None,)
    return [
        _case(prober, rendered, item, think, strip) for think in thinks for item in CONVERSATIONS
    ]


def _case(
    prober: Prober,
    rendered: Callable[..., str],
    conversation: Conversation,
    think: bool | None,
    strip: str,
) -> Case:
    jinja = prober.render(conversation.messages, think, dates=NOON.strftime)
    jinja = None if jinja is None else jinja.removeprefix(strip)
    go = rendered(conversation.messages, think=think, now=NOON)
    name = conversation.name if think is None else f"{conversation.name}, think {THINK[think]}"
    return Case(name, conversation.messages, jinja, go, jinja == go, conversation.joined, think)
