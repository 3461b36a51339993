"""What an export is asked to do, and what it says when it is done."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from loragraft.engine.threads import default_threads
from loragraft.export.delta import Precision
from loragraft.export.gates import GateResult
from loragraft.export.places import shared_name

Engine = Literal["auto", "stream", "peft"]
VerifyLevel = Literal["quick", "full"]


@dataclass(frozen=True)
class ExportRequest:
    """One call of ``loragraft export merge-and-quantize``.

    ``adapters`` pairs each adapter's path with the user's scale. ``threads`` 0 means all cores.
    """

    base: Path
    adapters: tuple[tuple[Path, float], ...]
    outputs: Path
    name: str
    quants: tuple[str, ...] = ("Q4_K_M",)
    engine: Engine = "auto"
    verify: VerifyLevel = "quick"
    precision: Precision = "fp32"
    replace: bool = False
    allow: frozenset[str] = frozenset()
    kernel: Literal["auto", "numba", "ggml"] = "auto"
    threads: int = 0
    prove: bool = False
    converter: Path | None = None
    base_id: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def base_name(self) -> str:
        """Name of the base as a bundle may tell it to others: no path of this machine."""
        if self.base_id is not None:
            return self.base_id
        return shared_name(self.base)

    @property
    def thread_count(self) -> int:
        """Encoding threads: as asked, or as many as this process may use."""
        return self.threads if self.threads > 0 else default_threads()


@dataclass
class Clock:
    """Seconds by phase."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the block to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class ExportedFile:
    """One GGUF file of a bundle."""

    name: str
    quant: str
    nbytes: int
    sha256: str
    bits_per_weight: float
    type_counts: Mapping[str, int]
    fallbacks: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the record as it stands in the metadata."""
        return {
            "name": self.name,
            "quant": self.quant,
            "bytes": self.nbytes,
            "sha256": self.sha256,
            "bits_per_weight": round(self.bits_per_weight, 4),
            "tensors_per_type": dict(self.type_counts),
            "fallbacks": dict(self.fallbacks),
        }


@dataclass(frozen=True)
class ExportReport:
    """What an export made, how, and what each gate said."""

    bundle: Path
    files: Sequence[ExportedFile]
    gates: Sequence[GateResult]
    engine: str
    engine_reason: str
    kernels: Mapping[str, str]
    types_from: str
    seconds: Mapping[str, float]
    peak_memory: int
    resumed_tensors: int
    warnings: Sequence[str] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """Return the report as ``--json`` prints it."""
        return {
            "bundle": str(self.bundle),
            "files": [file.to_json() for file in self.files],
            "gates": [gate.to_json() for gate in self.gates],
            "engine": self.engine,
            "engine_reason": self.engine_reason,
            "kernels": dict(self.kernels),
            "tensor_types_from": self.types_from,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "peak_anonymous_bytes": self.peak_memory,
            "resumed_tensors": self.resumed_tensors,
            "warnings": list(self.warnings),
        }
