"""A language model's job: which logits are computed, what they sum to, how it answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from loragraft.artifact.progress import Silent
from loragraft.errors import CheckpointError, InputError
from loragraft.training.causal_lm import (
    Answers,
    answer_loss,
    build_causal_lm,
    count_answers,
    count_tokens,
    last_answer,
    read_causal_data,
    refuse_unfit,
)
from loragraft.training.encoding import IGNORED, Example
from loragraft.training.job import Job
from loragraft.training.preview import preview
from tests.support.training import ROWS, conversations, small_config, write_rows


@pytest.fixture(scope="module")
def job(talking: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job whose adapter is switched on: its B is not zero."""
    config = small_config(tmp_path_factory.mktemp("data"))
    job = build_causal_lm(config, talking("llama"), Silent())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in job.model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    job.model.eval()
    return job


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:  # noqa: ANN401
    """Return what a loss says of the trained weights."""
    model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def full_loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:  # noqa: ANN401
    """Return the loss as transformers computes it: of all logits, the mean times the count."""
    labels = batch["labels"]
    mean = model(**batch, use_cache=False).loss
    return torch.as_tensor(mean * (labels[:, 1:] != IGNORED).sum())


def test_logits_of_answers_alone_give_the_loss_and_gradients_of_all(job: Job) -> None:
    batch = job.collate(job.train[:5])
    expected = full_loss(job.model, batch)
    wanted = gradients(job.model, expected)
    loss = job.loss(job.model, batch)
    found = gradients(job.model, loss)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert set(found) == set(wanted)
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-4, atol=1e-5)


def test_only_the_logits_of_answers_are_computed(job: Job) -> None:
    seen: list[int] = []
    head = job.model.get_base_model().get_output_embeddings()
    handle = head.register_forward_hook(lambda m, i, out: seen.append(out.shape[1]))
    batch = job.collate(job.train[:5])
    job.loss(job.model, batch)
    handle.remove()
    learnt = (batch["labels"][:, 1:] != IGNORED).any(0).sum()
    assert seen == [int(learnt)]
    assert learnt < batch["labels"].shape[1] / 2


def test_a_model_that_cannot_leave_logits_out_gives_the_same_loss(job: Job) -> None:
    class Whole(torch.nn.Module):
        """A model that knows nothing of ``logits_to_keep``."""

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, use_cache: bool = True
        ) -> Any:  # noqa: ANN401
            return job.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)

    batch = job.collate(job.train[:5])
    whole = Whole()
    with torch.no_grad():
        assert float(answer_loss(whole)(whole, batch)) == pytest.approx(
            float(job.loss(job.model, batch)), rel=1e-5
        )


def test_counts_are_of_answers_and_of_tokens_without_padding(job: Job) -> None:
    batch = job.collate(job.train[:4])
    assert count_answers(batch) == sum(one.learnt for one in job.train[:4])
    assert count_tokens(batch) == sum(len(one.ids) for one in job.train[:4])
    assert batch["input_ids"].numel() > count_tokens(batch)


def test_samples_are_whole_answers_in_words(job: Job) -> None:
    with torch.no_grad(), job.model.disable_adapter():
        found = [job.answer(index) for index in range(6)]
    assert found[5] is None, "there are five"
    samples = [sample for sample in found if sample is not None]
    assert sorted(one.id for one in samples) == [f"q{n}" for n in range(ROWS, ROWS + 5)]
    for one in samples:
        number = int(one.id[1:])
        assert one.expected == f"lazy dogs {number * number}."
        assert one.question.startswith(f"word {number}")
        assert one.answer == "All is well.", "what the base was taught"
        assert one.ended


def test_an_answer_ends_where_the_model_has_no_more_positions(
    talking: Callable[[str], Path], tmp_path: Path
) -> None:
    """One that never says its end token would go on for a billion."""
    config = small_config(tmp_path, evaluation={"sample_tokens": 10**9})
    job = build_causal_lm(config, talking("llama"), Silent())
    answers = job.answer
    assert isinstance(answers, Answers)
    answers._ends = frozenset({5})
    job.model.config.max_position_embeddings = 60
    job.model.eval()
    with torch.no_grad():
        sample = answers(0)
    assert sample is not None
    assert 0 < sample.tokens < 60


def test_the_last_answer_of_several_is_found() -> None:
    example = Example("a", (1, 2, 3, 4, 5, 6, 7), (IGNORED, 2, 3, IGNORED, IGNORED, 6, IGNORED))
    assert last_answer(example) == (5, 6)


def test_what_a_run_would_learn_is_told_before(
    talking: Callable[[str], Path], tmp_path: Path
) -> None:
    seen = preview(small_config(tmp_path), talking("llama"))
    assert (seen.steps, seen.warmup) == (12, 2)
    assert seen.facts["train"]["examples"] == ROWS
    (one,) = seen.shown
    learnt = [text for text, counts in one.parts if counts]
    assert len(learnt) == 1
    assert "lazy dogs" in learnt[0]
    assert "".join(text for text, _ in one.parts).count("word") == 1


def test_packed_rows_hold_all_examples_and_have_a_hash_of_their_own(
    talking: Callable[[str], Path], tmp_path: Path
) -> None:
    base = talking("llama")
    plain = read_causal_data(small_config(tmp_path), base, Silent())
    config = small_config(tmp_path, optimiser={"packing": True})
    packed = read_causal_data(config, base, Silent())
    assert packed.facts["rows"] == len(packed.rows) < ROWS
    assert sum(one.learnt for one in packed.rows) == sum(one.learnt for one in plain.rows)
    assert packed.facts["examples_sha256"] != plain.facts["examples_sha256"]


def test_other_data_have_another_hash(talking: Callable[[str], Path], tmp_path: Path) -> None:
    config, base = small_config(tmp_path), talking("llama")
    before = read_causal_data(config, base, Silent()).facts["examples_sha256"]
    rows = conversations(ROWS)
    rows[3]["messages"][1]["content"] += "!"
    write_rows(config.data.train[0], rows)
    assert read_causal_data(config, base, Silent()).facts["examples_sha256"] != before


def test_a_base_that_the_examples_do_not_fit_is_refused(
    talking: Callable[[str], Path], tmp_path: Path
) -> None:
    """Fewer rows than the tokenizer has tokens, and fewer positions than an example."""
    base = talking("llama")
    data = read_causal_data(small_config(tmp_path), base, Silent())
    model = SimpleNamespace(
        get_input_embeddings=lambda: torch.nn.Embedding(600, 2),
        config=SimpleNamespace(max_position_embeddings=64),
    )
    refuse_unfit(model, data, 0, "example/small")
    with pytest.raises(CheckpointError, match="makes the token 600, but the model has 600 rows"):
        refuse_unfit(model, data, 600, "example/small")
    longest = max(len(one.ids) for one in data.train.examples)
    model.config.max_position_embeddings = longest - 1
    with pytest.raises(InputError, match=f"has {longest} tokens.*max_length: {longest - 1}"):
        refuse_unfit(model, data, 0, "example/small")
