"""How a registered model is asked, and whether it reads what the training wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from loragraft.checkpoint.template import compile_template
from loragraft.engine.ollama_server import OllamaServer
from loragraft.engine.protocol import Message, Reply, Sampling
from loragraft.errors import TemplateError
from loragraft.ollama.compose import Composed
from loragraft.ollama.finding import Check, first_difference
from loragraft.ollama.template import conversations, render_go

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ANSWER_TOKENS = 256
"""In which one of the answers has to end by itself."""

PROBES: tuple[tuple[Message, ...], ...] = (
    ({"role": "user", "content": "What is the capital of France?"},),
    (
        {"role": "system", "content": "You answer with one word."},
        {"role": "user", "content": "Which planet do we live on?"},
    ),
    (
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Hello Ada."},
        {"role": "user", "content": "What is my name?"},
    ),
    ({"role": "user", "content": "Count to five."},),
)
"""Conversations whose next token is compared; each answer of the first kind is short."""


class Reference(Protocol):
    """llama.cpp on the bundle's file in this process."""

    def prompt_ids(self, messages: Sequence[Message], *, think: bool | None = None) -> list[int]:
        """Return a conversation's token ids, as the training had them."""

    def next_log_probs(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the log-probability of every next token."""

    def piece(self, token: int) -> bytes:
        """Return a token's bytes, control tokens' texts included."""

    def chat(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Answer a conversation."""


def training_text(
    composed: Composed, messages: Sequence[Mapping[str, Any]], think: bool | None = None
) -> str | None:
    """Return a conversation as the training's template renders it, less a BOS the server adds.

    The Modelfile's own messages and system prompt stand before it as the server puts them there.

    Returns:
        None where the template refuses it.
    """
    facts, modelfile = composed.facts, composed.modelfile
    whole = [{"role": role, "content": text} for role, text in modelfile.messages]
    whole += [dict(message) for message in messages]
    default = composed.translation.system if composed.translation is not None else None
    # The template writes its own default by itself.
    own = modelfile.system if modelfile.system != default else None
    if own and messages[0]["role"] != "system":
        whole.insert(0, {"role": "system", "content": own})
    if facts.template is None or composed.translation is None:
        return _by_go(composed, messages, think)
    switches = {} if think is None else {"enable_thinking": think, "thinking": think}
    try:
        text = _reader(facts.template)(
            whole, add_generation_prompt=True, **facts.variables, **switches
        )
    except TemplateError:
        return None
    return text.removeprefix(facts.bos) if facts.add_bos and facts.bos else text


@lru_cache(maxsize=4)
def _reader(template: str) -> Callable[..., str]:
    """Read a template once for all conversations."""
    return compile_template(template)


def _by_go(
    composed: Composed, messages: Sequence[Mapping[str, Any]], think: bool | None
) -> str | None:
    """Render by the user's own Go template, where we can read it."""
    modelfile = composed.modelfile
    before = [{"role": role, "content": text} for role, text in modelfile.messages]
    try:
        return render_go(
            modelfile.template or "", [*before, *messages], system=modelfile.system, think=think
        )
    except TemplateError:
        return None


def _announced(composed: Composed) -> set[tuple[str, bool | None]]:
    """Return the conversations that the translation itself renders otherwise."""
    cases = composed.translation.cases if composed.translation is not None else ()
    return {
        (case.name.partition(", think")[0], case.think)
        for case in cases
        if case.joined or not case.same
    }


def check_rendering(server: OllamaServer, tag: str, composed: Composed) -> Check:
    """Does the server render the probe conversations as the training's template does?"""
    expected = "the same text as the training's template"
    announced = _announced(composed)
    same, other = 0, []
    options = {"num_ctx": context_of(composed)}
    for conversation in conversations():
        if conversation.joined or (conversation.name, None) in announced:
            continue
        wanted = training_text(composed, conversation.messages)
        # A token has a byte or more: what has fewer bytes than the context is never cut.
        if wanted is None or len(wanted.encode("utf-8", "replace")) >= options["num_ctx"]:
            continue
        text = server.render(tag, _plain(conversation.messages), options=options)
        if text is None:
            said = "this server does not show what it renders: log-probabilities decide"
            return Check("rendering", "skipped", said, expected)
        if text == wanted:
            same += 1
        else:
            other.append(f"{conversation.name!r} at {first_difference(text, wanted)}")
    details = {"same": same, "other": len(other), "announced": len(announced)}
    if other:
        said = f"{len(other)} of {same + len(other)} conversations differ: {other[0]}"
        step = "The model would read what it was not trained on. Register it again with --replace."
        return Check("rendering", "fail", said, expected, step, details)
    if not same:
        return Check("rendering", "skipped", "no conversation to compare", expected)
    return Check("rendering", "pass", f"{same} conversations, all the same", expected, "", details)


def _plain(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    return [{"role": str(m["role"]), "content": str(m["content"])} for m in messages]


def context_of(composed: Composed) -> int:
    """Return the context that the model is asked with, in tokens."""
    found = composed.modelfile.value("num_ctx")
    return found if isinstance(found, int) else 4096


def as_served(composed: Composed, probe: Sequence[Message]) -> list[Message]:
    """Return a conversation with what the Modelfile puts before it, for the training's template.

    A system prompt that only says the template's own default is left to the template.
    """
    modelfile = composed.modelfile
    before: list[Message] = [{"role": role, "content": text} for role, text in modelfile.messages]
    default = composed.translation.system if composed.translation is not None else None
    if modelfile.system and modelfile.system != default and probe[0]["role"] != "system":
        before.insert(0, {"role": "system", "content": modelfile.system})
    return [*before, *probe]
