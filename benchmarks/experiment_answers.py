"""The same questions answered by the batch engine, one at a time, and by a bare loop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from experiment_bare import BareLoop

from loragraft.checkpoint.bundle import open_model
from loragraft.engine.batch.llama import LlamaBatchEngine
from loragraft.engine.batch.protocol import Job
from loragraft.engine.protocol import Message, Sampling
from loragraft.engine.threads import choose_threads
from tests.support.sources import cache_folder, smollm2_checkpoint

ROOT = Path(__file__).resolve().parents[1]
SCIENCE = ROOT / "examples" / "science"
PASSAGE = 900
"""Characters of a passage: what the default chunking gives."""


@dataclass(frozen=True)
class Shape:
    """What questions look like.

    Attributes:
        system: What all begin with.
        passages: How many stand before a question.
        max_tokens: Of an answer.
    """

    system: str
    passages: int
    max_tokens: int


DECODE = Shape("You are a helpful scientist. Explain your answer in detail.", 0, 96)
RAG = Shape(
    "Answer the question from the passages alone. Give the answer in one short sentence, and put "
    "the label of the passage that holds it behind it in brackets, as in [P2]. Say that you do not "
    "know if no passage holds the answer. Do not repeat the question.",
    5, 48,
)  # fmt: skip


def _records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def conversations(shape: Shape, count: int) -> list[tuple[tuple[Message, ...], list[str]]]:
    """Return conversations and their accepted answers."""
    papers = _records(SCIENCE / "papers.jsonl")
    texts = {paper["doc_id"]: paper["text"] for paper in papers}
    names = list(texts)
    made = []
    for number, task in enumerate(_records(SCIENCE / "tasks.jsonl")[:: 600 // count][:count]):
        own = names.index(task["paper_id"])
        found = []
        for rank in range(shape.passages):  # of its own paper first, then of others
            text = texts[names[own] if rank < 2 else names[(own + 7 * rank + number) % len(names)]]
            start = (rank % 2) * PASSAGE
            found.append(f"[P{rank + 1}] {text[start : start + PASSAGE]}")
        question = "\n\n".join([*found, task["question"]])
        messages: tuple[Message, ...] = (
            {"role": "system", "content": shape.system}, {"role": "user", "content": question},
        )  # fmt: skip
        made.append((messages, task["answers"]))
    return made


def smollm2_gguf() -> Path:
    """Return SmolLM2's Q4_K_M, exported once into the cache of large artefacts."""
    from loragraft.export.job import run_export
    from loragraft.export.request import ExportRequest

    folder = cache_folder() / "benchmarks"
    if not (folder / "smollm2").exists():
        run_export(ExportRequest(smollm2_checkpoint(), (), folder, "smollm2", ("Q4_K_M",)))
    return open_model(folder / "smollm2").gguf


Texts = list[str]


def measure_answers(
    shape: Shape, gguf: Path | None, count: int, rounds: int, width: int, threads: int
) -> dict[str, Any]:
    """Answer the same questions in three ways, in turn."""
    gguf, threads = gguf or smollm2_gguf(), choose_threads(threads)
    asked = conversations(shape, count)
    engine = LlamaBatchEngine(open_model(gguf), context=_context(shape), width=width,
                              threads=threads)  # fmt: skip
    prompts = [engine.prompt_ids(messages) for messages, _ in asked]
    ends = set(engine.stops.ids)
    engine.close()
    ways: dict[str, Callable[[], Iterator[Texts]]] = {
        "ours": lambda: _ours(gguf, shape, asked, width, threads),
        "bare": lambda: _bare(gguf, shape, prompts, ends, width, threads),
        "one_at_a_time": lambda: _one_at_a_time(gguf, shape, asked, threads),
    }
    runs: dict[str, list[float]] = {way: [] for way in ways}
    texts: dict[str, Texts] = {}
    for _ in range(rounds):
        for way, run in ways.items():
            answering = run()
            next(answering)  # loaded, and a first question answered
            start = time.perf_counter()
            texts[way] = next(answering)
            runs[way].append(len(asked) / (time.perf_counter() - start))
            answering.close()
    ratios = {
        way: median(a / b for a, b in zip(runs["ours"], runs[way], strict=True))
        for way in ways if way != "ours"
    }  # fmt: skip
    answers = [accepted for _, accepted in asked]
    return {
        "questions": len(asked), "rounds": rounds, "width": width, "threads": threads,
        "prompt_tokens": sum(map(len, prompts)) / len(prompts),
        "answer_tokens": float(texts["bare"][0]) / len(prompts),
        "speeds": {way: median(speeds) for way, speeds in runs.items()},
        "runs": runs, "ratios": ratios,
        "agreement": agreement(texts["ours"], texts["one_at_a_time"], answers),
    }  # fmt: skip


def _context(shape: Shape) -> int:
    return 512 if shape.passages == 0 else 2048


def _ours(
    gguf: Path, shape: Shape, asked: Sequence[Any], width: int, threads: int
) -> Iterator[Texts]:
    engine = LlamaBatchEngine(open_model(gguf), context=_context(shape), width=width,
                              threads=threads)  # fmt: skip
    sampling = Sampling(temperature=0, max_tokens=shape.max_tokens)
    jobs = [Job(str(index), messages, sampling) for index, (messages, _) in enumerate(asked)]
    list(engine.answers(jobs[:1]))
    yield []
    found = {a.id: a.reply.text if a.reply else "" for a in engine.answers(jobs)}
    yield [found[job.id] for job in jobs]
    engine.close()


def _one_at_a_time(gguf: Path, shape: Shape, asked: Sequence[Any], threads: int) -> Iterator[Texts]:
    from llama_cpp import Llama

    llama = Llama(
        str(gguf), n_ctx=_context(shape), n_threads=threads, n_threads_batch=threads, verbose=False
    )

    def answer(messages: Sequence[Message]) -> str:
        reply: Any = llama.create_chat_completion(
            list(messages), temperature=0, repeat_penalty=1.0, max_tokens=shape.max_tokens
        )
        return str(reply["choices"][0]["message"]["content"])

    answer(asked[0][0])
    yield []
    yield [answer(messages).strip() for messages, _ in asked]
    llama.close()


def _bare(
    gguf: Path, shape: Shape, prompts: Sequence[list[int]], ends: set[int], width: int, threads: int
) -> Iterator[Texts]:
    loop = BareLoop(gguf, _context(shape), width, threads)
    loop.answer(prompts[:1], ends, shape.max_tokens)
    yield []
    yield [str(loop.answer(prompts, ends, shape.max_tokens))]
    loop.close()


def agreement(
    ours: Sequence[str], theirs: Sequence[str], accepted: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Return how far two ways gave the same answers, and how many of each hold an accepted one."""
    common = []
    for one, other in zip(ours, theirs, strict=True):
        pairs = zip(one.split(), other.split(), strict=False)
        common.append(next((i for i, (a, b) in enumerate(pairs) if a != b), len(one.split())))

    def right(texts: Sequence[str]) -> int:
        return sum(any(answer.casefold() in text.casefold() for answer in answers)
                   for text, answers in zip(texts, accepted, strict=True))  # fmt: skip

    same = sum(a.strip() == b.strip() for a, b in zip(ours, theirs, strict=True))
    return {"same": same, "of": len(ours), "same_words": median(common),
            "ours_right": right(ours), "theirs_right": right(theirs)}  # fmt: skip
