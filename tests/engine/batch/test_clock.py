"""An answer's time of writing holds nothing that a batch did for others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from loragraft.checkpoint.bundle import open_model
from loragraft.checkpoint.template import resolve_chat_template
from loragraft.engine.batch import transformers_slots
from loragraft.engine.batch.clock import WritingClock
from loragraft.engine.batch.llama import LlamaBatchEngine
from loragraft.engine.batch.protocol import Answer, BatchEngine, Job
from loragraft.engine.batch.transformers import TransformersBatchEngine
from loragraft.engine.protocol import Sampling
from tests.support.talking import QUESTIONS

STEP, READING, WORKING = 1.0, 100.0, 10_000.0
"""Seconds that each takes here."""


class Hours:
    """A clock that goes where it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of the system's."""
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        self._patch = monkeypatch

    def spend(self, seconds: float, place: Any, name: str) -> None:  # noqa: ANN401
        """Let a function take so long."""
        plain = getattr(place, name)

        def slow(*given: Any, **options: Any) -> Any:  # noqa: ANN401
            self.now += seconds
            return plain(*given, **options)

        self._patch.setattr(place, name, slow)


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> Hours:
    return Hours(monkeypatch)


def check(engine: BatchEngine, hours: Hours) -> None:
    """Answer more questions than there are places, with a rest after each answer."""
    jobs = [
        Job(str(n), ({"role": "user", "content": QUESTIONS[n % len(QUESTIONS)]},),
            Sampling(temperature=1.5, seed=n, max_tokens=(1, 2, 5, 9)[n % 4]))
        for n in range(9)
    ]  # fmt: skip
    before, count = engine.load.seconds, 0
    for answer in engine.answers(jobs):
        hours.now += WORKING
        count += 1
        assert answer.reply is not None, answer.error
        assert answer.reply.seconds == pytest.approx(STEP * (answer.reply.tokens - 1))
    assert count == len(jobs)
    assert engine.load.seconds - before < WORKING


def test_llama_cpp(talking_bundle: Callable[[str], Path], hours: Hours) -> None:
    engine = LlamaBatchEngine(open_model(talking_bundle("qwen3")), context=512, width=3, threads=1)
    try:
        hours.spend(STEP, engine._slots, "step")
        hours.spend(READING, engine._slots, "read_part")
        check(engine, hours)
    finally:
        engine.close()


@pytest.fixture
def qwen(talking: Callable[[str], Path]) -> Iterator[TransformersBatchEngine]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, loader = talking("qwen2"), AutoModelForCausalLM
    model: Any = loader.from_pretrained(folder, dtype=torch.float32)
    template = resolve_chat_template([folder]).default
    tokenizer = AutoTokenizer.from_pretrained(folder)
    engine = TransformersBatchEngine(model, tokenizer, template=template, name="qwen", width=3)
    yield engine
    engine.close()


def test_transformers(
    qwen: TransformersBatchEngine, hours: Hours, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours.spend(STEP, transformers_slots.Slots, "step")
    hours.spend(READING, transformers_slots, "read_prompt")
    check(qwen, hours)


def test_an_answer_that_is_none_has_no_time() -> None:
    answer = Answer("1", "error", None, "It failed.")
    assert WritingClock().timed(answer, 0.0) is answer
