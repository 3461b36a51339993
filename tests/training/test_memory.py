"""The memory of a run, against what torch really keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loragraft.training import load
from loragraft.training.activations import Batch, Compute, kept_bytes
from loragraft.training.config import DataConfig, LoraSettings, OptimiserConfig, TrainConfig
from loragraft.training.machine import T4, Machine
from loragraft.training.memory import estimate_memory
from loragraft.training.precision import Precision, choose_precision
from loragraft.training.sizes import read_sizes
from loragraft.training.targets import choose_targets

Talking = Callable[[str], Path]
HERE = Machine("this processor", "cpu", False, 1 << 34)
FLOATS = Precision("float32", "It is a test.", "cpu")
ROWS, LENGTH, PADDED = 3, 40, 7


def config(lora: LoraSettings, *, checkpointing: bool = False, **changes: Any) -> TrainConfig:  # noqa: ANN401
    optimiser = OptimiserConfig(gradient_checkpointing=checkpointing)
    given = {"precision": "float32", "optimiser": optimiser, **changes}
    return TrainConfig(experiment_id="x", base="b", data=DataConfig(tag="t"), lora=lora, **given)


def kept_by_autograd(model: Any, *, bfloat16: bool) -> int:  # noqa: ANN401
    """Return the bytes of all tensors that a forward pass keeps, weights left out."""
    import torch

    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage().data_ptr()
        if storage not in own:
            kept.setdefault(storage, tensor)
        return tensor

    ids = torch.randint(4, 200, (ROWS, LENGTH), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, -PADDED:] = 0
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16),
    ):
        logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=1).logits
        logits.float().sum().backward()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3"])
def test_activations_are_those_that_autograd_keeps(talking: Talking, family: str) -> None:
    assert _ratio(talking(family), LoraSettings(r=4, dropout=0.1, targets="all")) == near()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "lora",
    [
        LoraSettings(r=4, dropout=0.0, targets="all"),
        LoraSettings(r=4, dropout=0.0, targets="science"),
        LoraSettings(r=8, dropout=0.1, targets="attention"),
        LoraSettings(r=4, dropout=0.0, targets="all", dora=True),
    ],
    ids=["all", "science", "dropout", "dora"],
)
def test_activations_of_each_kind_of_adapter(
    talking: Talking, lora: LoraSettings, precision: str
) -> None:
    assert _ratio(talking("llama"), lora, precision) == near()


def near() -> Any:  # noqa: ANN401
    """A tenth too little, or a quarter too much: the first layer of two keeps less than others."""
    return pytest.approx(1.08, abs=0.18)


def _ratio(folder: Path, lora: LoraSettings, precision: str = "float32") -> float:
    asked = config(lora, precision=precision)
    model, _ = load.load_causal(asked, folder)
    sizes = read_sizes(folder, "x")
    targets = choose_targets(lora, tuple(sizes.linear), "x")
    item = 4 if precision == "float32" else 2
    estimated = kept_bytes(sizes, lora, targets, Batch(ROWS, LENGTH, 1), Compute(item))
    return estimated / kept_by_autograd(model, bfloat16=precision == "bfloat16")


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("lora", [LoraSettings(r=4), LoraSettings(r=4, dora=True, targets="all")])
def test_weights_are_counted_to_the_byte(
    talking: Talking, lora: LoraSettings, quantization: str
) -> None:
    asked = config(lora, quantization=quantization)
    model, _ = load.load_causal(asked, talking("qwen2"))
    memory = _estimate(asked, talking("qwen2"))
    trained = [p for p in model.parameters() if p.requires_grad]
    assert memory.parts["adapter"] == sum(p.nbytes for p in trained)
    frozen = sum(p.nbytes for p in model.parameters() if not p.requires_grad)
    scales = sum(_scale_bytes(m.weight) for m in model.modules() if hasattr(m, "compute_dtype"))
    # Scales of scales stand in blocks of 256, whole or not; each matrix has a table and an offset.
    assert memory.parts["base"] == pytest.approx(frozen + scales, rel=0.01)


def _scale_bytes(weight: Any) -> int:  # noqa: ANN401 - of bitsandbytes
    state = weight.quant_state
    return int(state.absmax.nbytes + state.state2.absmax.nbytes)


def _estimate(asked: TrainConfig, folder: Path, **more: Any) -> Any:  # noqa: ANN401
    sizes = read_sizes(folder, "x")
    targets = choose_targets(asked.lora, tuple(sizes.linear), "x")
    return estimate_memory(
        asked, sizes, targets, Batch(2, 100, 20), FLOATS, more.get("environ", {})
    )


def test_the_optimiser_keeps_two_moments(talking: Talking) -> None:
    import torch

    asked = config(LoraSettings(r=4))
    model, _ = load.load_causal(asked, talking("llama"))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    model(input_ids=torch.ones(1, 4, dtype=torch.long)).logits.sum().backward()
    optimizer.step()
    moments = sum(v.nbytes for s in optimizer.state.values() for v in s.values() if v.numel() > 1)
    memory = _estimate(asked, talking("llama"))
    assert memory.parts["optimiser"] == moments
    assert memory.parts["gradients"] == sum(p.grad.nbytes for p in trained if p.grad is not None)
    assert memory.total == sum(memory.parts.values())


def test_checkpointing_and_four_bits_take_less(talking: Talking) -> None:
    lora = LoraSettings(r=4)
    plain = _estimate(config(lora), talking("llama"))
    saving = _estimate(config(lora, checkpointing=True), talking("llama"))
    packed = _estimate(config(lora, quantization="nf4"), talking("llama"))
    assert saving.parts["activations"] < plain.parts["activations"]
    assert packed.parts["base"] < plain.parts["base"]
    assert packed.parts["working"] > plain.parts["working"]


def test_an_allocator_that_gives_back_takes_less(talking: Talking) -> None:
    asked = config(LoraSettings(r=4))
    usual = _estimate(asked, talking("llama"))
    for value, less in (("1048576", True), ("65536", True), ("33554432", False), ("x", False)):
        found = _estimate(asked, talking("llama"), environ={"MALLOC_MMAP_THRESHOLD_": value})
        assert (found.total < usual.total) == (less and found.parts["allocator"] >= 0)


def test_a_gpu_without_bfloat16_is_planned_in_halves(talking: Talking) -> None:
    sizes = read_sizes(talking("llama"), "x")
    lora = LoraSettings(r=4, dropout=0.1)
    asked = config(lora, precision="auto")
    targets = choose_targets(lora, tuple(sizes.linear), "x")
    there = estimate_memory(asked, sizes, targets, Batch(2, 100), choose_precision(asked, T4))
    here = estimate_memory(asked, sizes, targets, Batch(2, 100), choose_precision(asked, HERE))
    assert there.parts["base"] * 2 == here.parts["base"]
    assert there.parts["activations"] < here.parts["activations"]
