"""Small chains whose every stage is real: a base, its adapter, its bundles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from loragraft.checkpoint.bundle import open_model
from loragraft.trace.chain import trace_chain
from loragraft.trace.probes import PROBES
from loragraft.trace.report import TraceReport
from loragraft.trace.request import TraceRequest
from tests.support.shared import build_once

QUANTS = {"pico-llama": ("Q4_K_M", "Q8_0", "F16"), "pico-qwen3": ("Q4_K_M",),
          "llama3": ("Q8_0",), "qwen3": ("Q8_0", "F16"), "gemma3": ("Q8_0",)}  # fmt: skip
"""Files of each chain, the first traced; others have Q4_K_M alone, since every file costs time."""
TOKENS = 10
"""Of a sample: what the small models learnt to say, and room to run on."""
FEW = tuple(probe for probe in PROBES if probe.name in ("one turn", "figures and code"))
"""Enough to see every fault; the healthy chains are asked all of them."""


@dataclass(frozen=True)
class Chain:
    """A base, its adapter, and the bundle of both with files in several types."""

    base: Path
    adapter: Path
    bundle: Path

    def gguf(self, quant: str | None = None) -> Path:
        """Return a file of the bundle, the quantized one by default."""
        quant = quant or open_model(self.bundle).gguf.stem.rpartition(".")[2]
        return self.bundle / f"{self.bundle.name}.{quant}.gguf"

    def request(self, model: Path | None = None, quant: str | None = None) -> TraceRequest:
        """Return a trace that makes nothing again."""
        return TraceRequest(
            self.base, self.adapter, open_model(model or self.bundle, quant), build=False,
            tokens=TOKENS, threads=1, probes=FEW,
        )  # fmt: skip

    def trace(self, model: Path | None = None, **options: Any) -> TraceReport:  # noqa: ANN401
        """Trace a file of this chain, or one that should be."""
        return trace_chain(replace(self.request(model), **options))


@pytest.fixture(scope="session")
def chain(
    talking: Callable[[str], Path], pico: Callable[[str], Path], shared_folder: Path
) -> Callable[[str], Chain]:
    """Build a chain of a family: one that talks, or a pico one by "pico-" and its name."""

    def build(name: str) -> Chain:
        plain = name.removeprefix("pico-")
        base = pico(plain) if plain != name else talking(plain)
        folder = build_once(shared_folder / "chains" / name, lambda part: _build(base, part, name))
        return Chain(base, folder / "adapter", folder / "bundles" / name)

    return build


def _build(base: Path, folder: Path, name: str) -> Path:
    from loragraft.export.job import run_export
    from loragraft.export.request import ExportRequest
    from tests.support.pico import build_adapter

    adapter = build_adapter(base, folder / "adapter")
    quants = QUANTS.get(name, ("Q4_K_M",))
    run_export(ExportRequest(base, ((adapter, 1.0),), folder / "bundles", name, quants, threads=1))
    return folder
