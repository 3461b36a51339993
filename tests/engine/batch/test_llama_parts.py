"""What batches on llama.cpp are made of: shared beginnings, schemas, probabilities, widths."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.checkpoint.bundle import LocalModel, open_model
from loragraft.engine.batch.llama import LlamaBatchEngine, open_llama
from loragraft.engine.batch.llama_reading import DEPTH, PART, part_ends, plan_sharing
from loragraft.engine.batch.llama_width import WIDTHS, choose_width
from loragraft.engine.batch.protocol import Continuations, Job, LogProbs
from loragraft.engine.batch.specs import LlamaSpec
from loragraft.engine.llama import LlamaEngine
from loragraft.engine.protocol import Message, Sampling
from loragraft.errors import BundleError, OutOfMemoryError
from tests.support.talking import QUESTIONS, SAYING

VERDICT = {
    "type": "object",
    "properties": {"why": {"type": "string", "maxLength": 8}, "verdict": {"enum": ["A", "B"]}},
    "required": ["why", "verdict"],
    "additionalProperties": False,
}


def user(text: str) -> tuple[Message, ...]:
    """Return a conversation."""
    return ({"role": "user", "content": text},)


@pytest.fixture(scope="module")
def engine(talking_bundle: Callable[[str], Path]) -> Iterator[LlamaBatchEngine]:
    engine = LlamaBatchEngine(open_model(talking_bundle("qwen3")), context=512, width=3, threads=1)
    yield engine
    engine.close()


# Sharing.


@given(st.integers(1, 700))
def test_parts_cover_a_prompt_and_none_is_a_single_token(length: int) -> None:
    ends = part_ends(length)
    sizes = np.diff([0, *ends])
    assert ends[-1] == length
    assert all(size == PART for size in sizes[:-1])
    assert sizes[-1] <= PART + 1
    assert length == 1 or sizes.min() > 1


pieces = st.lists(st.sampled_from(["a", "b", "cc"]), max_size=7)
prompts_of_pieces = st.lists(pieces, min_size=1, max_size=12)


@given(prompts_of_pieces)
def test_what_is_kept_is_the_beginning_of_one_to_come(lists: list[list[str]]) -> None:
    made = [[ord(c) for piece in one for c in piece * 32] + [1, 2] for one in lists]
    prompts = sorted(made)
    for index, needed in enumerate(plan_sharing(prompts)):
        assert len(needed) <= DEPTH
        for end in needed:
            later = [p for p in prompts[index + 1 :] if p[:end] == prompts[index][:end]]
            assert any(end in part_ends(len(prompt)) for prompt in later)
            assert end in part_ends(len(prompts[index]))
        if index + 1 < len(prompts) and prompts[index] == prompts[index + 1]:
            assert len(prompts[index]) in needed


# Schemas.


@pytest.mark.parametrize("temperature", [0.0, 5.0])
def test_an_answer_follows_its_schema_and_others_do_not_mind(
    engine: LlamaBatchEngine, temperature: float
) -> None:
    sampling = Sampling(temperature=temperature, seed=3, max_tokens=200)
    held = [Job(f"s{n}", user(text), sampling, schema=VERDICT) for n, text in enumerate(QUESTIONS)]
    free = [Job(f"f{n}", user(text), Sampling(temperature=0)) for n, text in enumerate(QUESTIONS)]
    answers = {answer.id: answer for answer in engine.answers([*held, *free])}
    for job in held:
        reply = answers[job.id].reply
        assert reply is not None
        assert reply.finish == "stop"
        verdict = json.loads(reply.text)
        assert set(verdict) == {"why", "verdict"}
        assert verdict["verdict"] in ("A", "B")
        (alone,) = engine.answers([job])
        assert alone.reply is not None
        assert alone.reply.text == reply.text
    for job in free:
        reply = answers[job.id].reply
        assert reply is not None
        assert reply.text == SAYING


@pytest.mark.parametrize(
    "schema", [{"type": "nothing"}, {"$ref": "#/nowhere"}, {"$ref": "https://example.com/x.json"},
               {"type": "object", "properties": 3}, {"enum": []}]
)  # fmt: skip
def test_a_schema_without_a_grammar_is_an_error_of_its_job(
    engine: LlamaBatchEngine, schema: dict[str, Any]
) -> None:
    (answer,) = engine.answers([Job("x", user("lazy"), Sampling(), schema=schema)])
    assert answer.status == "error"
    assert "schema" in answer.error


# Probabilities.


def by_hand(alone: LlamaEngine, prompt: list[int], text: list[int]) -> float:
    """Return a text's log-probability, one token after another."""
    return float(sum(alone.next_log_probs(prompt + text[:at])[text[at]]
                     for at in range(len(text))))  # fmt: skip


