"""The last stage: the model as an Ollama server renders it, counts it and answers with it.

What the server shows is compared with llama.cpp on the bundle's own file: the server's likeliest
next tokens with those of the very prompt it rendered, its count of tokens with that prompt's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from loragraft.checkpoint.gguf_chat import read_chat_facts
from loragraft.engine.ollama import OllamaEngine
from loragraft.engine.ollama_chances import Chance
from loragraft.engine.ollama_server import OllamaServer
from loragraft.engine.ollama_shown import parse_shown
from loragraft.engine.protocol import Sampling
from loragraft.errors import TemplateError
from loragraft.trace.cause import Cause, Subject
from loragraft.trace.gguf_child import GgufAnswer, Likely, ask_gguf
from loragraft.trace.judging import Seen
from loragraft.trace.observation import Answer, Observation
from loragraft.trace.probes import Probe
from loragraft.trace.reference import Paper, Reference

TITLE = "Ollama"
SPARE_TOKENS = 64
TOP = 20
"""Candidates that a server tells at most."""
SERVER_LIMIT = 0.25
"""Mean difference of log-probabilities, by chance, in nats. The same file on other builds of
llama.cpp differs in the second digit (activations are rounded to 8 bits per block before a product
with quantized weights, each build its own way); another file's tokens differ by whole nats."""


@dataclass(frozen=True)
class _Prompts:
    """The probes as the server is taken to see them.

    Attributes:
        texts: As it renders them; None where it shows nothing, or training refuses them.
        ids: With the BOS that the file's engines add.
        added: Whether that BOS is one that training has not.
    """

    texts: tuple[str | None, ...]
    ids: tuple[tuple[int, ...] | None, ...]
    added: bool


def observe_server(
    server: OllamaServer,
    tag: str,
    gguf: Path,
    reference: Reference,
    trained: Observation,
    before: Observation | None,
    probes: Sequence[Probe],
    *,
    tokens: int,
    threads: int,
    again: str,
) -> Seen:
    """Ask a server's model the probes.

    Args:
        server: The server.
        tag: The model's name there.
        gguf: The file it should serve.
        reference: The training's side.
        trained: What base and adapter showed.
        before: What llama.cpp showed of the file; None where that failed.
        probes: What to ask.
        tokens: Most tokens of a sample.
        threads: Threads of llama.cpp.
        again: How the model is registered anew, as the end of a sentence.

    Raises:
        InputError: If there is no such model.
        UnavailableError: If the server does not answer.
    """
    shown = server.show(tag)
    paper = _paper(shown, gguf)
    texts = _render(server, tag, probes, trained)
    prompts = _prompts(texts, gguf, paper, reference, trained)
    engine = OllamaEngine(tag, server, context=_room(prompts, trained, tokens))
    answers, counts = _answers(engine, probes, tokens)
    chances = {
        i: server.next_tokens(tag, p.messages, TOP, options={"num_ctx": engine.context})
        for i, p in enumerate(probes)
        if prompts.ids[i]
    }
    own = ask_gguf(
        gguf, (), taught=[ids for ids in prompts.ids if ids], kept=1, top=2 * TOP, threads=threads
    )
    ends = own.ends | _stop_ids(shown, paper)
    seen = Observation(prompts.texts, prompts.ids, ends, None, answers, _notes(prompts, texts))
    subject = Subject(TITLE, paper, seen, trained, reference, again, is_file=False)
    causes = (
        *_check_counts(prompts, counts, paper, again),
        *_check_running_on(before, answers, again),
        *_check_chances(list(chances.values()), own, again),
    )
    return Seen("ollama", subject, causes=causes, far=_describe(list(chances.values()), own))


def _paper(shown: Mapping[str, Any], gguf: Path) -> Paper:
    """Return what the server says of its model; lists, which it leaves out, are the file's."""
    info = shown.get("model_info")
    items = {k: v for k, v in info.items() if v is not None} if isinstance(info, dict) else {}
    template = shown.get("template")
    facts = replace(read_chat_facts(gguf), template=template if isinstance(template, str) else None)
    return Paper(items, facts)


def _render(
    server: OllamaServer, tag: str, probes: Sequence[Probe], trained: Observation
) -> tuple[str | None, ...]:
    texts: list[str | None] = []
    for probe, text in zip(probes, trained.texts, strict=True):
        if text is None:  # what training never saw has no right rendering
            texts.append(None)
            continue
        try:
            texts.append(server.render(tag, probe.messages))
        except TemplateError:
            texts.append(None)
    return tuple(texts)


def _prompts(
    texts: tuple[str | None, ...],
    gguf: Path,
    paper: Paper,
    reference: Reference,
    trained: Observation,
) -> _Prompts:
    """Tokenize what the server rendered, with the BOS that it will put before it."""
    facts, wanted = paper.facts, reference.paper.facts
    assert facts is not None
    plain = ask_gguf(gguf, texts).ids
    if not any(texts):
        return _Prompts(texts, trained.ids, False)
    if not facts.add_bos or facts.bos_id is None:
        return _Prompts(texts, plain, False)
    begin = facts.bos_id
    begun = any(ids and ids[0] == begin for ids in trained.ids)
    meant = wanted is None or wanted.add_bos
    if not begun and meant and not any(ids and ids[0] == begin for ids in plain):
        return _Prompts(texts, plain, True)
    full = tuple(None if ids is None else (begin, *ids) for ids in plain)
    bos = str(facts.bos)
    shown = tuple(None if t is None else bos + t if begun else t for t in texts)
    return _Prompts(shown, full, False)


