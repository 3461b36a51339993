"""From a request to a published bundle: lay out, write, judge, publish."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from loragraft import __version__
from loragraft.artifact.hash_cache import file_identity
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.journal import Journal
from loragraft.artifact.names import check_name
from loragraft.artifact.progress import Progress, Silent
from loragraft.artifact.publish import Staging
from loragraft.artifact.space import require_disk
from loragraft.errors import InputError
from loragraft.export.bundle import (
    BaseHashes,
    describe_inputs,
    fill_bundle,
    hash_base,
)
from loragraft.export.engine import choose_engine, hidden_folder, merged_base
from loragraft.export.gates import judge
from loragraft.export.judging import check_whole_model_gates, gates_after, gates_before
from loragraft.export.memory import PeakMemory
from loragraft.export.mix import find_mix
from loragraft.export.mix.assign import bits_per_weight, fallbacks, type_counts
from loragraft.export.prepare import Layout, lay_out, open_base
from loragraft.export.quantize.kernels import Kernels, choose_kernels
from loragraft.export.request import Clock, ExportedFile, ExportReport, ExportRequest
from loragraft.export.serving import serving_of
from loragraft.export.stream import stream_tensors
from loragraft.export.tokenizer.parity import require_reference
from loragraft.export.writer import GgufOutput, write_header

BUNDLE_EXTRA_BYTES = 4 << 20
"""Room for a bundle's text files, its journal and the header written twice."""


@dataclass(frozen=True)
class Written:
    """What the writing of the files gave."""

    files: Sequence[ExportedFile]
    kernels: Kernels
    resumed: int


def check_request(request: ExportRequest) -> None:
    """Refuse what no file needs to be read for.

    Raises:
        InputError: On a bad name, a mix named twice (by an alias, too) or none at all.
        UnsupportedError: On an unknown mix.
    """
    check_name(request.name)
    names = [find_mix(quant).name for quant in request.quants]
    double = [name for name, count in Counter(names).items() if count > 1]
    if double or not names:
        raise InputError(f"--quant names {double[0]} twice." if double else "No --quant is given.")


def file_name(request: ExportRequest, quant: str) -> str:
    """Return the name of a bundle's GGUF file."""
    return f"{request.name}.{quant}.gguf"


def run_key(request: ExportRequest, layout: Layout, headers: Sequence[bytes]) -> str:
    """Return a hash of everything that decides the output's bytes.

    Headers carry names, shapes, types, metadata and the tokenizer; the base's shards are named by
    what tells a changed file, the adapters by the hashes of weights and configuration.
    """
    base = [[str(path.resolve()), *file_identity(path)] for path in layout.base.files]
    adapters = [
        (a.adapter.sha256, sha256_file(a.adapter.location.config), a.scale) for a in layout.adapters
    ]
    facts = [__version__, base, adapters, request.precision]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for header in headers:
        digest.update(hashlib.sha256(header).digest())
    return digest.hexdigest()


def _headers(request: ExportRequest, layout: Layout, folder: Path) -> list[bytes]:
    headers: list[bytes] = []
    for quant in layout.quants:
        path = folder / ".header"
        items = layout.items(request.name, quant.mix)
        write_header(path, layout.family.gguf_arch, items, quant.tensors)
        headers.append(path.read_bytes())
        path.unlink()
    return headers


def _marks(journal: Journal, number: int) -> list[tuple[int, str]]:
    return [
        (entry["position"], entry["sha256"])
        for entry in journal.entries
        if entry.get("output") == number
    ]


def _elements(layout: Layout) -> dict[int, int]:
    counts: Counter[int] = Counter()
    for quant in layout.quants:
        for spec, tensor in zip(quant.specs, quant.tensors, strict=True):
            counts[tensor.qtype] += spec.size
    return dict(counts)


def _exported(layout: Layout, index: int, output: GgufOutput, digest: str) -> ExportedFile:
    quant = layout.quants[index]
    return ExportedFile(
        name=output.path.name,
        quant=quant.mix.name,
        nbytes=output.size,
        sha256=digest,
        bits_per_weight=bits_per_weight(quant.assignments, quant.specs),
        type_counts=type_counts(quant.assignments),
        fallbacks=fallbacks(quant.assignments),
    )