def test_log_probabilities_are_those_of_token_after_token(engine: LlamaBatchEngine) -> None:
    texts = (SAYING, "All", "0.75", "no word of it", "0.7")
    wanted = [Continuations(q, user(q), texts) for q in QUESTIONS]
    alone = LlamaEngine(engine.model, context=512, threads=1, literal=True)
    for found in engine.log_probs(wanted):
        assert found.status == "ok"
        prompt = engine.prompt_ids(user(found.id))
        for text, total, count in zip(texts, found.sums, found.counts, strict=True):
            ids = engine.text_ids(text)
            assert count == len(ids)
            assert total == pytest.approx(by_hand(alone, prompt, ids), abs=0.02)
        assert found.sums[0] > np.log(0.5)
    alone.close()


def test_log_probabilities_do_not_depend_on_company(engine: LlamaBatchEngine) -> None:
    long = "the quick brown fox jumps over lazy dogs " * 9
    wanted = [Continuations(f"{n}", user(long + f"word {n}"), (SAYING, "1", f"word {n}" * 30))
              for n in range(5)]  # fmt: skip
    before = engine.load.shared_tokens
    together = {found.id: found for found in engine.log_probs(wanted)}
    assert engine.load.shared_tokens > before
    assert len(together) == 5
    for one in wanted[::-2]:
        assert list(engine.log_probs([one])) == [together[one.id]]
        (found,) = engine.log_probs([Continuations("x", one.messages, one.texts[::-1])])
        assert found.sums[::-1] == together[one.id].sums


def test_what_has_no_probability_is_an_error_of_its_own(engine: LlamaBatchEngine) -> None:
    wanted = [
        Continuations("empty", user("lazy"), ("", "a")),
        Continuations("long", user("lazy"), ("word 1 " * 600,)),
        Continuations("good", user("lazy"), (SAYING,)),
    ]
    found: dict[str, LogProbs] = {one.id: one for one in engine.log_probs(wanted)}
    assert (found["empty"].status, found["long"].status) == ("error", "error")
    assert "no tokens" in found["empty"].error
    assert "context of 512" in found["long"].error
    assert found["good"].status == "ok"


# Widths.


def test_the_width_follows_from_memory(engine: LlamaBatchEngine) -> None:
    model = engine.model
    assert choose_width(model, 512, 1 << 40) == WIDTHS[0]
    least = next(m for m in range(300, 2000) if _fits(model, m << 20))
    chosen = [choose_width(model, 100_000, memory << 20) for memory in (least, 600, 1000, 10_000)]
    assert chosen[0] == 1
    assert chosen == sorted(chosen)
    with pytest.raises(OutOfMemoryError, match="smaller quantization"):
        choose_width(model, 100_000, (least - 1) << 20)


def _fits(model: LocalModel, memory: int) -> bool:
    try:
        return choose_width(model, 100_000, memory) > 0
    except OutOfMemoryError:
        return False


def test_a_width_beyond_memory_is_refused_before_it_is_taken(
    engine: LlamaBatchEngine, full_memory: None
) -> None:
    with pytest.raises(OutOfMemoryError, match=r"conversations of 512 tokens|context of 512"):
        LlamaBatchEngine(engine.model, context=512, width=256)


def test_a_configuration_is_opened_as_it_says(engine: LlamaBatchEngine) -> None:
    model = str(engine.model.gguf)
    opened = open_llama(LlamaSpec(model=model, threads=1), 300)
    assert (opened.context, opened.width) == (512, WIDTHS[0])
    opened.close()
    opened = open_llama(LlamaSpec(model=model, threads=1, width=2, context=300), 200)
    assert (opened.context, opened.width) == (300, 2)
    opened.close()
    with pytest.raises(BundleError):
        open_llama(LlamaSpec(model=f"{model}.gone"))