def _room(prompts: _Prompts, trained: Observation, tokens: int) -> int:
    longest = max((len(ids) for ids in (*prompts.ids, *trained.ids) if ids), default=0)
    return longest + tokens + SPARE_TOKENS


def _answers(
    engine: OllamaEngine, probes: Sequence[Probe], tokens: int
) -> tuple[tuple[Answer, ...], dict[int, int]]:
    """Return the samples, and how many tokens the server counted of each prompt."""
    answers: list[Answer] = []
    counts: dict[int, int] = {}
    for index, probe in enumerate(probes):
        if probe.answered:
            reply = engine.chat(probe.messages, Sampling(temperature=0, max_tokens=tokens))
            text = f"<think>{reply.thinking}</think>" * bool(reply.thinking) + reply.text
            answers.append(Answer(probe.name, text, (), reply.finish))
            counts[index] = reply.prompt_tokens
    return tuple(answers), counts


def _stop_ids(shown: Mapping[str, Any], paper: Paper) -> frozenset[int]:
    facts = paper.facts
    parameters = parse_shown(str(shown.get("parameters") or ""))
    texts = {value for name, value in parameters if name == "stop"}
    vocabulary = facts.vocabulary if facts is not None else ()
    return frozenset(i for i, text in enumerate(vocabulary) if text in texts)


def _notes(prompts: _Prompts, texts: Sequence[str | None]) -> tuple[str, ...]:
    notes: list[str] = []
    if not any(texts):
        notes.append(
            "This server does not show how it renders; only its counts and answers are compared."
        )
    if prompts.added:
        notes.append(
            "The server puts a BOS token before every prompt, as the tokenizer asks; the chat "
            "template has none there."
        )
    return tuple(notes)


def _check_counts(
    prompts: _Prompts, counts: Mapping[int, int], paper: Paper, again: str
) -> Sequence[Cause]:
    """A prompt that the server counts one token longer than it is has a BOS too many."""
    known = {i: len(prompts.ids[i] or ()) + prompts.added for i in counts if prompts.ids[i]}
    longer = [i for i, size in known.items() if counts[i] == size + 1]
    if not longer or len(longer) < len(known):
        return ()
    facts = paper.facts
    first = (prompts.ids[longer[0]] or (-1,))[0]
    begun = facts is not None and first == facts.bos_id
    what = "the BOS token is doubled" if begun else "a BOS token is added"
    return (
        Cause(
            "bos_doubled" if begun else "bos_added", "ids", what,
            f"the server counts {counts[longer[0]]} tokens of a prompt that has "
            f"{known[longer[0]]}, and one more of each other",
            f"Leave the BOS out of the TEMPLATE: {again}.",
        ),
    )  # fmt: skip


def _check_running_on(
    before: Observation | None, answers: Sequence[Answer], again: str
) -> Sequence[Cause]:
    """An answer that llama.cpp ended goes on here."""
    own = {a.probe: a for a in before.answers} if before is not None else {}
    for answer in answers:
        ended = own.get(answer.probe)
        if ended is None or ended.finish != "stop" or answer.finish == "stop":
            continue
        start = _common(ended.text, answer.text)
        if start and len(answer.text) > start:
            return (
                Cause(
                    "stop_lost", "stopping", "a stop token was lost",
                    f"llama.cpp ends {ended.text!r} by itself, the server goes on with "
                    f"{answer.text[start:][:48]!r}",
                    f"Name the model's stop tokens as PARAMETER stop: {again}.",
                ),
            )  # fmt: skip
    return ()


def _common(ended: str, whole: str) -> int:
    """Return the length of an answer that another begins with, its end token aside; else 0."""
    plain = ended
    while plain and not whole.startswith(plain):
        plain = plain[: plain.rfind("<")] if "<" in plain else ""
    return len(plain)


def _differences(chances: Sequence[tuple[Chance, ...] | None], own: GgufAnswer) -> list[float]:
    """Return each prompt's difference of log-probabilities, weighed by the server's chances."""
    found: list[float] = []
    for said, likely in zip(chances, own.likely, strict=True):
        if not said:
            continue
        known = {entry.raw: entry.log_prob for entry in reversed(likely)}
        weights = [math.exp(chance.log_prob) for chance in said]
        misses = [_miss(chance, known, likely) for chance in said]
        found.append(sum(w * m for w, m in zip(weights, misses, strict=True)) / sum(weights))
    return found


def _miss(chance: Chance, known: Mapping[bytes, float], likely: Sequence[Likely]) -> float:
    if chance.raw in known:
        return abs(chance.log_prob - known[chance.raw])
    # llama.cpp has it among the less likely: it differs by this at least.
    return max(0.0, chance.log_prob - likely[-1].log_prob)


def _describe(chances: Sequence[tuple[Chance, ...] | None], own: GgufAnswer) -> str | None:
    found = _differences(chances, own)
    if not found:
        return None
    return f"log-probabilities differ by {median(found):.2g} nats (at most {SERVER_LIMIT})"


def _check_chances(
    chances: Sequence[tuple[Chance, ...] | None], own: GgufAnswer, again: str
) -> Sequence[Cause]:
    """The server computes something else of the same prompt."""
    found = _differences(chances, own)
    if not found or median(found) <= SERVER_LIMIT:
        return ()
    return (
        Cause(
            "other_model", "distribution", "the server runs another model",
            f"after the very prompts it renders, its log-probabilities differ from llama.cpp's on "
            f"the bundle by {median(found):.2g} nats in the median (at most {SERVER_LIMIT})",
            f"The tag may have been made of another file: {again}.",
        ),
    )  # fmt: skip
