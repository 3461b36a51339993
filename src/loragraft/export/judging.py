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
from loragraft.adapter.locate import locate_adapter
from loragraft.adapter.reader import open_adapter
from loragraft.artifact.progress import Progress
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import CheckFailedError, UnsupportedError
from loragraft.export.blocks import TensorRows
from loragraft.export.delta import Changes, FloatArray, MergedTensor, collect_changes
from loragraft.export.effect import Effect, EffectTarget, RowReader, measure_effect
from loragraft.export.effect_gates import effect_gates
from loragraft.export.gates import GateResult, failed_by
from loragraft.export.load_check import load_check, load_gate
from loragraft.export.prepare import Layout, OpenAdapter
from loragraft.export.request import ExportedFile, ExportRequest
from loragraft.export.stream import StreamInput
from loragraft.export.targets import effect_targets
from loragraft.export.verify import parity_gates

_COMPARED_ELEMENTS = 1 << 22
"""Values compared at a time to find the rows that PEFT changed: 16 MiB of each side."""


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
        rows = _changed_rows(after, before, source.shape[1])
        if len(rows):
            targets.append(
                EffectTarget(
                    source.gguf_name,
                    after.total_rows,
                    before.base_rows,
                    _change(after, before),
                    rows if len(rows) < after.total_rows else None,
                )
            )
    return targets


def _change(after: TensorRows, before: TensorRows) -> RowReader:
    def delta(rows: NDArray[np.intp]) -> FloatArray:
        change: FloatArray = after.base_rows(rows) - before.base_rows(rows)
        return change

    return delta


def _changed_rows(after: TensorRows, before: TensorRows, width: int) -> NDArray[np.intp]:
    """Return the rows that differ; every row is read, since an adapter may change only a few."""
    step = max(1, _COMPARED_ELEMENTS // width)
    found: list[NDArray[np.intp]] = []
    for start in range(0, after.total_rows, step):
        rows = np.arange(start, min(start + step, after.total_rows), dtype=np.intp)
        found.append(rows[(after.base_rows(rows) != before.base_rows(rows)).any(axis=1)])
    return np.concatenate(found)


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
    scratch: Path,
    progress: Progress,
) -> list[GateResult]:
    """Measure the finished files.

    Args:
        request: What was asked for.
        original: The base before any merge.
        layout: What was written.
        files: The files.
        folder: Where they lie.
        scratch: An empty folder for large temporary files.
        progress: Told of each stage.
    """
    results: list[GateResult] = []
    if layout.base is original:
        source = layout.stream_input("fp32")
        targets = effect_targets(source, changed_only=bool(request.adapters))
    else:
        targets = _peft_targets(layout, original)
    for file in files:
        progress.begin(f"Checking {file.name}", 0)
        with ThreadPoolExecutor(1, "load-check") as pool:  # it waits for a child process
            path, tokenizer = folder / file.name, layout.vocabulary.source
            loading = pool.submit(load_gates, path, tokenizer, request.thread_count)
            effect = _effect_gates(request, measure_effect(path, targets))
            found = [*effect, *loading.result()]
        if request.verify == "full":
            progress.begin(f"Comparing {file.name} with the merged model", 0)
            found.append(_divergence(request, layout, path, scratch))
        results += _in_file(found, file, len(files) > 1)
    if layout.adapters and (request.prove or request.verify == "full"):
        progress.begin("Merging a sample with PEFT", 0)
        results += [_prove(layout, opened) for opened in layout.adapters]
    return results


def check_whole_model_gates(request: ExportRequest) -> None:
    """Refuse now what ``--prove`` and ``--verify full`` would refuse after the writing.

    Raises:
        MissingExtraError: If torch, transformers or peft is not installed.
        OutOfMemoryError: If the merged model does not fit for ``--verify full``.
        UnsupportedError: If an adapter is MLX's, which PEFT cannot read.
    """
    full = request.verify == "full"
    if not (full or (request.prove and request.adapters)):
        return
    from loragraft.export.divergence import require_room
    from loragraft.export.peft_engine import require_peft

    require_peft()
    asked = "--verify full" if full else "--prove"
    for path, _ in request.adapters:
        if locate_adapter(path).format == "mlx":
            raise UnsupportedError(
                f"{path} is an MLX adapter, and {asked} compares with PEFT, which cannot read it. "
                f"Leave {asked} out: the quick gates measure the merge as well."
            )
    if full:
        require_room(request.base)


def _effect_gates(request: ExportRequest, effect: Effect) -> Sequence[GateResult]:
    """Judge what was read back; without an adapter only the residual means something."""
    changed, residual = effect_gates(effect, request.precision)
    if not request.adapters:
        none = GateResult("effect", "skipped", "no adapter was given", changed.expected)
        return none, residual
    if not effect.tensors:
        step = "Check that the adapter was trained, and that PEFT knows its type."
        nothing = "PEFT's merge changed no matrix of the base"
        return GateResult("effect", "fail", nothing, changed.expected, step), residual
    return changed, residual


def _divergence(request: ExportRequest, layout: Layout, path: Path, scratch: Path) -> GateResult:
    from loragraft.export.divergence import divergence_gate, measure_divergence

    return divergence_gate(
        measure_divergence(
            path,
            request.base,
            request.adapters,
            tokenizer=layout.vocabulary.source,
            scratch=scratch,
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
