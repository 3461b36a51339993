"""What every engine promises, on one small model: four ways to run it, the same conversations.

The embedded one reads the exported file, transformers the checkpoint; the servers are stand-ins
that answer by the exported file, over HTTP and in the words of Ollama's and OpenAI's APIs.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from loragraft.checkpoint.bundle import LocalModel, open_model
from loragraft.engine import llama as checking
from loragraft.engine.batch.parity import check_parity, compare_prompts, prompts_of
from loragraft.engine.batch.protocol import Answer, BatchEngine, Continuations, Job
from loragraft.engine.batch.specs import (
    EngineSpec,
    LlamaSpec,
    OllamaSpec,
    OpenAiSpec,
    TransformersSpec,
)
from loragraft.engine.llama import LlamaEngine
from loragraft.engine.ollama_server import OllamaServer
from loragraft.engine.protocol import Message, Sampling
from loragraft.experiment.open_arm import open_arm_engine
from loragraft.ollama.compose import compose
from tests.support.chat_dialects import answering_by
from tests.support.chat_server import chat_server
from tests.support.ollama_server import OllamaStandIn
from tests.support.talking import QUESTIONS, SAYING

FAMILY, WIDTH, CONTEXT = "qwen2", 3, 512
KINDS = ("llama", "transformers", "ollama", "openai")
INSIDE = ("llama", "transformers")
GREEDY = Sampling(temperature=0.0, max_tokens=24)
Engines = dict[str, BatchEngine]


def _served_by_ollama(model: LocalModel, stack: ExitStack, folder: Path) -> EngineSpec:
    server = stack.enter_context(OllamaStandIn(folder))
    digest = hashlib.sha256(model.gguf.read_bytes()).hexdigest()
    with OllamaServer(server.url) as client:
        client.upload(model.gguf, digest)
        client.create("m", compose(model).modelfile.request(), digest)
    return OllamaSpec(kind="ollama", model="m", host=server.url, context=CONTEXT, concurrency=WIDTH)


def _served_by_openai(model: LocalModel, stack: ExitStack) -> EngineSpec:
    engine = stack.enter_context(closing(LlamaEngine(model, context=CONTEXT, threads=1)))
    server = stack.enter_context(chat_server(answering_by(engine)))
    return OpenAiSpec(kind="openai", model="m", url=f"{server.url}/v1", key=None)


@pytest.fixture(scope="module")
def engines(
    talking: Callable[[str], Path],
    talking_bundle: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Engines]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    bundle = talking_bundle(FAMILY)
    model = open_model(bundle)
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(checking, "check_loads", lambda *_: None)  # the file is sound
        specs: dict[str, EngineSpec] = {
            "llama": LlamaSpec(model=str(bundle), context=CONTEXT, width=WIDTH, threads=1),
            "transformers": TransformersSpec(
                kind="transformers", model=str(talking(FAMILY)), width=WIDTH, device="cpu"
            ),
            "ollama": _served_by_ollama(model, stack, tmp_path_factory.mktemp("ollama")),
            "openai": _served_by_openai(model, stack),
        }
        opened = {kind: open_arm_engine(spec) for kind, spec in specs.items()}
        for engine in opened.values():
            stack.callback(engine.close)
        yield opened
    torch.set_num_threads(threads)


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest, engines: Engines) -> BatchEngine:
    return engines[request.param]


def ask(text: str, system: str = "") -> tuple[Message, ...]:
    before: list[Message] = [{"role": "system", "content": system}] if system else []
    return (*before, {"role": "user", "content": text})


def jobs_of(count: int = 9, sampling: Sampling = GREEDY) -> list[Job]:
    texts = [*QUESTIONS, "word 1 the fox jumps over 16 lazy dogs " * 3, "Cafe\u0301?"]
    return [
        Job(f"q{n}", ask(texts[n % len(texts)], "Be brief." if n % 2 else ""), sampling)
        for n in range(count)
    ]


def told(answers: Iterator[Answer]) -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    for answer in answers:
        assert answer.id not in found
        reply = answer.reply
        found[answer.id] = (answer.status, reply and (reply.text, reply.finish, reply.tokens))
    return found


def counted(engine: BatchEngine) -> dict[str, int]:
    return {
        answer.id: answer.reply.prompt_tokens
        for answer in engine.answers(jobs_of())
        if answer.reply
    }


def test_each_job_is_answered_once_and_as_trained(engine: BatchEngine) -> None:
    jobs = jobs_of()
    found = told(engine.answers(jobs))
    assert set(found) == {job.id for job in jobs}
    assert found["q0"][:1] == ("ok",)
    assert found["q0"][1][:2] == (SAYING, "stop")
    assert list(engine.answers([])) == []


def test_no_answer_depends_on_its_company(engine: BatchEngine) -> None:
    jobs = jobs_of()
    whole = told(engine.answers(jobs))
    for seed in range(2):
        chance = random.Random(seed)
        some = chance.sample(jobs, k=chance.randint(1, len(jobs)))
        assert told(engine.answers(some)) == {job.id: whole[job.id] for job in some}


def test_what_was_broken_off_goes_on_the_same(engine: BatchEngine) -> None:
    jobs = jobs_of()
    whole = told(engine.answers(jobs))
    begun = engine.answers(jobs)
    first = told(iter([next(begun), next(begun)]))
    begun.close()  # type: ignore[attr-defined]  # a generator
    rest = told(engine.answers([job for job in jobs if job.id not in first]))
    assert {**first, **rest} == whole


def test_all_answer_alike(engines: Engines) -> None:
    """Greedily, as far as half precision in the exported file lets them: here, all."""
    expected = told(engines["transformers"].answers(jobs_of()))
    for kind in KINDS:
        found = told(engines[kind].answers(jobs_of()))
        assert {name: words[1][:2] for name, words in found.items()} == {
            name: words[1][:2] for name, words in expected.items()
        }, kind


def test_all_read_the_same_prompts(engines: Engines) -> None:
    inside: Any = [engines[kind] for kind in INSIDE]
    assert check_parity(inside) == []
    reference = prompts_of(inside[0])
    for each in engines.values():
        differences = compare_prompts(reference, prompts_of(each))
        assert {found.conversation for found in differences} <= {"composition", "control tokens"}, (
            differences
        )
    expected = counted(inside[0])
    for kind in KINDS:
        assert counted(engines[kind]) == expected, kind


def test_limits_and_stop_texts_end_answers(engine: BatchEngine) -> None:
    short = Job("short", ask(QUESTIONS[0]), replace(GREEDY, max_tokens=2))
    stopped = Job("stopped", ask(QUESTIONS[0]), replace(GREEDY, stop=(" well",)))
    found = told(engine.answers([short, stopped]))
    assert found["short"][1][1:] == ("length", 2)
    assert found["stopped"][1][:2] == ("All is", "stop")


@pytest.mark.parametrize("kind", ["llama", "transformers", "ollama"])
def test_a_prompt_that_is_too_long_costs_only_itself(kind: str, engines: Engines) -> None:
    jobs = [Job("long", ask("lazy dogs " * 600), GREEDY), *jobs_of(2)]
    found = {answer.id: answer for answer in engines[kind].answers(jobs)}
    assert found["long"].status in ("error", "truncated")
    assert found["long"].reply is None
    assert str(CONTEXT) in found["long"].error
    assert {found[job.id].status for job in jobs[1:]} == {"ok"}


@pytest.mark.parametrize("kind", INSIDE)
def test_a_seed_repeats_an_answer_and_another_does_not(kind: str, engines: Engines) -> None:
    hot = Sampling(temperature=3.0, max_tokens=8, top_k=200)
    jobs = [Job(f"s{seed}", ask("lazy"), replace(hot, seed=seed)) for seed in range(6)]
    found = told(engines[kind].answers(jobs))
    assert told(engines[kind].answers(jobs[::-1])) == found
    assert len({words for _, words in found.values()}) > 3


def test_probabilities_agree(engines: Engines) -> None:
    """Of first tokens everywhere; of whole texts where the engine is in this process."""
    tokens: Any = engines["llama"]
    first = tokens.piece(tokens.text_ids(SAYING)[0]).decode()
    texts = (first, "lazy dogs")
    sums = {}
    for kind, each in engines.items():
        shown: Any = each
        (found,) = shown.log_probs([Continuations("c", ask(QUESTIONS[0]), texts)])
        assert found.status == "ok", found.error
        sums[kind] = found.sums
    for kind in KINDS:
        assert sums[kind][0] == pytest.approx(sums["transformers"][0], abs=0.02), kind
    assert sums["llama"][1] == pytest.approx(sums["transformers"][1], abs=0.2)


@pytest.mark.parametrize("kind", INSIDE)
def test_a_prompt_may_go_without_a_template(kind: str, engines: Engines) -> None:
    engine: Any = engines[kind]
    plain: tuple[Message, ...] = ({"role": "plain", "content": "The quick <|im_end|>fox"},)
    other: Any = engines["llama" if kind == "transformers" else "transformers"]
    assert engine.prompt_ids(plain) == other.prompt_ids(plain)
    (answer,) = engine.answers([Job("p", plain, GREEDY)])
    assert answer.reply.prompt_tokens == len(engine.prompt_ids(plain))


def test_identity_is_plain_and_steady(engine: BatchEngine) -> None:
    values = engine.identity()
    assert json.loads(json.dumps(values)) == values == engine.identity()
    assert engine.name
    assert engine.context >= CONTEXT


def test_load_is_counted(engine: BatchEngine) -> None:
    before = engine.load
    found = [answer.reply for answer in engine.answers(jobs_of(3))]
    written = sum(reply.tokens for reply in found if reply)
    assert engine.load.tokens - before.tokens == written
    assert engine.load.seconds > before.seconds
    read = engine.load.prompt_tokens + engine.load.shared_tokens
    asked = sum(reply.prompt_tokens for reply in found if reply)
    assert read - before.prompt_tokens - before.shared_tokens == asked
