"""Exports of architectures that are not streamed: PEFT merges, llama.cpp's script converts.

Slower, larger on the disk and bounded by the whole model's memory, but through the same gates
and into the same bundle; only the read-back of k needs to know the tensors' names and is left
out.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from loragraft.adapter.locate import locate_adapter
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.progress import Progress
from loragraft.artifact.publish import Staging
from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.export.bundle import (
    describe_inputs,
    fill_bundle,
    hash_base,
)
from loragraft.export.carried import tokenizer_owner
from loragraft.export.converter import convert_and_quantize, find_script
from loragraft.export.engine import merge_beside
from loragraft.export.gates import GateResult, judge
from loragraft.export.judging import gates_before, load_gates
from loragraft.export.memory import PeakMemory
from loragraft.export.prepare import open_base
from loragraft.export.request import Clock, ExportedFile, ExportReport, ExportRequest
from loragraft.export.serving import serving_of


def _describe_file(path: Path, quant: str) -> ExportedFile:
    with GgufFile(path) as file:
        tensors = list(file.tensors.values())
    elements = sum(tensor.rows * tensor.row_length for tensor in tensors)
    return ExportedFile(
        name=path.name,
        quant=quant,
        nbytes=path.stat().st_size,
        sha256=sha256_file(path),
        bits_per_weight=8 * sum(tensor.nbytes for tensor in tensors) / elements,
        type_counts=dict(Counter(tensor.type_name for tensor in tensors).most_common()),
        fallbacks={},
    )


def run_converted(request: ExportRequest, progress: Progress) -> ExportReport:
    """Export by llama.cpp's own converter.

    Raises:
        LoragraftError: As :func:`~loragraft.export.job.run_export`.
    """
    clock = Clock()
    if request.converter is None:
        raise AssertionError("no converter is given")
    script = find_script(request.converter)
    with ExitStack() as stack:
        peak = stack.enter_context(PeakMemory())
        staging = stack.enter_context(
            Staging(request.outputs, request.name, replace=request.replace)
        )
        base = open_base(request.base, stack)
        with clock.phase("check"):
            gates = judge(gates_before(request, base), request.allow)
        with clock.phase("merge"):
            merged = request.base
            if request.adapters:
                merged = merge_beside(request, staging, stack, progress)
        names = {quant: f"{request.name}.{quant}.gguf" for quant in request.quants}
        with clock.phase("write"):
            progress.begin("Converting with llama.cpp", 0)
            outputs = [(quant, staging.folder / name) for quant, name in names.items()]
            floats = staging.target.with_name(f".{request.name}.float.gguf")
            convert_and_quantize(
                script, merged, outputs, floats=floats, threads=request.thread_count
            )
            files = [_describe_file(path, quant) for quant, path in outputs]
        with clock.phase("gates"):
            folders = [locate_adapter(path).folder for path, _ in request.adapters]
            tokenizer = tokenizer_owner(folders, request.base)
            progress.begin("Checking", 0)
            for file in files:
                gates += load_gates(staging.folder / file.name, tokenizer, request.thread_count)
            gates.append(_no_read_back())
            gates = judge(gates, request.allow)  # nothing is kept: there is no journal
        serving = serving_of(outputs[0][1], merged)
        report = ExportReport(
            bundle=staging.target,
            files=files,
            gates=gates,
            engine="peft" if request.adapters else "llama.cpp",
            engine_reason=f"--converter {request.converter}",
            kernels={},
            types_from="llama.cpp",
            seconds=clock.seconds,
            peak_memory=peak.peak,
            resumed_tensors=0,
            warnings=[*request.notes, *serving.warnings],
        )
        architecture = str((base.config["architectures"] or ["unknown"])[0])
        inputs = describe_inputs(request, architecture, hash_base(base.files))
        fill_bundle(
            staging.folder,
            request,
            report,
            inputs,
            serving=serving,
            context=base.config.get("max_position_embeddings"),
        )
        staging.publish()
        progress.end()
    return replace(report, peak_memory=peak.peak)


def _no_read_back() -> GateResult:
    return GateResult(
        "effect",
        "skipped",
        "the tensors of this architecture have names that only llama.cpp's converter knows",
        "k within 0.95 and 1.05",
    )
