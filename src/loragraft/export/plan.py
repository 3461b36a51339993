"""What an export would do, told before anything is merged or written.

Headers tell all of it but one thing: of a tied checkpoint that holds its embedding twice, the two
copies are compared, since a file with both of them is larger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import gguf

from loragraft.adapter.peft_loading import OVERHEAD_BYTES
from loragraft.artifact.space import available_memory, free_disk
from loragraft.export.engine import choose_engine
from loragraft.export.job import BUNDLE_EXTRA_BYTES, check_request, file_name
from loragraft.export.mix.assign import bits_per_weight, fallbacks, type_counts
from loragraft.export.peft_engine import DTYPE_BYTES
from loragraft.export.prepare import Layout, QuantLayout, lay_out, open_base
from loragraft.export.request import ExportRequest

STREAM_MEMORY_BYTES = 400 << 20
"""Anonymous memory the stream engine stays under, measured in benchmarks/export.py; it does not
grow with the model."""

PEFT_DTYPES = {"fp32": "float32", "reference": "bfloat16"}
"""Type in which PEFT merges the whole model, by precision."""


@dataclass(frozen=True)
class PlannedTensor:
    """One tensor of one output file."""

    name: str
    shape: tuple[int, ...]
    qtype: str
    nbytes: int
    changed: bool
    reason: str | None


@dataclass(frozen=True)
class PlannedFile:
    """One output file."""

    name: str
    quant: str
    nbytes: int
    bits_per_weight: float
    nominal_bits: float
    type_counts: Mapping[str, int]
    fallbacks: Mapping[str, int]
    tensors: Sequence[PlannedTensor]

    def to_json(self) -> dict[str, Any]:
        """Return the record as ``export plan --json`` prints it."""
        return {
            "name": self.name,
            "quant": self.quant,
            "bytes": self.nbytes,
            "bits_per_weight": round(self.bits_per_weight, 4),
            "nominal_bits_per_weight": self.nominal_bits,
            "tensors_per_type": dict(self.type_counts),
            "fallbacks": dict(self.fallbacks),
            "tensors": [
                {
                    "name": t.name,
                    "shape": list(t.shape),
                    "type": t.qtype,
                    "bytes": t.nbytes,
                    "changed": t.changed,
                    "reason": t.reason,
                }
                for t in self.tensors
            ],
        }


@dataclass(frozen=True)
class ExportPlan:
    """The plan of one export."""

    base: str
    architecture: str
    parameters: int
    engine: str
    engine_reason: str
    types_from: str
    files: Sequence[PlannedFile]
    disk_needed: int
    disk_free: int
    memory_needed: int
    memory_free: int
    warnings: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as ``--json`` prints it."""
        return {
            "base": self.base,
            "architecture": self.architecture,
            "parameters": self.parameters,
            "engine": self.engine,
            "engine_reason": self.engine_reason,
            "tensor_types_from": self.types_from,
            "files": [file.to_json() for file in self.files],
            "disk_needed_bytes": self.disk_needed,
            "disk_free_bytes": self.disk_free,
            "memory_needed_bytes": self.memory_needed,
            "memory_free_bytes": self.memory_free,
            "warnings": list(self.warnings),
        }


def _planned_file(request: ExportRequest, layout: Layout, quant: QuantLayout) -> PlannedFile:
    tensors = [
        PlannedTensor(
            spec.name,
            spec.shape,
            gguf.GGMLQuantizationType(tensor.qtype).name,
            tensor.nbytes,
            source.source is not None and source.source in layout.changes.by_tensor,
            assignment.reason,
        )
        for spec, tensor, source, assignment in zip(
            quant.specs, quant.tensors, layout.sources, quant.assignments, strict=True
        )
    ]
    return PlannedFile(
        name=file_name(request, quant.mix.name),
        quant=quant.mix.name,
        nbytes=quant.data_bytes,
        bits_per_weight=bits_per_weight(quant.assignments, quant.specs),
        nominal_bits=quant.mix.nominal_bits,
        type_counts=type_counts(quant.assignments),
        fallbacks=fallbacks(quant.assignments),
        tensors=tensors,
    )


def _memory_needed(request: ExportRequest, engine: str, parameters: int) -> int:
    if engine == "stream":
        return STREAM_MEMORY_BYTES
    return parameters * DTYPE_BYTES[PEFT_DTYPES[request.precision]] + OVERHEAD_BYTES


def plan_export(request: ExportRequest) -> ExportPlan:
    """Lay out an export and say what it would make and need.

    For adapters that only PEFT can merge, the types are those of the base: the merge changes
    values, not shapes.

    Raises:
        LoragraftError: As :func:`~loragraft.export.job.run_export` would before it writes.
    """
    check_request(request)
    with ExitStack() as stack:
        base = open_base(request.base, stack)
        choice = choose_engine(request, base)
        adapters = request.adapters if choice.engine == "stream" else ()
        layout = lay_out(base, adapters, request.quants, stack)
        files = [_planned_file(request, layout, quant) for quant in layout.quants]
        parameters = sum(spec.size for spec in layout.quants[0].specs)
        extra = parameters * 4 if choice.engine == "peft" else 0
        disk = sum(file.nbytes for file in files) + BUNDLE_EXTRA_BYTES * len(files) + extra
        return ExportPlan(
            base=str(request.base),
            architecture=layout.family.name,
            parameters=parameters,
            engine=choice.engine,
            engine_reason=choice.reason,
            types_from=layout.types_from,
            files=files,
            disk_needed=disk,
            disk_free=free_disk(request.outputs),
            memory_needed=_memory_needed(request, choice.engine, parameters),
            memory_free=available_memory(),
            warnings=[*request.notes, *layout.warnings, *_size_warnings(files)],
        )


def _size_warnings(files: Sequence[PlannedFile]) -> list[str]:
    """Say where a mix does not hold what its name promises."""
    return [
        f"{file.quant} of this model is really {file.bits_per_weight:.2f} bits per weight "
        f"(nominally {file.nominal_bits:.2f}): {sum(file.fallbacks.values())} tensors have rows "
        "that no K-quant block divides and fall back to larger types"
        for file in files
        if file.fallbacks
    ]