def write_files(
    request: ExportRequest, layout: Layout, staging: Staging, progress: Progress
) -> Written:
    """Write every GGUF file into the staging folder, resuming what a killed run left."""
    headers = _headers(request, layout, staging.folder)
    outputs = [
        GgufOutput(staging.folder / file_name(request, q.mix.name), header, q.tensors)
        for q, header in zip(layout.quants, headers, strict=True)
    ]
    key = run_key(request, layout, headers)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(staging.journal_path, key))
        if not journal.entries:
            _clear(staging.folder)
        for number, output in enumerate(outputs):
            stack.callback(output.close)
            output.open(_marks(journal, number))
        resumed = sum(output.done for output in outputs)
        if resumed:
            progress.note(f"{resumed} tensors of an interrupted export are there and proven.")
        remaining = sum(output.remaining for output in outputs)
        require_disk(staging.folder, remaining + BUNDLE_EXTRA_BYTES, "The rest of the bundle")
        kernels = choose_kernels(_elements(layout), prefer=request.kernel)
        progress.begin("Writing " + ", ".join(q.mix.name for q in layout.quants), remaining)
        stream_tensors(
            layout.stream_input(request.precision),
            outputs,
            kernels,
            threads=request.thread_count,
            on_bytes=progress.advance,
            on_tensor=_noter(journal),
        )
        digests = [output.finish() for output in outputs]
    finished = enumerate(zip(outputs, digests, strict=True))
    files = [_exported(layout, index, output, digest) for index, (output, digest) in finished]
    return Written(files, kernels, resumed)


def _noter(journal: Journal) -> Callable[[int, tuple[int, str]], None]:
    def note(number: int, mark: tuple[int, str]) -> None:
        journal.append({"output": number, "position": mark[0], "sha256": mark[1]})

    return note


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def run_export(request: ExportRequest, progress: Progress | None = None) -> ExportReport:
    """Export a bundle.

    Args:
        request: What to do.
        progress: Who wants to know how far it is.

    Returns:
        The report; the bundle is published when this returns.

    Raises:
        CheckFailedError: If a gate failed; the files stay hidden in the staging folder, and the
            same command with ``--allow`` goes on from there.
        LoragraftError: Whatever else is in the way, with its next step.
    """
    progress = progress or Silent()
    check_request(request)
    if request.converter is not None:
        from loragraft.export.converted import run_converted

        return run_converted(request, progress)
    clock = Clock()
    with ExitStack() as stack:
        peak = stack.enter_context(PeakMemory())
        with clock.phase("open"):
            original = open_base(request.base, stack)
            check_whole_model_gates(request)
            choice = choose_engine(request, original)
            progress.begin("Opening", 0)
        staging = stack.enter_context(
            Staging(request.outputs, request.name, replace=request.replace)
        )
        hashes = _hash_in_background(original.files, stack)
        with clock.phase("check"):
            gates = gates_before(request, original)
            gates = judge(gates, request.allow)
        with clock.phase("merge"):
            base, adapters = merged_base(request, choice, original, staging, stack, progress)
        with clock.phase("lay out"):
            layout = lay_out(base, adapters, request.quants, stack)
            if "tokenizer" not in request.allow:
                require_reference(layout.vocabulary.source)
        with clock.phase("write"), _resume_promised(base is original, progress):
            written = write_files(request, layout, staging, progress)
        with clock.phase("gates"):
            scratch = hidden_folder(staging, "scratch", stack)
            scratch.mkdir()
            gates += gates_after(
                request, original, layout, written.files, staging.folder, scratch, progress
            )
            gates = judge(gates, request.allow, staging.folder)
        serving = serving_of(staging.folder / written.files[0].name, layout.base.folder)
        report = ExportReport(
            bundle=staging.target,
            files=written.files,
            gates=gates,
            engine=choice.engine,
            engine_reason=choice.reason,
            kernels=written.kernels.report(),
            types_from=layout.types_from,
            seconds=clock.seconds,
            peak_memory=peak.peak,
            resumed_tensors=written.resumed,
            warnings=[*request.notes, *layout.warnings, *serving.warnings],
        )
        with clock.phase("publish"):
            name = layout.family.name
            inputs = describe_inputs(request, name, hashes(), layout.adapters)
            context = layout.base.config.get("max_position_embeddings")
            fill_bundle(staging.folder, request, report, inputs, serving=serving, context=context)
            staging.publish()
        progress.end()
    return replace(report, seconds=clock.seconds, peak_memory=peak.peak)


@contextmanager
def _resume_promised(resumable: bool, progress: Progress) -> Iterator[None]:
    """Say on an interruption that the work is kept, where it is: PEFT's merge is made anew."""
    try:
        yield
    except KeyboardInterrupt:
        if resumable:
            progress.note("Finished tensors are kept: the same command goes on from there.")
        raise


def _hash_in_background(files: Sequence[Path], stack: ExitStack) -> Callable[[], BaseHashes]:
    """Hash the base's shards on a thread of its own while the weights are read anyway."""
    stopped = threading.Event()

    def keep_on(_: int) -> None:
        if stopped.is_set():  # the export failed meanwhile: nobody waits for the hashes
            raise InterruptedError

    pool = ThreadPoolExecutor(1, "hash-base")
    stack.callback(pool.shutdown, wait=False, cancel_futures=True)
    stack.callback(stopped.set)
    future: Future[BaseHashes] = pool.submit(hash_base, files, keep_on)
    return future.result
