"""What a trace is asked to follow, and whether that can be."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from loragraft.artifact.checksums import CHECKSUMS_NAME, check_checksums
from loragraft.artifact.progress import Progress
from loragraft.checkpoint.bundle import LocalModel
from loragraft.errors import InputError, UnavailableError
from loragraft.export.request import ExportRequest
from loragraft.trace.cause import Cause
from loragraft.trace.observation import ANSWER_TOKENS
from loragraft.trace.probes import PROBES, Probe

if TYPE_CHECKING:
    from loragraft.engine.ollama_server import OllamaServer

FLOAT_QUANTS = ("F32", "F16", "BF16")


@dataclass(frozen=True)
class TraceRequest:
    """One call of ``loragraft trace``.

    Attributes:
        base: The base checkpoint's folder.
        adapter: The adapter's path; None for a bundle of the base alone.
        model: The bundle's GGUF.
        scale: The user's factor on the adapter's own scale; the one that the bundle names where
            None, else 1.
        merged: A merged checkpoint's folder, if it was kept.
        unquantized: The GGUF before quantization, if it was kept.
        build: Whether stages that are missing are made again.
        server: The Ollama server to ask; None leaves that stage out.
        tag: The model's name there.
        scratch: Folder for what is made; the system's temporary one where None.
        tokens: Most tokens of a sample.
        threads: Threads of llama.cpp.
        probes: What is asked.
    """

    base: Path
    adapter: Path | None
    model: LocalModel
    scale: float | None = None
    merged: Path | None = None
    unquantized: Path | None = None
    build: bool = True
    server: OllamaServer | None = None
    tag: str | None = None
    scratch: Path | None = None
    tokens: int = ANSWER_TOKENS
    threads: int = 2
    probes: tuple[Probe, ...] = field(default=PROBES)

    @property
    def export(self) -> ExportRequest:
        """Base and adapter as an export takes them."""
        adapters = () if self.adapter is None else ((self.adapter, self.factor),)
        return ExportRequest(self.base, adapters, Path(), "trace", threads=self.threads)

    @property
    def factor(self) -> float:
        """The factor on the adapter's scale that counts."""
        recorded = self.model.metadata.get("adapters")
        named = [a.get("scale") for a in recorded or () if isinstance(a, dict)]
        if self.scale is not None:
            return self.scale
        return float(named[0]) if len(named) == 1 and isinstance(named[0], (int, float)) else 1.0

    @property
    def inputs(self) -> str:
        """Base and adapter as a shell takes them."""
        return shlex.join(str(p) for p in (self.base, self.adapter) if p is not None)


def check_inputs(request: TraceRequest) -> None:
    """Refuse inputs that would be compared with the wrong thing.

    Raises:
        InputError: If a path or a tag is not there, or the bundle's metadata name other adapters
            than the one that is given.
    """
    for path, what in ((request.merged, "--merged"), (request.unquantized, "--unquantized")):
        if path is not None and not path.exists():
            raise InputError(f"{path}, given by {what}, is not there. Leave it out, or correct it.")
    if request.scratch is not None and not request.scratch.is_dir():
        raise InputError(f"{request.scratch}, given by --scratch, is no folder. Make it first.")
    if request.server is not None and request.tag is not None:
        with suppress(UnavailableError):  # that stage is left out, and the reason said
            request.server.show(request.tag)
    recorded = request.model.metadata.get("adapters")
    if not isinstance(recorded, list):
        return
    names = ", ".join(str(a.get("name")) for a in recorded if isinstance(a, dict))
    if len(recorded) > 1:
        raise InputError(
            f"{request.model.name} was merged from {len(recorded)} adapters ({names}); a trace "
            "follows one. Merge the others first (loragraft export merge) and give that folder as "
            "base."
        )
    if recorded and request.adapter is None:
        raise InputError(
            f"{request.model.name} was merged with {names}, but no adapter is given. Give it "
            "between base and bundle."
        )


def broken_checksums(model: LocalModel, progress: Progress) -> tuple[Cause, ...]:
    """Compare a bundle with its checksums; what differs is a cause, told before all else."""
    if model.folder is None:
        return ()
    problems = check_checksums(model.folder, progress.advance)
    broken = [problem for problem in problems if problem.name == model.gguf.name]
    if not broken:
        return ()
    return (
        Cause(
            "checksum", "distribution", "the file is not the one that was exported",
            f"{CHECKSUMS_NAME}: {' '.join(problem.message for problem in broken)}",
            "Fetch the bundle again from its source, or export it again.",
        ),
    )  # fmt: skip


def floats_in(model: LocalModel) -> Path | None:
    """Return a float file of the bundle beside the one that is traced."""
    listed = model.metadata.get("files")
    for entry in listed if isinstance(listed, list) and model.folder is not None else []:
        if isinstance(entry, dict) and entry.get("quant") in FLOAT_QUANTS:
            path = Path(str(model.folder)) / str(entry.get("name"))
            if entry.get("name") in model.digests and path.is_file() and path != model.gguf:
                return path
    return None
