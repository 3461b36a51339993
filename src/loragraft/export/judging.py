"""Which gates an export passes, before the weights are written and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loragraft.adapter.checks import CheckContext, run_checks
from loragraft.adapter.findings import Finding
from loragraft.adapter.reader import open_adapter
from loragraft.artifact.progress import Progress
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import CheckFailedError
from loragraft.export.blocks import TensorRows
from loragraft.export.delta import Changes, FloatArray
from loragraft.export.effect import EffectTarget, effect_gates, measure_effect
from loragraft.export.gates import GateResult, failed_by
from loragraft.export.load_check import load_check, load_gate
from loragraft.export.prepare import Layout
from loragraft.export.request import ExportedFile, ExportRequest
from loragraft.export.stream import StreamInput

_SAMPLE_ROWS = 4
"""Rows compared to find out whether PEFT changed a tensor: a LoRA changes every row of it."""


def as_gate(finding: Finding) -> GateResult:
    """Turn an adapter check's finding into a gate's result."""
    return GateResult(
        name=finding.code,
        verdict=finding.severity.value,
        measured=finding.measured,
        expected=finding.expected,
        next_step=finding.next_step,
    )


def _difference(merged: TensorRows, base: TensorRows) -> Callable[[NDArray[np.intp]], FloatArray]:
    def delta(rows: NDArray[np.intp]) -> FloatArray:
        change: FloatArray = merged.merged_rows(rows) - base.base_rows(rows)
        return change

    return delta


def _target(merged: TensorRows, base: TensorRows) -> EffectTarget:
    return EffectTarget(
        merged.source.gguf_name, merged.total_rows, base.base_rows, _difference(merged, base)
    )


def _pairs(layout: Layout, original: Checkpoint) -> Iterator[tuple[TensorRows, TensorRows]]:
    """Yield each tensor as exported with the same tensor of the base alone."""
    merged = layout.stream_input("fp32")
    alone = StreamInput(original, layout.sources, Changes())
    for index, source in enumerate(layout.sources):
        if source.source is None or source.source not in original.tensors:
            continue
        pair = merged.open(index), alone.open(index)
        if original.tensors[source.source].shape == source.shape:
            yield pair


def _differs(merged: TensorRows, base: TensorRows) -> bool:
    rows = np.arange(min(_SAMPLE_ROWS, merged.total_rows), dtype=np.intp)
    return not np.array_equal(merged.merged_rows(rows), base.base_rows(rows))


def effect_targets(layout: Layout, original: Checkpoint) -> list[EffectTarget]:
    """Return every weight matrix that adapters change, comparable with the base's own.

    Tensors that an adapter resized have no counterpart in the base and are left out, vectors
    (norms, biases) too: they are stored exactly.
    """
    peft_merged = layout.base is not original
    return [
        _target(merged, base)
        for merged, base in _pairs(layout, original)
        if len(merged.shape) == 2 and (merged.changed or (peft_merged and _differs(merged, base)))
    ]


def gates_before(request: ExportRequest, base: Checkpoint) -> list[GateResult]:
    """Check every adapter, alone and against the base, before anything is written."""
    results: list[GateResult] = []
    for path, _ in request.adapters:
        with open_adapter(path) as adapter:
            name = request.base_id or str(request.base)
            findings = run_checks(CheckContext(adapter, base, name))
        results += [as_gate(finding) for finding in findings]
    return results


def _in_file(results: Sequence[GateResult], file: ExportedFile, several: bool) -> list[GateResult]:
    if not several:
        return list(results)
    return [replace(r, measured=f"{file.quant}: {r.measured}") for r in results]


def _parity_gate(report: Mapping[str, Any]) -> GateResult:
    """Judge the comparison of token ids."""
    expected = f"the ids that {report['reference']} gives"
    explained = {name: item["count"] for name, item in report["known_differences"].items()}
    known = f", {sum(explained.values())} known differences" if explained else ""
    if report["passed"]:
        measured = f"{report['cases']} texts with equal ids{known}"
        return GateResult("tokenizer", "pass", measured, expected, "", report)
    first = report["mismatches"][0]
    measured = (
        f"{report['mismatch_count']} of {report['cases']} texts get other ids, first "
        f"{first['text']!r}: {first['found'][:8]} for {first['expected'][:8]}{known}"
    )
    step = "The model would read other text than it was trained on. Report this tokenizer."
    return GateResult("tokenizer", "fail", measured, expected, step, report)


def _load_gates(path: Path, layout: Layout, request: ExportRequest) -> list[GateResult]:
    try:
        report = load_check(path, tokenizer=layout.vocabulary.source, threads=request.thread_count)
    except CheckFailedError as error:
        return [failed_by("load", error)]
    gate = load_gate(report)
    details = {key: value for key, value in gate.details.items() if key != "parity"}
    return [replace(gate, details=details), _parity_gate(report.parity or {})]


def gates_after(
    request: ExportRequest,
    original: Checkpoint,
    layout: Layout,
    files: Sequence[ExportedFile],
    folder: Path,
    progress: Progress,
) -> list[GateResult]:
    """Measure the finished files."""
    results: list[GateResult] = []
    targets = effect_targets(layout, original)
    for file in files:
        progress.begin(f"Checking {file.name}", 0)
        found = list(effect_gates(measure_effect(folder / file.name, targets), request.precision))
        found += _load_gates(folder / file.name, layout, request)
        results += _in_file(found, file, len(files) > 1)
    return results
