"""Which passages stand beside the one that answers, and in which order retrieval would give them.

Where all passages but one were about something else, a model would learn to look for the name of
the question. So some are like the question by its words (Zhang et al. 2024, "RAFT", arXiv
2403.10131, show that training beside distractors is what makes a model use what it is given).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from loragraft.dataset.records import Qa
from loragraft.dataset.split.seed import rank
from loragraft.rag.chunking.chunk import embedded_text
from loragraft.training.config import PromptConfig
from loragraft.training.library import Gold, Library
from loragraft.training.sentences import holds, telling

LOOKED_AT = 50
"""Passages like a question that are tried: many papers of one field share its words."""
TRIES = 40
"""Random draws for each distractor; nearly all are fit."""


class Chosen(NamedTuple):
    """Numbers of passages, best first, and how many are lacking because no others are fit."""

    passages: list[int]
    lacking: int


def choose(library: Library, record: Qa, gold: Gold, prompt: PromptConfig, seed: int) -> Chosen:
    """Draw the passages of a question, each evidence at a rank of its own luck.

    Args:
        library: The corpus.
        record: The question.
        gold: Its evidence, with at least one passage.
        prompt: How many, and how many of them are like the question.
        seed: Decides together with the record's id.
    """
    draw = Random(int.from_bytes(rank(seed, "passages", record.id), "big"))
    fewest, most = prompt.passages
    count = max(0, fewest + int(draw.random() * (most - fewest + 1)) - len(gold.chunks))
    hard = int(prompt.hard_distractors * count + draw.random())
    evidence = library.evidence_texts(record)
    found: list[int] = []
    for wanted, candidates in (
        (hard, iter(library.like(record.question, LOOKED_AT) if hard else ())),
        (count, _drawn(draw, len(library.chunks), TRIES * min(count, len(library.chunks)))),
    ):
        for number in candidates:
            if len(found) >= wanted:
                break
            if number not in found and _is_fit(library, number, record, gold, evidence):
                found.append(number)
    lacking = count - len(found)
    for number in gold.chunks:
        found.insert(int(draw.random() * (len(found) + 1)), number)
    return Chosen(found, lacking)


def _drawn(draw: Random, size: int, tries: int) -> Iterator[int]:
    for _ in range(tries):
        yield int(draw.random() * size)


def _is_fit(library: Library, number: int, record: Qa, gold: Gold, evidence: Sequence[str]) -> bool:
    """Tell whether a passage does not answer a question."""
    if number in gold.chunks:
        return False
    text = " ".join(embedded_text(library.chunks[number]).split())
    if holds(text, telling(record.answers)):
        return False
    return not any(sentence in text for sentence in evidence)
