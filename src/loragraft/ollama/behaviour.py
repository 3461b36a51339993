"""How a registered model behaves: what it reads, what it expects next, where it stops."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from loragraft.checkpoint.template import render
from loragraft.engine.ollama_server import Chance, OllamaServer
from loragraft.engine.protocol import Message, Reply, Sampling
from loragraft.errors import TemplateError
from loragraft.ollama.compose import Composed
from loragraft.ollama.finding import Check, first_difference
from loragraft.ollama.template import conversations, render_go

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOG_PROB_TOLERANCE = 1.0
"""Nats that the log-probability of a likely next token may differ from llama.cpp's here. Measured
on SmolLM2's Q4_K_M over these probes: token by token instead of a batch 0.34, other kernels of the
weights 0.42, without flash attention 0.35, keys and values in q8_0 0.58; the base instead of its
fine-tune, in Q4_1, 9.8 and more. A template or BOS that is wrong is told by text and count."""
LIKELY = 0.02
"""Candidates below this probability are left out: their logarithm is mostly noise."""
CANDIDATES = 20
"""As many as Ollama gives."""
LOOKED_AT = 400
"""Of our own candidates: a token that is likely there and not among these is a difference."""
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
        text = render(
            facts.template, whole, add_generation_prompt=True, **facts.variables, **switches
        )
    except TemplateError:
        return None
    return text.removeprefix(facts.bos) if facts.add_bos and facts.bos else text


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
    options = {"num_ctx": _context(composed)}
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


def _context(composed: Composed) -> int:
    found = composed.modelfile.value("num_ctx")
    return found if isinstance(found, int) else 4096


def check_expectation(
    server: OllamaServer, tag: str, composed: Composed, reference: Reference
) -> list[Check]:
    """Are prompts as long, and next tokens as likely, as in llama.cpp on the bundle's own file?"""
    differences: list[float] = []
    lengths: list[tuple[int, int]] = []
    for probe in PROBES:
        ids = _training_ids(composed, probe, reference)
        if ids is None:
            continue
        answer = server.probe(tag, probe, CANDIDATES, options={"num_ctx": _context(composed)})
        if answer.prompt_tokens:
            lengths.append((answer.prompt_tokens, len(ids)))
        if answer.chances:
            likely = reference.next_log_probs(ids)
            differences.append(difference(answer.chances, likely, reference))
    return [_judge_lengths(lengths, composed), _judge_differences(differences)]


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


def _training_ids(
    composed: Composed, probe: Sequence[Message], reference: Reference
) -> list[int] | None:
    """Return the ids that the training had for a conversation as this model is asked it."""
    try:
        return reference.prompt_ids(as_served(composed, probe))
    except TemplateError:
        return None


def _judge_lengths(lengths: Sequence[tuple[int, int]], composed: Composed) -> Check:
    expected = "as many tokens as the training's tokenizer and template give"
    if not lengths:
        return Check("tokens", "skipped", "the server counts no tokens of prompts", expected)
    other = [(found, wanted) for found, wanted in lengths if found != wanted]
    if not other:
        said = ", ".join(str(found) for found, _ in lengths)
        return Check("tokens", "pass", f"prompts of {said} tokens, the same", expected)
    found, wanted = other[0]
    step = "Register it again with --replace."
    if found == wanted + 1:
        bos = repr(composed.facts.bos) if composed.facts.bos else "a BOS"
        step = f"One too many: {bos} stands twice at the beginning. {step}"
    return Check("tokens", "fail", f"{found} tokens instead of {wanted}", expected, step)


def difference(
    chances: Sequence[Chance], log_probs: NDArray[np.float32], reference: Reference
) -> float:
    """Return the largest difference in log-probability among likely tokens, in nats.

    Args:
        chances: The server's likeliest tokens.
        log_probs: Of every token, here.
        reference: Whose tokens these are.
    """
    ours: dict[bytes, float] = {}
    for token in log_probs.argsort()[::-1][:LOOKED_AT]:
        ours.setdefault(reference.piece(int(token)), float(log_probs[token]))
    theirs = {chance.raw: chance.log_prob for chance in reversed(chances)}
    return max(_differences(theirs, ours), default=math.inf)


def _differences(theirs: Mapping[bytes, float], ours: Mapping[bytes, float]) -> Iterator[float]:
    least = math.log(LIKELY)
    for raw, found in theirs.items():
        if found >= least:
            yield abs(found - ours.get(raw, -math.inf))
    for raw, wanted in ours.items():
        # Twice as likely as the bound: below it, it may just be missing from the server's list.
        if wanted >= least + math.log(2):
            yield abs(theirs.get(raw, -math.inf) - wanted)


def _judge_differences(found: Sequence[float]) -> Check:
    expected = f"log-probabilities within {LOG_PROB_TOLERANCE} nats of llama.cpp's on the bundle"
    if not found:
        said = "this server gives no log-probabilities"
        return Check("log-probabilities", "skipped", said, expected)
    worst = max(found)
    said = f"at most {worst:.3f} nats apart on {len(found)} prompts"
    details = {"nats": [round(value, 4) if math.isfinite(value) else str(value) for value in found]}
    if worst <= LOG_PROB_TOLERANCE:
        return Check("log-probabilities", "pass", said, expected, "", details)
    step = (
        "The server runs another model, or gives it other tokens. Register it again with "
        "--replace; if that does not help, loragraft trace names the stage."
    )
    return Check("log-probabilities", "fail", said, expected, step, details)
