"""From a bundle to its Modelfile: template, stops and parameters as the training had them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from loragraft.checkpoint.bundle import LocalModel
from loragraft.checkpoint.gguf_chat import ChatFacts, read_chat_facts
from loragraft.checkpoint.template import render
from loragraft.checkpoint.turn_ends import StopTokens, stop_tokens
from loragraft.errors import TemplateError
from loragraft.ollama.modelfile import Modelfile
from loragraft.ollama.overrides import Overrides
from loragraft.ollama.parameters import STOP, Value
from loragraft.ollama.template import Translation, translate

MAX_CONTEXT = 8192
"""Ollama reserves the whole context at load: 8,192 tokens fit a laptop, the model's own maximum
(131,072 for Llama 3.x) rarely does."""
TEMPERATURE = 0.7
REPEAT_PENALTY = 1.0
"""None, as in training. Ollama's own default was 1.1 up to 0.32.9 and is 1.0 since: said, since
with 1.1 a model avoids the words of its own prompt."""


@dataclass(frozen=True)
class Composed:
    """A Modelfile and what it was made of.

    Attributes:
        modelfile: The result.
        facts: What the GGUF says of conversations.
        stops: Where an answer ends.
        translation: Of the GGUF's template; None where the user gave another.
        notes: What a user should know.
    """

    modelfile: Modelfile
    facts: ChatFacts
    stops: StopTokens
    translation: Translation | None
    notes: tuple[str, ...]


def compose(model: LocalModel, overrides: Overrides | None = None) -> Composed:
    """Return the Modelfile of a bundle or a bare GGUF file; FROM names the file beside it.

    Raises:
        BundleError: If the file cannot be read.
        TemplateError: If it has no chat template that can be translated and none was given.
    """
    wanted = overrides or Overrides()
    facts = read_chat_facts(model.gguf)
    stops = stop_tokens(facts, model.stops)
    translation = None if wanted.template is not None else _translate(model, facts)
    modelfile = Modelfile(
        source=f"./{model.gguf.name}",
        template=wanted.template if translation is None else translation.go,
        system=_system(wanted, translation),
        parameters=tuple(_parameters(facts, stops, wanted)),
        licenses=wanted.license,
        messages=tuple((turn.role, turn.content) for turn in wanted.messages),
    )
    notes = tuple(_notes(facts, stops, wanted, translation))
    return Composed(modelfile, facts, stops, translation, notes)


def _translate(model: LocalModel, facts: ChatFacts) -> Translation:
    if facts.template is None:
        raise TemplateError(
            f"{model.gguf} has no chat template, so nobody knows how its training wrote a "
            "conversation. Add chat_template to the checkpoint and export it again, or give a Go "
            "template with --template."
        )
    # The server adds a BOS to a prompt that begins without one, and to one that begins with it.
    strip = facts.bos if facts.add_bos else None
    return translate(facts.template, variables=facts.variables, strip_bos=strip)


def _system(wanted: Overrides, translation: Translation | None) -> str | None:
    if wanted.system is not None:
        return wanted.system or None  # Ollama cannot tell an empty one from none
    return translation.system if translation is not None else None


def _parameters(
    facts: ChatFacts, stops: StopTokens, wanted: Overrides
) -> Iterator[tuple[str, Value]]:
    given = {
        "num_ctx": min(facts.context_length or MAX_CONTEXT, MAX_CONTEXT),
        "temperature": TEMPERATURE,
        "repeat_penalty": REPEAT_PENALTY,
        **wanted.plain,
    }
    yield from given.items()
    # A token that is only white space would cut answers in their middle; its id ends them anyway.
    texts = [text for text in stops.texts if text.strip()]
    for text in dict.fromkeys([*texts, *wanted.stops]):
        yield STOP, text


def unwritten_bos_note(facts: ChatFacts) -> str:
    """Return what to say of a BOS that engines add and the chat template does not write.

    A training that tokenizes the rendered text has it as well; one by apply_chat_template has none.
    Nothing in the file tells the two apart.
    """
    bos = repr(facts.bos) if facts.bos else "BOS"
    return (
        f"the server puts one {bos} before the prompt, apply_chat_template gives none; harmless "
        'if training tokenized rendered text, as TRL\'s "text" datasets do; otherwise set '
        "add_bos_token to false and take BOS out of tokenizer.json's post_processor in the "
        "adapter's tokenizer, and export again"
    )


def _writes_bos(facts: ChatFacts) -> bool:
    """Whether the template writes the BOS that engines add, if they add any."""
    if facts.template is None or not facts.add_bos or not facts.bos:
        return True
    asked = [{"role": "user", "content": "Hello."}]
    try:
        text = render(facts.template, asked, add_generation_prompt=True, **facts.variables)
    except TemplateError:
        return True  # nothing is known: the proof counts
    return text.startswith(facts.bos)


def _notes(
    facts: ChatFacts, stops: StopTokens, wanted: Overrides, translation: Translation | None
) -> Iterator[str]:
    yield from stops.warnings
    if translation is None:
        yield (
            "The given template is used as it is; the training's own is what the model learned to "
            "answer to."
        )
    else:
        yield from translation.notes
        if not _writes_bos(facts):
            yield unwritten_bos_note(facts)
    context = wanted.plain.get("num_ctx")
    if facts.context_length and isinstance(context, int) and context > facts.context_length:
        yield (
            f"num_ctx {context} is more than the {facts.context_length} tokens that the model was "
            "made for: answers get worse beyond them."
        )
    if wanted.system == "":
        yield (
            "An empty SYSTEM is none to Ollama: a default system prompt of the template stays. "
            "Give the text that shall stand there."
        )


def placed(modelfile: Modelfile, gguf: Path, folder: Path) -> Modelfile:
    """Return a Modelfile for another folder: FROM leads from there to the GGUF."""
    try:
        path = Path(os.path.relpath(gguf.resolve(), folder.resolve())).as_posix()
    except ValueError:  # on another drive
        path = gguf.resolve().as_posix()
    return replace(modelfile, source=path)
