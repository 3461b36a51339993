"""Does a registered model say something, and does an answer stop by itself?"""

from __future__ import annotations

from loragraft.engine.ollama import OllamaEngine
from loragraft.engine.ollama_server import OllamaServer
from loragraft.engine.protocol import Reply, Sampling
from loragraft.ollama.behaviour import ANSWER_TOKENS, PROBES, Reference
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
    first = replies[0]
    if not any((reply.text + reply.thinking).strip() for reply in replies):
        said = "nothing: every answer is empty"
        step = (
            "The model loads and says nothing: its file or its template is broken. Check it with "
            "loragraft export verify and loragraft chat BUNDLE."
        )
        return Check("answer", "fail", said, EXPECTED, step)
    if leak := next((_leak(reply, composed) for reply in replies if _leak(reply, composed)), None):
        said = f"the end token {leak!r} stands in the answer"
        return Check("answer", "fail", said, EXPECTED, "Its stop token is lost; use --replace.")
    said = f"{_shorten(first.text)} goes on after {first.tokens} tokens"
    if reference is not None and reference.chat(list(PROBES[0]), GREEDY).finish != "stop":
        step = (
            "llama.cpp on the bundle goes on as well: the model has not learned to end its turns. "
            "Set a limit with num_predict, or train on conversations with their end tokens."
        )
        return Check("answer", "warn", said, EXPECTED, step)
    step = "Its stop token is lost on the server. Register it again with --replace."
    return Check("answer", "fail", said, EXPECTED, step)


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 60 else f"{line[:60]} ...")
