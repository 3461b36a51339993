"""Stages that nobody kept, made again for the trace: the merged checkpoint, the float GGUF."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from loragraft.artifact.progress import Progress
from loragraft.artifact.publish import Staging
from loragraft.artifact.space import require_disk
from loragraft.export.engine import choose_engine, merged_base
from loragraft.export.job import file_name, write_files
from loragraft.export.merge import merge_into
from loragraft.export.peft_engine import checkpoint_parameters
from loragraft.export.prepare import lay_out, open_base
from loragraft.export.request import ExportRequest

EXACT_BYTES = 4 << 30
"""Up to this size the float file is F32, which is exact; beyond it F16, half as large."""
NAME = "trace"


def build_merged(request: ExportRequest, scratch: Path, progress: Progress) -> Path:
    """Merge by PEFT into a folder, in the base's own type, as people do.

    Raises:
        MissingExtraError: If torch, transformers or peft is not installed.
        OutOfMemoryError: If the model does not fit.
        OutOfSpaceError: If the checkpoint does not.
    """
    folder = scratch / "merged"
    merge_into(request.base, request.adapters, folder, compute="float32", progress=progress)
    return folder


@contextmanager
def build_floats(request: ExportRequest, scratch: Path, progress: Progress) -> Iterator[Path]:
    """Write base and adapter as a GGUF without quantization; it goes with the block.

    Raises:
        UnsupportedError: If the architecture is not one that is written here.
        OutOfSpaceError: If the file does not fit.
        LoragraftError: As the export.
    """
    size = checkpoint_parameters(request.base) * 4
    quant = "F32" if size <= EXACT_BYTES else "F16"
    wanted = replace(request, outputs=scratch, name=NAME, quants=(quant,))
    require_disk(scratch, size if quant == "F32" else size // 2, "The unquantized GGUF")
    with ExitStack() as stack:
        staging = stack.enter_context(Staging(scratch, NAME))
        original = open_base(wanted.base, stack)
        choice = choose_engine(wanted, original)
        base, adapters = merged_base(wanted, choice, original, staging, stack, progress)
        layout = lay_out(base, adapters, wanted.quants, stack)
        write_files(wanted, layout, staging, progress)
        yield staging.folder / file_name(wanted, quant)
