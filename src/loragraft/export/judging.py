"""Which gates an export passes, before the weights are written and after."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loragraft.adapter.checks import CheckContext, run_checks
from loragraft.adapter.findings import Finding
from loragraft.adapter.reader import open_adapter
from loragraft.artifact.progress import Progress
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import CheckFailedError
from loragraft.export.blocks import TensorRows
from loragraft.export.delta import Changes, FloatArray, MergedTensor, collect_changes
from loragraft.export.effect import EffectTarget, RowReader, measure_effect
from loragraft.export.effect_gates import effect_gates
from loragraft.export.gates import GateResult, failed_by
from loragraft.export.load_check import load_check, load_gate
from loragraft.export.prepare import Layout, OpenAdapter
from loragraft.export.request import ExportedFile, ExportRequest
from loragraft.export.stream import StreamInput
from loragraft.export.targets import effect_targets
from loragraft.export.verify import parity_gates

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


def _peft_targets(layout: Layout, original: Checkpoint) -> list[EffectTarget]:
    """List every matrix that PEFT changed, with what it changed as the change asked for.

    Only the base is known here, not what the adapter type computes, so k is that of the
    quantization: whether the merge itself is right is PEFT's word.
    """
    merged = layout.stream_input("fp32")
    alone = StreamInput(original, layout.sources, Changes())
    targets: list[EffectTarget] = []
    for index, source in enumerate(layout.sources):
        if source.source not in original.tensors or len(source.shape) != 2:
            continue
        if original.tensors[source.source].shape != source.shape:
            continue
        after, before = merged.open(index), alone.open(index)
        if _differs(after, before):
            targets.append(
                EffectTarget(
                    source.gguf_name, after.total_rows, before.base_rows, _change(after, before)
                )
            )
    return targets


def _change(after: TensorRows, before: TensorRows) -> RowReader:
    def delta(rows: NDArray[np.intp]) -> FloatArray:
        change: FloatArray = after.base_rows(rows) - before.base_rows(rows)
        return change

    return delta


def _differs(after: TensorRows, before: TensorRows) -> bool:
    rows = np.arange(min(_SAMPLE_ROWS, after.total_rows), dtype=np.intp)
    return not np.array_equal(after.base_rows(rows), before.base_rows(rows))


def gates_before(request: ExportRequest, base: Checkpoint) -> list[GateResult]:
    """Check every adapter, alone and against the base, before anything is written."""
    results: list[GateResult] = []
    for path, _ in request.adapters:
        with open_adapter(path) as adapter:
            findings = run_checks(CheckContext(adapter, base, request.base_name))
            lora = adapter.config.peft_type == "LORA"
        # What the keys of other types mean is PEFT's to say; its merge drops none either.
        results += [as_gate(f) for f in findings if lora or not f.code.startswith("keys.")]
    return results


def _in_file(results: Sequence[GateResult], file: ExportedFile, several: bool) -> list[GateResult]:
    if not several:
        return list(results)
    return [replace(r, measured=f"{file.quant}: {r.measured}") for r in results]


def load_gates(path: Path, tokenizer: Path, threads: int) -> list[GateResult]:
    """Load a finished file in a child process; compare its token ids with a tokenizer's."""
    try:
        report = load_check(path, tokenizer=tokenizer, threads=threads)
    except CheckFailedError as error:
        return [failed_by("load", error)]
    gate = load_gate(report)
    details = {key: value for key, value in gate.details.items() if key != "parity"}
    return [replace(gate, details=details), *parity_gates(report)]


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
    if layout.base is original:
        targets = effect_targets(layout.stream_input("fp32"))
    else:
        targets = _peft_targets(layout, original)
    for file in files:
        progress.begin(f"Checking {file.name}", 0)
        with ThreadPoolExecutor(1, "load-check") as pool:  # it waits for a child process
            path, source = folder / file.name, layout.vocabulary.source
            loading = pool.submit(load_gates, path, source, request.thread_count)
            effect = measure_effect(path, targets)
            found = [*effect_gates(effect, request.precision), *loading.result()]
        if request.verify == "full":
            progress.begin(f"Comparing {file.name} with the merged model", 0)
            found.append(_divergence(request, layout, path))
        results += _in_file(found, file, len(files) > 1)
    if layout.adapters and (request.prove or request.verify == "full"):
        progress.begin("Merging a sample with PEFT", 0)
        results += [_prove(layout, opened) for opened in layout.adapters]
    return results


def _divergence(request: ExportRequest, layout: Layout, path: Path) -> GateResult:
    from loragraft.export.divergence import divergence_gate, measure_divergence

    return divergence_gate(
        measure_divergence(
            path,
            request.base,
            request.adapters,
            tokenizer=layout.vocabulary.source,
            scratch=path.parent,
            threads=request.thread_count,
        )
    )


def _prove(layout: Layout, opened: OpenAdapter) -> GateResult:
    """Merge a sample of one adapter's modules with PEFT, alone on the base, and compare."""
    from loragraft.export.prove import prove_modules, sample_modules

    parts = opened.tensors
    alone = collect_changes(layout.base, [(opened.adapter, opened.scale, parts)], layout.aliases)

    def rows(module: str) -> FloatArray:
        tensor = opened.tensors[module]
        stored = layout.aliases.get(tensor, tensor)
        merged = MergedTensor(stored, layout.base, alone.by_tensor.get(tensor), "fp32")
        return merged.rows(0, merged.shape[0])

    stored = {name: layout.aliases.get(tensor, tensor) for name, tensor in parts.items()}
    return prove_modules(
        layout.base,
        opened.adapter.path,
        sample_modules(opened.adapter),
        rows,
        tensors=stored,
        scale=opened.scale,
    )
