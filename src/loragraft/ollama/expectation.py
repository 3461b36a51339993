"""Does a registered model read the training's tokens, and expect the next as llama.cpp does?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loragraft.checkpoint.gguf_chat import ChatFacts
from loragraft.engine.ollama_server import OllamaServer
from loragraft.errors import TemplateError
from loragraft.ollama.behaviour import PROBES, Reference, as_served, context_of
from loragraft.ollama.compose import Composed, unwritten_bos_note
from loragraft.ollama.distance import Distance, distance
from loragraft.ollama.finding import Check

LOG_PROB_TOLERANCE = 1.5
"""Nats that the log-probability of a likely next token may differ from llama.cpp's here. Measured
on SmolLM2 over these probes, from Q2_K to F16, token by token instead of a batch, with other
kernels of the weights, without flash attention, with keys and values in q8_0: 0.6 at most in
Q4_K_M, 1.1 in Q4_0. Without the example's adapter 14.4, half of it 8.7, 80 % of it 3.5."""
DIVERGENCE_TOLERANCE = 0.05
"""Nats of Kullback-Leibler divergence that the next token's distribution may have, on average over
the probes. Measured as above: 0.017 at most in Q4_K_M, 0.024 in Q3_K_M. Without the adapter 2.0,
with half of it 0.35, with 80 % of it 0.15; with 95 % of it, or in Q4_K_S, 0.03: too near to tell.
It takes in all that is expected, so it sees a nearby fine-tune that no single token gives away."""
CANDIDATES = 20
"""As many as Ollama gives."""
AGAIN = "Register it again with --replace."


@dataclass(frozen=True)
class _Asked:
    """One probe: what the training's ids were, what the server should have read, and did."""

    trained: Sequence[int]
    wanted: Sequence[int]
    counted: int
    distance: Distance | None


def check_expectation(
    server: OllamaServer, tag: str, composed: Composed, reference: Reference
) -> list[Check]:
    """Are prompts as long, and next tokens as likely, as in llama.cpp on the bundle's own file?"""
    asked = list(_ask(server, tag, composed, reference))
    checks = [_judge_lengths(asked, composed.facts)]
    if checks[0].verdict != "fail" and any(len(one.wanted) > len(one.trained) for one in asked):
        expected = "the BOS that the training had, no more"
        checks.append(Check("BOS", "warn", unwritten_bos_note(composed.facts), expected))
    return [*checks, _judge_distances([one.distance for one in asked if one.distance is not None])]


def _ask(
    server: OllamaServer, tag: str, composed: Composed, reference: Reference
) -> Iterator[_Asked]:
    for probe in PROBES:
        try:
            trained = reference.prompt_ids(as_served(composed, probe))
        except TemplateError:
            continue
        options = {"num_ctx": context_of(composed)}
        answer = server.probe(tag, probe, CANDIDATES, options=options)
        wanted = _wanted(composed.facts, trained, answer.prompt_tokens)
        found = None
        if answer.chances:
            found = distance(answer.chances, reference.next_log_probs(wanted), reference)
        yield _Asked(trained, wanted, answer.prompt_tokens, found)


def _wanted(facts: ChatFacts, trained: list[int], counted: int) -> list[int]:
    """Return the ids that the server should have read, by what the file asks of engines.

    A server that was seen to leave out the BOS which the template does not write reads what
    apply_chat_template gives.
    """
    begun = bool(trained) and trained[0] == facts.bos_id
    if not facts.add_bos or facts.bos_id is None or begun or counted == len(trained):
        return trained
    return [facts.bos_id, *trained]


def _judge_lengths(asked: Sequence[_Asked], facts: ChatFacts) -> Check:
    expected = "as many tokens as the training's tokenizer and template give"
    counted = [one for one in asked if one.counted]
    if not counted:
        return Check("tokens", "skipped", "the server counts no tokens of prompts", expected)
    other = [one for one in counted if one.counted != len(one.wanted)]
    if not other:
        said = ", ".join(str(one.counted) for one in counted)
        return Check("tokens", "pass", f"prompts of {said} tokens, the same", expected)
    found, wanted = other[0].counted, other[0].wanted
    step = AGAIN
    if found == len(wanted) + 1:
        step = f"{_why_one_more(facts, wanted)} {step}"
    said = f"{found} tokens instead of {len(wanted)}"
    return Check("tokens", "fail", said, expected, step)


def _why_one_more(facts: ChatFacts, wanted: Sequence[int]) -> str:
    bos = repr(facts.bos) if facts.bos else "a BOS"
    if wanted and wanted[0] == facts.bos_id:
        return f"One too many: {bos} stands twice at the beginning."
    return f"One too many: probably {bos}, which neither the file nor its template asks for."


def _judge_distances(found: Sequence[Distance]) -> Check:
    expected = (
        f"log-probabilities within {LOG_PROB_TOLERANCE} nats of llama.cpp's on the bundle, and a "
        f"divergence of {DIVERGENCE_TOLERANCE} nats at most"
    )
    if not found:
        said = "this server gives no log-probabilities"
        return Check("log-probabilities", "skipped", said, expected)
    worst = max(one.most for one in found)
    mean = sum(one.divergence for one in found) / len(found)
    missing = [words for one in found for words in one.missing]
    said = f"at most {worst:.3f} nats apart, divergence {mean:.4f}, on {len(found)} prompts"
    said = "; ".join([said, *missing[:1]])
    details = {
        "nats": [round(one.most, 4) for one in found],
        "divergence": [round(one.divergence, 5) for one in found],
        "missing": missing,
    }
    if worst <= LOG_PROB_TOLERANCE and mean <= DIVERGENCE_TOLERANCE and not missing:
        return Check("log-probabilities", "pass", said, expected, "", details)
    step = (
        f"The server runs another model, or gives it other tokens. {AGAIN} If that does not help, "
        "loragraft trace names the stage. Keys and values in q4_0 (OLLAMA_KV_CACHE_TYPE) change a "
        "small model as much: use q8_0 or f16."
    )
    return Check("log-probabilities", "fail", said, expected, step, details)
