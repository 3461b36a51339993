"""Which pairs teach what, and that batches change nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.adapter.embedder import load_embedder
from loragraft.adapter.peft_loading import quiet
from loragraft.training.pair_loss import (
    LossName,
    Pair,
    Prompts,
    apart,
    count_tokens,
    make_collate,
    make_count,
    make_loss,
)
from tests.support.encoders import build_sentence_transformer
from tests.support.shared import build_once

TEXTS = st.sampled_from("abcdef")
PAIRS = [
    Pair("1", "what is the sun", "the sun is a star", 1.0),
    Pair("2", "what is bread", "the dog is cold", 0.0),
    Pair("3", "where is the moon", "the moon orbits a planet", 0.8),
]


@pytest.fixture(scope="module")
def model(shared_folder: Path) -> Any:  # noqa: ANN401
    folder = build_once(
        shared_folder / "encoders" / "sentence-bert",
        lambda part: build_sentence_transformer("bert", part),
    )
    with quiet():
        return load_embedder(folder)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=12))
def test_no_text_stands_twice_in_a_group(texts: list[tuple[str, str]]) -> None:
    pairs = [Pair(str(number), a, b, 1.0) for number, (a, b) in enumerate(texts)]
    groups = apart(pairs)
    assert sorted(pair.id for group in groups for pair in group) == sorted(p.id for p in pairs)
    for group in groups:
        held: set[str] = set()
        for pair in group:
            assert not {pair.a, pair.b} & held
            held |= {pair.a, pair.b}


def test_the_losses_are_those_of_sentence_transformers(model: Any) -> None:  # noqa: ANN401
    import torch

    batch = make_collate(model, "cosine", Prompts())(PAIRS)
    group = batch["groups"][0]
    with torch.no_grad():
        vectors = [model(dict(group[side]))["sentence_embedding"] for side in ("a", "b")]
        cosines = torch.cosine_similarity(*vectors)
        labels = torch.tensor([pair.label for pair in PAIRS])
        cosine = float(make_loss(model, "cosine")(model, batch))
        ranking = float(make_loss(model, "ranking")(model, batch))
        scores = 20 * torch.nn.functional.cosine_similarity(
            vectors[0][:, None], vectors[1][None], dim=-1
        )
        negatives = float(make_loss(model, "negatives")(model, batch))
    assert cosine == pytest.approx(float(((cosines - labels) ** 2).sum()), abs=1e-5)
    # CoSENT: log(1 + the sum over pairs in order of exp(20 (worse - better))), here three times.
    better = [(i, j) for i in range(3) for j in range(3) if labels[i] > labels[j]]
    total = sum(torch.exp(20 * (cosines[j] - cosines[i])) for i, j in better)
    assert ranking == pytest.approx(3 * float(torch.log(1 + total)), rel=1e-5)
    wanted = torch.nn.functional.cross_entropy(scores, torch.arange(3), reduction="sum")
    assert negatives == pytest.approx(float(wanted), rel=1e-5)


def test_pairs_that_share_a_text_are_no_negatives_of_each_other(model: Any) -> None:  # noqa: ANN401
    import torch

    shared = [*PAIRS, Pair("4", "where is the moon", "the moon is cold", 1.0)]
    collate, loss = make_collate(model, "negatives", Prompts()), make_loss(model, "negatives")
    batch = collate(shared)
    assert [len(group["labels"]) for group in batch["groups"]] == [3, 1]
    assert make_count("negatives")(batch) == 3
    with torch.no_grad():
        assert float(loss(model, batch)) == pytest.approx(float(loss(model, collate(PAIRS))))


@pytest.mark.parametrize(
    ("loss", "labels", "count"),
    [("cosine", [1.0, 1.0], 2), ("cosine", [1.0], 1), ("ranking", [1.0, 1.0], 0),
     ("ranking", [1.0, 0.5], 2), ("ranking", [1.0], 0), ("negatives", [1.0], 0),
     ("negatives", [1.0, 1.0], 2)],
)  # fmt: skip
def test_what_has_nothing_to_compare_does_not_count(
    model: Any,  # noqa: ANN401
    loss: LossName,
    labels: list[float],
    count: int,
) -> None:
    import torch

    pairs = [Pair(p.id, p.a, p.b, label) for p, label in zip(PAIRS, labels, strict=False)]
    batch = make_collate(model, loss, Prompts())(pairs)
    assert make_count(loss)(batch) == count
    value = make_loss(model, loss)(model, batch)
    assert value.requires_grad  # a step of such batches alone moves nothing, and is no error
    assert torch.isfinite(value)
    assert count or float(value.detach()) == 0


def test_prompts_stand_before_questions_and_documents(model: Any) -> None:  # noqa: ANN401
    plain = make_collate(model, "cosine", Prompts())(PAIRS)
    batch = make_collate(model, "cosine", Prompts("read ", "of the "))(PAIRS)
    words = [model.tokenizer.decode(batch["groups"][0][side]["input_ids"][0]) for side in "ab"]
    assert words[0].startswith("[CLS] read")
    assert words[1].startswith("[CLS] of the")
    assert count_tokens(batch) > count_tokens(plain)
