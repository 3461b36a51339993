"""A transformers model as an engine: the very ids of its template, its chances, its stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from loragraft.engine.protocol import Message, PromptEngine, Sampling
from loragraft.engine.transformers import TransformersEngine
from loragraft.errors import InputError, TemplateError
from loragraft.trace.training import open_engines, torch_threads

ASKED: list[Message] = [{"role": "user", "content": "word 1 the fox"}]
GREEDY = Sampling(temperature=0, max_tokens=12)


@pytest.fixture(scope="module")
def engine(talking: Callable[[str], Path]) -> Iterator[TransformersEngine]:
    with torch_threads(1):
        found, none = open_engines(talking("qwen3"), None)
        assert none is None
        yield found
        found.close()


def test_ids_are_those_of_apply_chat_template(engine: TransformersEngine) -> None:
    as_protocol: PromptEngine = engine
    wanted = engine.tokenizer.apply_chat_template(
        ASKED, add_generation_prompt=True, return_dict=False
    )
    assert as_protocol.prompt_ids(ASKED) == list(wanted)
    assert as_protocol.render(ASKED).endswith("<|im_start|>assistant\n")


def test_thinking_is_switched(engine: TransformersEngine) -> None:
    assert "</think>" in engine.render(ASKED, think=False)
    assert "</think>" not in engine.render(ASKED, think=True)


def test_it_answers_and_stops_by_itself(engine: TransformersEngine) -> None:
    heard: list[str] = []
    reply = engine.chat(ASKED, GREEDY, on_text=lambda text, thinking: heard.append(text))
    assert (reply.text, reply.finish, reply.thinking) == ("All is well.", "stop", "")
    assert "".join(heard) == reply.text
    assert reply.prompt_tokens == len(engine.prompt_ids(ASKED))
    assert reply.tokens > 1


def test_it_ends_where_it_is_told(engine: TransformersEngine) -> None:
    assert engine.chat(ASKED, Sampling(temperature=0, max_tokens=1)).finish == "length"
    stopped = engine.chat(ASKED, Sampling(temperature=0, max_tokens=12, stop=(" is",)))
    assert (stopped.text, stopped.finish) == ("All", "stop")

    def interrupt(text: str, thinking: bool) -> None:
        raise KeyboardInterrupt

    assert engine.chat(ASKED, GREEDY, on_text=interrupt).finish == "cancelled"


def test_a_full_context_ends_it(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(engine.prompt_ids(ASKED))
    monkeypatch.setattr(engine, "context", size + 2)
    assert engine.chat(ASKED, GREEDY).finish == "context"
    monkeypatch.setattr(engine, "context", size)
    assert engine.chat(ASKED, GREEDY).tokens == 0


def test_chances_are_a_distribution(engine: TransformersEngine) -> None:
    ids = engine.prompt_ids(ASKED)
    last = engine.next_log_probs(ids)
    assert np.exp(last.astype(np.float64)).sum() == pytest.approx(1, abs=1e-4)
    rows = engine.log_probs(ids, 3)
    assert rows.shape == (3, len(last))
    np.testing.assert_allclose(rows[-1], last, atol=1e-5)
    first = next(engine.tokens(ids, Sampling(temperature=0)))
    assert first == int(last.argmax())


def test_a_seed_repeats_an_answer(engine: TransformersEngine) -> None:
    warm = Sampling(temperature=3.0, seed=5, max_tokens=6)
    assert engine.chat(ASKED, warm).text == engine.chat(ASKED, warm).text
    with pytest.raises(InputError, match="temperature"):
        engine.chat(ASKED, Sampling(temperature=-1))


def test_without_a_template_it_says_so(engine: TransformersEngine) -> None:
    bare = TransformersEngine(engine.model, engine.tokenizer, template=None, name="bare")
    with pytest.raises(TemplateError, match="bare has no chat template"):
        bare.render(ASKED)
    broken = TransformersEngine(
        engine.model, engine.tokenizer, template="{{ raise_exception('no') }}", name="b"
    )
    with pytest.raises(TemplateError, match="cannot be rendered for 1 messages"):
        broken.render(ASKED)


def test_base_and_adapter_share_a_model(
    talking: Callable[[str], Path], tmp_path: Path, engine: TransformersEngine
) -> None:
    from tests.support.pico import build_adapter

    base = talking("qwen3")
    plain, tuned = open_engines(base, build_adapter(base, tmp_path / "a"), scale=4.0)
    assert tuned is not None
    ids = engine.prompt_ids(ASKED)
    alone = engine.next_log_probs(ids)
    assert np.abs(tuned.next_log_probs(ids) - alone).max() > 1e-3
    with tuned.without_adapter():
        np.testing.assert_allclose(plain.next_log_probs(ids), alone, atol=1e-4)
