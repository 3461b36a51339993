"""What a run computes in: bfloat16 only where the machine has instructions for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from loragraft.training.config import TrainConfig
from loragraft.training.machine import Device, Machine, this_machine

if TYPE_CHECKING:
    import torch

PrecisionName = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Precision:
    """What a run computes in, and why.

    The base is held in this type and activations are computed in it (torch's autocast); the
    adapter, its gradients and the optimiser are float32 always.

    Attributes:
        name: Of torch's type. ``float16`` needs its gradients scaled, as transformers' ``fp16``
            does.
        why: A sentence.
        device: Where it is computed.
    """

    name: PrecisionName
    why: str
    device: Device

    @property
    def dtype(self) -> torch.dtype:
        """Return torch's type."""
        import torch

        dtype: torch.dtype = getattr(torch, self.name)
        return dtype


def choose_precision(config: TrainConfig, machine: Machine | None = None) -> Precision:
    """Choose what a run computes in.

    Args:
        config: Of the run; its ``precision`` is obeyed where it names one.
        machine: The machine; None asks this one.
    """
    found = machine or this_machine()
    name, why = _choose(config.precision, found)
    return Precision(name, why, found.device)


def _choose(asked: str, machine: Machine) -> tuple[PrecisionName, str]:
    if asked == "float32":
        return "float32", "The configuration asks for float32."
    if asked == "bfloat16":
        slow = "" if machine.bfloat16 else f"; {machine.name} emulates it, which may be slow"
        return "bfloat16", f"The configuration asks for bfloat16{slow}."
    if machine.bfloat16:
        return "bfloat16", f"{_capital(machine.name)} computes in bfloat16."
    if machine.device == "cuda":
        return "float16", f"{machine.name} has no bfloat16; in float16 the loss is scaled."
    return "float32", f"{_capital(machine.name)} has no instructions for bfloat16."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


@contextmanager
def without_autocast(model: Any) -> Iterator[None]:  # noqa: ANN401 - a module
    """Let a model compute without the autocast that accelerate has put before its ``forward``.

    What is proven of a saved adapter is proven in float32, in which it is loaded: in bfloat16 a
    trained embedder is 2e-3 away from itself.
    """
    autocast = vars(model).pop("forward", None)
    try:
        yield
    finally:
        if autocast is not None:
            model.forward = autocast
