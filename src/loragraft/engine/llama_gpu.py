"""How many of a model's layers a GPU computes, where llama.cpp was built for one."""

from __future__ import annotations

from dataclasses import dataclass

ALL_LAYERS = 0x7FFFFFFF
"""More than any model has: what llama-cpp-python makes of "all"."""


@dataclass(frozen=True)
class GpuLayers:
    """Layers on the GPU.

    Attributes:
        count: 0 for none.
        note: What a user should know of it; empty where nothing was asked for and there is no GPU.
    """

    count: int
    note: str = ""


def choose_gpu_layers(wanted: int | None) -> GpuLayers:
    """Return the layers to put on the GPU.

    Args:
        wanted: None for all, if llama.cpp was built with GPU support and sees a device.
    """
    return _choose(wanted, _offloads())


def _offloads() -> bool:
    """Whether the library was built for a GPU and a device is there."""
    import llama_cpp

    return bool(llama_cpp.llama_supports_gpu_offload())


def _choose(wanted: int | None, offloads: bool) -> GpuLayers:
    if offloads:
        count = ALL_LAYERS if wanted is None else wanted
        words = {0: "none", ALL_LAYERS: "all"}.get(count, str(count))
        return GpuLayers(count, f"Layers on the GPU: {words} (--gpu-layers).")
    if wanted:
        return GpuLayers(
            0,
            f"The processor computes all layers, though {wanted} were to be on a GPU: llama.cpp "
            "was built without GPU support or sees no device. `loragraft doctor` says which.",
        )
    return GpuLayers(0)
