"""How an exported model is to be served: where its answers end, and its Modelfile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loragraft.checkpoint.bundle import LocalModel
from loragraft.checkpoint.gguf_chat import ChatFacts, read_chat_facts
from loragraft.checkpoint.model import read_json
from loragraft.checkpoint.turn_ends import StopTokens, stop_tokens
from loragraft.errors import InputError, TemplateError
from loragraft.ollama.compose import Composed, compose
from loragraft.ollama.modelfile import Modelfile, quote
from loragraft.ollama.overrides import Overrides
from loragraft.ollama.parameters import STOP, Value

NO_TEMPLATE = "{{ .Prompt }}"
"""What Ollama itself takes for a model whose template it does not know."""


@dataclass(frozen=True)
class Serving:
    """What a bundle says of conversations.

    Attributes:
        stops: Texts of the tokens that end an answer.
        modelfile: The Modelfile's text.
        warnings: What a user should know of them.
    """

    stops: tuple[str, ...]
    modelfile: str
    warnings: tuple[str, ...]


def serving_of(gguf: Path, checkpoint: Path) -> Serving:
    """Return what a bundle says of a finished file's conversations.

    A template that cannot be translated, or a value that no Modelfile can hold, is left out of
    the Modelfile with a warning: the model itself is sound.

    Args:
        gguf: The finished file, with the vocabulary and the chat template in it.
        checkpoint: Folder whose ``generation_config.json`` may list further end tokens.

    Raises:
        BundleError: If the file holds no vocabulary.
    """
    facts = read_chat_facts(gguf)
    stops = _stops(facts, checkpoint)
    model = LocalModel(gguf, gguf.stem, metadata={"stops": list(stops.texts)})
    composed, problem = _compose(model)
    modelfile, left_out = _renderable(composed.modelfile)
    if problem:
        modelfile = replace(modelfile, template=None)
        left_out = (problem,)
    warnings = dict.fromkeys([*stops.warnings, *left_out, *([] if problem else composed.notes)])
    return Serving(stops.texts, modelfile.render(), tuple(warnings))


def read_generation_config(folder: Path) -> Mapping[str, Any]:
    """Return a checkpoint's ``generation_config.json``, empty where it has none."""
    path = folder / "generation_config.json"
    return read_json(path) if path.exists() else {}


def _stops(facts: ChatFacts, checkpoint: Path) -> StopTokens:
    listed = read_generation_config(checkpoint).get("eos_token_id")
    wanted = listed if isinstance(listed, list) else [listed]
    return stop_tokens(facts, [token for token in wanted if type(token) is int])


def _compose(model: LocalModel) -> tuple[Composed, str]:
    try:
        return compose(model), ""
    except TemplateError as error:
        plain = compose(model, Overrides(template=NO_TEMPLATE))
        return plain, f"The Modelfile has no TEMPLATE: {error}"


def _renderable(modelfile: Modelfile) -> tuple[Modelfile, tuple[str, ...]]:
    """Leave out what no Modelfile can hold; ``loragraft ollama register`` sends that as well."""
    problems: list[str] = []

    def fits(text: str | None, what: str) -> bool:
        try:
            quote(text or "", what)
        except InputError as error:
            problems.append(str(error))
            return False
        return True

    def parameters() -> Iterator[tuple[str, Value]]:
        for name, value in modelfile.parameters:
            # A token that is left out here ends generation by its id all the same.
            if name != STOP or fits(str(value), f"PARAMETER {name}"):
                yield name, value

    template = modelfile.template if fits(modelfile.template, "TEMPLATE") else None
    system = modelfile.system if fits(modelfile.system, "SYSTEM") else None
    kept = replace(modelfile, template=template, system=system, parameters=tuple(parameters()))
    return kept, tuple(problems)
