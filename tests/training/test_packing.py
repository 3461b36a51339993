"""Packed rows: nothing lost, and the same loss and gradients as unpacked."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.training.encoding import IGNORED, Example, collate
from loragraft.training.packing import pack

WINDOW = 6
SIZES: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
LAYERS = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": WINDOW}
GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 16, **LAYERS}
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {}, "Qwen2": {}, "Qwen3": {"head_dim": 16}, "Phi3": {},
    "Mistral": {"sliding_window": WINDOW}, "Gemma2": GEMMA, "Gemma3": GEMMA,
}  # fmt: skip


def made(lengths: list[int], seed: int = 3) -> list[Example]:
    """Return examples of these lengths whose second halves are learnt."""
    draw = random.Random(seed)
    examples = []
    for number, length in enumerate(lengths):
        ids = tuple(draw.randrange(3, 64) for _ in range(length))
        half = length // 2
        examples.append(Example(str(number), ids, (IGNORED,) * half + ids[half:]))
    return examples


@given(st.lists(st.integers(2, 40), max_size=40), st.integers(16, 48), st.integers(0, 5))
def test_nothing_is_lost_or_cut(lengths: list[int], most: int, seed: int) -> None:
    examples = made(lengths)
    rows = pack(examples, most, seed)
    found: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for row in rows:
        assert row.positions is not None
        assert len(row.ids) == len(row.labels) == len(row.positions)
        assert len(row.ids) <= most or len(starts(row)) == 1
        for start, stop in zip(starts(row), [*starts(row)[1:], len(row.ids)], strict=True):
            assert list(row.positions[start:stop]) == list(range(stop - start))
            found.append((row.ids[start:stop], row.labels[start:stop]))
    assert sorted(found) == sorted((example.ids, example.labels) for example in examples)
    assert pack(examples, most, seed) == rows
    assert sum(map(len, (row.ids for row in rows))) == sum(lengths)


def starts(row: Example) -> list[int]:
    """Return where the examples of a row begin."""
    return [at for at, position in enumerate(row.positions or ()) if position == 0]


def test_rows_are_equally_full_and_mixed() -> None:
    draw = random.Random(1)
    long, short = ([draw.randint(*ends) for _ in range(210)] for ends in ((300, 690), (45, 90)))
    rows = pack(made([*long, *short]), 1024, 1)
    lengths = [len(row.ids) for row in rows]
    assert sum(lengths) / (1024 * len(rows)) > 0.94
    assert max(lengths) - min(lengths) < 150
    kinds = []
    for row in rows:
        ends = [*starts(row)[1:], len(row.ids)]
        kinds.append({stop - start > 200 for start, stop in zip(starts(row), ends, strict=True)})
    assert sum(len(kind) == 2 for kind in kinds) > 0.8 * len(rows)


def test_another_seed_makes_other_rows() -> None:
    examples = made([10] * 12)
    assert pack(examples, 30, 1) != pack(examples, 30, 2)


def model(family: str, attention: str) -> Any:  # noqa: ANN401
    """Return a pico model with random weights."""
    import torch
    import transformers

    kind = "Gemma3Text" if family == "Gemma3" else family
    config = getattr(transformers, f"{kind}Config")(
        **SIZES, **FAMILIES[family], attn_implementation=attention
    )
    torch.manual_seed(1)
    found = getattr(transformers, f"{family}ForCausalLM")(config)
    for name, parameter in found.named_parameters():
        torch.nn.init.normal_(parameter, std=0.3, mean=float("norm" in name))
    return found


def losses(network: Any, batches: list[list[Example]]) -> tuple[float, list[Any]]:  # noqa: ANN401
    """Return the summed loss and all gradients."""
    import torch

    network.zero_grad()
    total = 0.0
    for batch in batches:
        made = collate(batch, pad_id=0)
        labels = made.pop("labels")
        logits = network(**made, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
        )
        loss.backward()
        total += float(loss.detach())
    return total, [parameter.grad.clone() for parameter in network.parameters()]


ATTENTIONS = [(name, how) for name in FAMILIES for how in ("sdpa", "eager")
              if (name, how) != ("Gemma2", "sdpa")]  # fmt: skip
"""Gemma 2 caps its attention's logits, which PyTorch's own attention cannot."""


@pytest.mark.parametrize(("family", "attention"), ATTENTIONS)
def test_packed_loss_and_gradients_equal_unpacked_ones(family: str, attention: str) -> None:
    examples = made([5, 17, 9, 30, 12, 3, 8, 21])
    network = model(family, attention).train()
    alone, gradients = losses(network, [[example] for example in examples])
    rows = pack(examples, 40, 7)
    for batch in ([examples], [[row] for row in rows], [rows]):
        together, others = losses(network, batch)
        assert together == pytest.approx(alone, rel=1e-5)
        for one, other in zip(gradients, others, strict=True):
            assert float((one - other).norm() / one.norm()) < 1e-5


def test_rows_that_saw_each_other_would_have_another_loss() -> None:
    examples = made([5, 17, 9, 30])
    network = model("Llama", "sdpa")
    alone, _ = losses(network, [[example] for example in examples])
    (row,) = pack(examples, 100, 7)
    mixed, _ = losses(network, [[Example(row.id, row.ids, row.labels)]])
    assert abs(mixed - alone) > 1e-3 * alone
