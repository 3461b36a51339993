"""Does a registered model say something, and does an answer stop by itself?"""

from __future__ import annotations

from loragraft.engine.ollama import OllamaEngine
from loragraft.engine.ollama_server import OllamaServer
from loragraft.engine.protocol import Reply, Sampling
from loragraft.errors import InputError
from loragraft.ollama.behaviour import ANSWER_TOKENS, PROBES, Reference, as_served
from loragraft.ollama.compose import Composed
from loragraft.ollama.finding import Check

GREEDY = Sampling(temperature=0.0, repeat_penalty=1.0, max_tokens=ANSWER_TOKENS)
EXPECTED = f"an answer that ends by itself within {ANSWER_TOKENS} tokens"


def check_answer(
    server: OllamaServer, tag: str, composed: Composed, reference: Reference | None
) -> Check:
    """Ask short questions until one answer ends; compare with llama.cpp where none does."""
    engine = OllamaEngine(tag, server)
    replies: list[Reply] = []
    for probe in PROBES:
        reply = engine.chat(list(probe), GREEDY)
        if _is_good(reply, composed):
            said = f"{_shorten(reply.text)} ({reply.tokens} tokens, then it stopped)"
            return Check("answer", "pass", said, EXPECTED)
        replies.append(reply)
    return _explain(replies, composed, reference)


def _is_good(reply: Reply, composed: Composed) -> bool:
    spoken = (reply.text + reply.thinking).strip()
    return reply.finish == "stop" and bool(spoken) and not _leak(reply, composed)


def _leak(reply: Reply, composed: Composed) -> str | None:
    return next(
        (stop for stop in composed.stops.texts if stop.strip() and stop in reply.text), None
    )


def _explain(replies: list[Reply], composed: Composed, reference: Reference | None) -> Check:
    """Say what is wrong with answers of which none is good; it may be the model itself."""
    said, step = _fault(replies, composed)
    if reference is not None and not _answers_well(composed, reference):
        step = (
            "llama.cpp on the bundle does no better: the model has not learned to answer these "
            "and to end its turns. Set a limit with num_predict, or train on whole conversations "
            "with their end tokens."
        )
        return Check("answer", "warn", said, EXPECTED, step)
    return Check("answer", "fail", said, EXPECTED, step)


def _fault(replies: list[Reply], composed: Composed) -> tuple[str, str]:
    spoken = [reply for reply in replies if (reply.text + reply.thinking).strip()]
    if not spoken:
        return (
            "nothing: every answer is empty",
            "The model loads and says nothing: its file or its template is broken. Check it with "
            "loragraft export verify and loragraft chat BUNDLE.",
        )
    if leak := next((_leak(reply, composed) for reply in spoken if _leak(reply, composed)), None):
        return f"the end token {leak!r} stands in the answer", "Its stop is lost: use --replace."
    return (
        f"{_shorten(spoken[0].text)} goes on after {spoken[0].tokens} tokens",
        "Its stop token is lost on the server. Register it again with --replace.",
    )


def _answers_well(composed: Composed, reference: Reference) -> bool:
    """Whether llama.cpp ends one of its answers to the same conversations."""
    for probe in PROBES:
        try:
            reply = reference.chat(as_served(composed, probe), GREEDY)
        except InputError:
            continue
        if _is_good(reply, composed):
            return True
    return False


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 60 else f"{line[:60]} ...")
