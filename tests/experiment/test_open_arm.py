"""From a configuration to an engine of transformers: base, adapter, merged, and what refuses."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from loragraft.engine.batch.protocol import Continuations, Job
from loragraft.engine.batch.specs import TransformersSpec
from loragraft.engine.batch.transformers import TransformersBatchEngine
from loragraft.engine.protocol import Message, Sampling
from loragraft.errors import AdapterError, InputError, MissingExtraError
from loragraft.experiment.open_arm import open_arm_engine
from tests.support.pico import build_adapter
from tests.support.talking import SAYING

ASKED: tuple[Message, ...] = ({"role": "user", "content": "word 1 the fox"},)
TEXTS = ("All is well.", "lazy", "the quick")


@pytest.fixture(scope="module")
def base(talking: Callable[[str], Path]) -> Path:
    return talking("qwen2")


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_adapter(base, tmp_path_factory.mktemp("adapter") / "tuned")


@pytest.fixture(autouse=True)
def one_thread() -> Any:  # noqa: ANN401
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def opened(**options: Any) -> TransformersBatchEngine:  # noqa: ANN401
    values = {"kind": "transformers", "width": 2, "device": "cpu", **options}
    engine = open_arm_engine(TransformersSpec.model_validate(values))
    assert isinstance(engine, TransformersBatchEngine)
    return engine


def sums(engine: TransformersBatchEngine) -> tuple[float, ...]:
    (found,) = engine.log_probs([Continuations("a", ASKED, TEXTS)])
    assert found.status == "ok"
    return found.sums


def test_a_checkpoint_answers(base: Path) -> None:
    engine = opened(model=str(base), context=128)
    (answer,) = engine.answers([Job("a", ASKED, Sampling(temperature=0, max_tokens=12))])
    assert answer.reply is not None
    assert answer.reply.text == SAYING
    assert (engine.name, engine.context) == ("qwen2", 128)
    values = engine.identity()
    assert (values["dtype"], values["adapter"], values["merged"]) == ("float32", None, False)
    assert set(values["model"]) >= {"config.json", "model.safetensors", "tokenizer.json"}


def test_merged_or_not_an_adapter_says_the_same(base: Path, adapter: Path) -> None:
    plain = sums(opened(model=str(base)))
    beside = opened(model=str(base), adapter=str(adapter))
    merged = opened(model=str(base), adapter=str(adapter), merged=True)
    assert beside.name == "qwen2 + tuned"
    np.testing.assert_allclose(sums(beside), sums(merged), atol=1e-3)
    assert np.abs(np.subtract(sums(beside), plain)).max() > 1e-2
    one, other = beside.identity(), merged.identity()
    assert one["adapter"] == other["adapter"]
    assert "adapter_model.safetensors" in one["adapter"]
    assert (one["merged"], other["merged"]) == (False, True)
    assert one["peft"]


def test_an_adapters_own_template_counts(base: Path, adapter: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(adapter, own)
    (own / "chat_template.jinja").write_text("{{ messages[-1]['content'] }}:")
    engine = opened(model=str(base), adapter=str(own))
    assert engine.render(ASKED) == "word 1 the fox:"
    assert engine.identity()["adapter"].keys() > {"chat_template.jinja"}


def test_smaller_numbers_on_request(base: Path) -> None:
    engine = opened(model=str(base), dtype="bfloat16")
    assert engine.identity()["dtype"] == "bfloat16"
    np.testing.assert_allclose(sums(engine), sums(opened(model=str(base))), rtol=0.05, atol=0.3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"merged": True}, "there is no adapter to merge"),
        ({"model": "./nothing/here"}, "does not exist"),
        ({"adapter": "./nothing/here"}, "does not exist"),
        ({"device": "cuda:77"}, "cannot be used here"),
        ({"device": "toaster"}, "cannot be used here"),
    ],
)
def test_what_cannot_be_opened_says_so(options: dict[str, Any], words: str, base: Path) -> None:
    with pytest.raises(InputError, match=words):
        opened(**{"model": str(base), **options})


def test_an_adapter_of_another_model_is_refused(
    base: Path, talking: Callable[[str], Path], tmp_path: Path
) -> None:
    strange = build_adapter(talking("gemma3"), tmp_path / "strange")
    with pytest.raises(AdapterError, match=r"does not fit the base|do not match"):
        opened(model=str(base), adapter=str(strange))


def test_a_missing_package_is_named(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "peft" else there(name)
    )
    with pytest.raises(MissingExtraError, match=r"loragraft\[peft\]"):
        opened(model=str(base))
