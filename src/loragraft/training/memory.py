"""How much memory a run takes, part by part."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loragraft.training.activations import Batch, Compute, adapted_modules, kept_bytes
from loragraft.training.config import LoraSettings, Quantization, TrainConfig
from loragraft.training.machine import Machine
from loragraft.training.precision import Precision
from loragraft.training.sizes import BaseSizes

_MIB = 1 << 20
FLOAT = 4
ADAM_BYTES = 8
"""Two moments of a trained number, in float32."""
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Of a packed number: four bits; a byte for the scale of 64; a float for the scales of 256."""
LOGIT_BYTES = 12
"""Of a logit, at the peak: its log-probability, and two gradients on the way back (float32)."""
WORKING_TENSORS = 4
"""Tensors as wide as the feed-forward part that a layer's backward pass holds at once."""
CPU_FRAMEWORK = 640 * _MIB
"""Python with torch 2.13, transformers, PEFT, the Trainer and a tokenizer: 490 MiB measured; the
rest is for matplotlib, reporters and what a run reads."""
GPU_FRAMEWORK = 700 * _MIB
"""CUDA's context and its libraries' workspaces; an assumption, not measured."""
CPU_LOSS = 0.9
"""What glibc keeps of freed blocks, as a share of the activations as they were without
checkpointing: blocks are freed and asked for in either case. Measured on SmolLM2-135M with glibc
2.36, three steps: 0.6 to 0.9, with and without checkpointing."""
CPU_LOSS_MAPPED = 0.25
"""The same where ``MALLOC_MMAP_THRESHOLD_`` is at most 1 MiB: such blocks are given back at once;
measured 0.15 to 0.25. Steps take about a third longer."""
GPU_LOSS = 0.1
"""The same of torch's allocator on a GPU; an assumption, not measured."""
MALLOC_VARIABLE = "MALLOC_MMAP_THRESHOLD_"
MALLOC_VALUE = _MIB
GIVING_BACK: Mapping[str, str] = {MALLOC_VARIABLE: str(MALLOC_VALUE)}
"""What makes glibc give freed blocks of that size back."""


@dataclass(frozen=True)
class Memory:
    """What a run takes at its peak, in bytes.

    Attributes:
        quantization: Of the base.
        checkpointing: Whether activations are computed twice.
        parts: Name of a part to its bytes; together they are the peak.
    """

    quantization: Quantization
    checkpointing: bool
    parts: Mapping[str, int]

    @property
    def total(self) -> int:
        """Return the peak."""
        return sum(self.parts.values())

    def to_json(self) -> dict[str, Any]:
        """Return what a program reads."""
        return {
            "quantization": self.quantization,
            "gradient_checkpointing": self.checkpointing,
            "parts": dict(self.parts),
            "total": self.total,
        }


def adapter_parameters(sizes: BaseSizes, lora: LoraSettings, targets: tuple[str, ...]) -> int:
    """Return how many numbers are trained."""
    sides = adapted_modules(sizes, targets).values()
    magnitudes = sum(outside for _, outside in sides) if lora.dora else 0
    return sum(lora.r * (inside + outside) for inside, outside in sides) + magnitudes


def estimate_memory(
    config: TrainConfig,
    sizes: BaseSizes,
    targets: tuple[str, ...],
    batch: Batch,
    precision: Precision,
    environment: Mapping[str, str] | None = None,
) -> Memory:
    """Estimate what a run takes.

    Args:
        config: Of the run.
        sizes: Of the base.
        targets: Names of the adapted modules.
        batch: The largest that goes through the model at once.
        precision: What is computed in, and where.
        environment: Variables that the C library reads; None is this process's.
    """
    item = FLOAT if precision.name == "float32" else FLOAT // 2
    gpu = precision.device != "cpu"
    checkpointing = config.optimiser.gradient_checkpointing
    how = Compute(item, 1 if gpu else None, checkpointing)
    trained = adapter_parameters(sizes, config.lora, targets)
    activations = kept_bytes(sizes, config.lora, targets, batch, how)
    if gpu:
        lost = int(activations * GPU_LOSS)
    else:
        whole = kept_bytes(sizes, config.lora, targets, batch, Compute(item, how.mask))
        lost = _lost_blocks(whole, os.environ if environment is None else environment)
    logits = batch.logits * sizes.vocabulary * LOGIT_BYTES
    working = WORKING_TENSORS * batch.tokens * sizes.intermediate * FLOAT
    parts = {
        "base": _weights(config.quantization, sizes, item),
        "adapter": trained * FLOAT,
        "gradients": trained * FLOAT,
        "optimiser": trained * ADAM_BYTES,
        "activations": activations,
        "logits": logits,
        "working": max(0, working - logits) + _unpacked(config.quantization, sizes, item),
        "allocator": lost,
        "framework": GPU_FRAMEWORK if gpu else CPU_FRAMEWORK,
    }
    return Memory(config.quantization, checkpointing, parts)


def _weights(quantization: Quantization, sizes: BaseSizes, item: int) -> int:
    if quantization == "none":
        return sizes.parameters * item
    others = sizes.parameters - sizes.linear_parameters
    return int(sizes.linear_parameters * NF4_BYTES) + others * item


def _unpacked(quantization: Quantization, sizes: BaseSizes, item: int) -> int:
    """Return what a packed matrix takes while it is multiplied: itself, unpacked."""
    return sizes.largest_linear * item if quantization == "nf4" else 0


def _lost_blocks(activations: int, environment: Mapping[str, str]) -> int:
    if not sys.platform.startswith("linux"):
        return int(activations * CPU_LOSS_MAPPED)
    asked = environment.get(MALLOC_VARIABLE, "")
    mapped = asked.isdecimal() and int(asked[:12]) <= MALLOC_VALUE
    return int(activations * (CPU_LOSS_MAPPED if mapped else CPU_LOSS))


def fits(memory: Memory, machine: Machine) -> bool:
    """Whether a run fits a machine."""
    return memory.total <= machine.memory
