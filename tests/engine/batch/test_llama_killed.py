"""A real quantized model, killed in the middle: what is left to do gives the same answers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loragraft.checkpoint.bundle import open_model
from loragraft.engine.batch.llama import LlamaBatchEngine
from loragraft.engine.batch.protocol import Job
from loragraft.engine.protocol import Message, Sampling
from tests.support.sources import ROOT

SYSTEM = "You are a careful keeper of a lighthouse and answer in one short sentence. " * 5
TOPICS = ("fog", "oil lamps", "gulls", "the tide", "storms", "ships", "rust", "the moon", "ropes")
CHILD = """
import sys
from pathlib import Path
from tests.engine.batch.test_llama_killed import answered, opened
engine = opened(Path(sys.argv[1]))
for line in answered(engine):
    print(*line, sep="\\t", flush=True)
"""


def jobs() -> list[Job]:
    """Return greedy and sampled questions with a common beginning, and one without."""
    made = []
    for number, topic in enumerate(TOPICS):
        first: tuple[Message, ...] = ({"role": "system", "content": SYSTEM},)
        question: Message = {"role": "user", "content": f"What do you say about {topic}?"}
        sampling = Sampling(temperature=number % 2, seed=number, max_tokens=10 + number)
        messages = (question,) if number == 4 else (*first, question)
        made.append(Job(topic, messages, sampling))
    return made


def opened(bundle: Path) -> LlamaBatchEngine:
    """Open a bundle."""
    return LlamaBatchEngine(open_model(bundle), context=512, width=4, threads=1)


def answered(engine: LlamaBatchEngine, left: tuple[str, ...] = TOPICS) -> Iterator[tuple[str, str]]:
    """Yield ids and texts of some jobs' answers."""
    for answer in engine.answers([job for job in jobs() if job.id in left]):
        assert answer.reply is not None
        yield answer.id, json.dumps(answer.reply.text)


@pytest.mark.slow
def test_killed_and_gone_on_with_gives_what_one_run_gives(smollm2_bundle: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(smollm2_bundle)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert child.stdout is not None
    lines = [child.stdout.readline().rstrip("\n").split("\t", 1) for _ in range(4)]
    child.send_signal(signal.SIGKILL)
    child.communicate()
    before = {name: text for name, text in lines}
    assert len(before) == 4
    engine = opened(smollm2_bundle)
    rest = tuple(name for name in TOPICS[::-1] if name not in before)
    after = dict(answered(engine, rest))
    unbroken = dict(answered(engine))
    engine.close()
    assert before | after == unbroken
    assert not before.keys() & after.keys()
    assert len(set(unbroken.values())) == len(TOPICS)
