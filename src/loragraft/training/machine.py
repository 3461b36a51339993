"""What a run computes on: this machine, or one that it is planned for."""

from __future__ import annotations

import importlib.util
import platform
from dataclasses import dataclass
from typing import Any, Literal

Device = Literal["cpu", "cuda", "mps"]

_MIB = 1 << 20


@dataclass(frozen=True)
class Machine:
    """Where a model is trained.

    Attributes:
        name: For people.
        device: What torch calls it; ``cuda`` stands for AMD's processors, too.
        bfloat16: Whether it has instructions for it; without, torch emulates them.
        memory: Bytes that a run may use.
    """

    name: str
    device: Device
    bfloat16: bool
    memory: int


T4 = Machine("T4", "cuda", False, 15360 * _MIB)
P100 = Machine("P100", "cuda", False, 16280 * _MIB)
"""What free notebooks lend. Memory as nvidia-smi shows it; both are older than bfloat16, which
came with compute capability 8.0 (T4: 7.5, P100: 6.0)."""


def this_machine() -> Machine:
    """Describe this machine: its GPU where torch sees one, else its processor."""
    from loragraft.artifact.space import available_memory

    if importlib.util.find_spec("torch") is None:  # a plan needs none
        return Machine("this processor", "cpu", False, available_memory())
    import torch

    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        return Machine(torch.cuda.get_device_name(), "cuda", _gpu_bfloat16(torch), int(free))
    if torch.backends.mps.is_available():
        return Machine("the GPU of Apple's processor", "mps", False, available_memory())
    return Machine("this processor", "cpu", _cpu_bfloat16(torch), available_memory())


def _gpu_bfloat16(torch: Any) -> bool:  # noqa: ANN401 - the module
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _cpu_bfloat16(torch: Any) -> bool:  # noqa: ANN401 - the module
    """Whether the processor multiplies in bfloat16: AVX512_BF16 (all that have AMX do), or ARM's.

    ``mkldnn`` alone says yes on every AVX-512, where it is emulated.
    """
    if platform.machine().lower() in ("aarch64", "arm64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # not before torch 2.5
    return bool(asked()) if asked is not None else False
