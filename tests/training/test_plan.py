"""Plans: the largest batch, what fits where, what to change first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loragraft.errors import InputError, UnsupportedError
from loragraft.training.config import load_config
from loragraft.training.machine import P100, T4, Machine
from loragraft.training.plan import fit, largest_batch, plan_memory, with_optimiser

ROOT = Path(__file__).resolve().parents[2]
REPLIES = ROOT / "configs" / "training" / "replies.yaml"
SCIENCE = ROOT / "configs" / "training" / "science.yaml"
GIB = 1 << 30


@dataclass(frozen=True)
class Row:
    """As much of an example as a plan looks at."""

    labels: tuple[int, ...]


def gpu(gib: float) -> Machine:
    return Machine("a GPU", "cuda", True, int(gib * GIB))


def test_the_largest_batch_is_padded_to_the_longest_row() -> None:
    config = with_optimiser(load_config(SCIENCE), batch=2)
    rows = [Row((-100,) * 10 + (5,) * 2), Row((-100,) * 4 + (5,) * 3), Row((-100,) * 30 + (7,) * 5)]
    batch = largest_batch(config, rows)
    assert (batch.rows, batch.length) == (2, 35)
    assert batch.learnt in (7, 8)  # of the second and third row, or of the first and third
    assert batch.logits == 2 * batch.learnt


def test_without_data_batches_are_full_and_said_to_be_assumed() -> None:
    config = load_config(SCIENCE)
    plan = plan_memory(config, config.base, machine=T4)
    assert not plan.measured
    assert plan.batch.length == config.optimiser.max_length
    assert plan.batch.learnt == config.optimiser.max_length / 4


def test_the_reply_protocol_fits_the_gpus_of_free_notebooks_in_four_bits_only() -> None:
    config = load_config(REPLIES)
    for machine in (T4, P100):
        plan = plan_memory(config, config.base, machine=machine)
        assert plan.fits
        assert plan.precision.name == "float16"
        fitting = [w.quantization for w in plan.ways if w.total <= machine.memory]
        assert set(fitting) == {"nf4"}


def test_the_batch_gives_way_first_and_its_product_stays() -> None:
    config = with_optimiser(load_config(SCIENCE), batch=8, accumulation=2)
    whole = plan_memory(config, config.base, machine=gpu(80)).now.total
    found = fit(config, config.base, machine=gpu(whole / GIB * 0.7))
    assert found is not None
    assert found.config.optimiser.batch * found.config.optimiser.accumulation == 16
    assert found.config.optimiser.batch < 8
    assert found.plan.fits
    assert not found.config.optimiser.gradient_checkpointing
    assert set(found.changes) == {
        f"optimiser.batch={found.config.optimiser.batch}",
        f"optimiser.accumulation={found.config.optimiser.accumulation}",
    }


def test_then_checkpointing_then_four_bits_then_length() -> None:
    config = load_config(SCIENCE)
    seen = []
    for gib in (8, 4, 2.5, 1.7):
        found = fit(config, config.base, machine=gpu(gib))
        assert found is not None
        seen.append({change.partition("=")[0].rpartition(".")[2] for change in found.changes})
    assert seen[0] == set()
    assert seen[1] == {"gradient_checkpointing"}
    assert seen[2] == {"gradient_checkpointing", "quantization"} or seen[2] == seen[1]
    assert "max_length" in seen[3]
    assert fit(config, config.base, machine=gpu(0.9)) is None


def test_a_batch_of_trillions_is_planned_at_once() -> None:
    config = with_optimiser(load_config(SCIENCE), batch=10**12, accumulation=3)
    found = fit(config, config.base, machine=gpu(100))
    assert found is not None
    assert found.config.optimiser.batch <= 1024
    assert found.config.optimiser.batch * found.config.optimiser.accumulation == 3 * 10**12


def test_changes_can_be_given_to_the_command(talking: Callable[[str], Path]) -> None:
    from loragraft.training.overrides import configure

    config = load_config(SCIENCE)
    found = fit(config, config.base, machine=gpu(2))
    assert found is not None
    assert configure(SCIENCE, found.changes) == found.config


def test_a_row_is_cut_where_examples_are_made_shorter() -> None:
    config = with_optimiser(load_config(SCIENCE), max_length=20)
    assert largest_batch(config, [Row((-100,) * 50 + (5,) * 4)]).length == 20


def test_the_plan_of_a_folder_counts_its_own_adapter(talking: Callable[[str], Path]) -> None:
    from loragraft.training.load import load_causal

    config = load_config(SCIENCE).model_copy(update={"precision": "float32"})
    plan = plan_memory(config, talking("llama"), machine=gpu(1))
    model, _ = load_causal(config, talking("llama"))
    assert plan.trained == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert plan.sizes.source == "files"


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"task": "embedding"}, UnsupportedError, "--dry-run"),
        ({"base": "nobody/knows"}, InputError, "nobody/knows"),
        ({"lora": {"targets": ("query",)}}, InputError, r"Its linear modules: .*down_proj"),
    ],
)
def test_what_cannot_be_planned_is_told(
    changes: dict[str, Any], kind: type[Exception], words: str
) -> None:
    config = load_config(SCIENCE)
    config = type(config).model_validate({**config.model_dump(), **changes})
    with pytest.raises(kind, match=words):
        plan_memory(config, config.base, machine=T4)


def test_an_empty_list_of_rows_is_no_measure() -> None:
    config = load_config(SCIENCE)
    assert not plan_memory(config, config.base, machine=T4, rows=[]).measured
