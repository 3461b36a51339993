"""A request for a larger machine: an entry of ``docs/compute_requests.md``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loragraft.artifact.files import write_atomically
from loragraft.artifact.space import format_bytes
from loragraft.chat.cleaning import clean
from loragraft.checkpoint.files import read_small
from loragraft.errors import InputError
from loragraft.training.config import TrainConfig
from loragraft.training.effort import GPU_SHARE, GPUS, TERA, Effort, Gpu, gpu_hours
from loragraft.training.plan import Fit, MemoryPlan, Row, fit

REQUESTS = Path("docs/compute_requests.md")
HEADING = "# Compute requests\n\nDrafted by `loragraft train plan --request`.\n"
_MARK = "<!-- loragraft request "
_HERE = "- Here: "


@dataclass(frozen=True)
class Request:
    """An entry.

    Attributes:
        experiment_id: Of the run.
        text: Markdown.
        gpu: What is asked for; None where no GPU of those that are known is large enough.
        hours: Of that GPU.
    """

    experiment_id: str
    text: str
    gpu: str | None
    hours: float | None

    @property
    def mark(self) -> str:
        """Return the line that tells this entry from all others.

        What was free in this machine's memory is left out: it is another number each time.
        """
        lasting = [line for line in self.text.splitlines() if not line.startswith(_HERE)]
        digest = hashlib.sha256("\n".join(lasting).encode()).hexdigest()[:16]
        return f"{_MARK}{self.experiment_id} {digest} -->"


def draft_request(
    config: TrainConfig, plan: MemoryPlan, effort: Effort, rows: Sequence[Row] | None = None
) -> Request:
    """Draft the entry of a run.

    Args:
        config: Of the run.
        plan: What it takes here.
        effort: What it computes.
        rows: What goes through the model, where the data were read.
    """
    gpu, found = _smallest(config, plan, rows)
    lines = [f"## {config.experiment_id}", "", *_about(config, plan), *_machine(plan)]
    if gpu is None or found is None:
        lines.append("- GPU: none of those that are known is large enough; several are needed.")
        return Request(config.experiment_id, "\n".join(lines) + "\n", None, None)
    hours = gpu_hours(effort, gpu)
    lines += [*_asked(gpu, found), *_hours(effort, gpu, hours)]
    return Request(config.experiment_id, "\n".join(lines) + "\n", gpu.machine.name, hours)


def _smallest(
    config: TrainConfig, plan: MemoryPlan, rows: Sequence[Row] | None
) -> tuple[Gpu | None, Fit | None]:
    """Return the smallest GPU that takes the run, unchanged if any does."""
    tried = [(gpu, fit(config, plan.sizes, machine=gpu.machine, rows=rows)) for gpu in GPUS]
    fitting = [(gpu, found) for gpu, found in tried if found is not None]
    unchanged = [pair for pair in fitting if not _serious(pair[1])]
    return next(iter(unchanged or fitting), (None, None))


def _serious(found: Fit) -> bool:
    """Whether more was changed than batch and accumulation, which give the same steps."""
    return any(not c.startswith(("optimiser.batch=", "optimiser.acc")) for c in found.changes)


def _about(config: TrainConfig, plan: MemoryPlan) -> list[str]:
    lora = config.lora
    targets = lora.targets if isinstance(lora.targets, str) else ", ".join(lora.targets)
    return [
        f"- Model: {_line(config.base)}, {plan.sizes.parameters / 1e9:.2f} billion parameters; "
        f"a LoRA of rank {lora.r} on {_line(targets)}, {plan.trained / 1e6:.1f} million trained",
        f"- Why: {_line(config.description) or '(say)'}",
        f"- Batch: {plan.batch.rows} x {plan.batch.length:,} tokens, gradients of "
        f"{config.optimiser.accumulation} added up",
    ]


def _line(text: str) -> str:
    """Return a text that stays one line of Markdown, and no comment."""
    return clean(" ".join(text.split())).replace("<!--", "&lt;!--")


def _machine(plan: MemoryPlan) -> list[str]:
    has = format_bytes(plan.machine.memory)
    needs = format_bytes(plan.now.total)
    verdict = "it would fit, too slowly" if plan.fits else "it does not fit"
    parts = ", ".join(
        f"{name} {format_bytes(size)}" for name, size in plan.now.parts.items() if size
    )
    return [f"{_HERE}{needs} are needed and {has} available; {verdict}", f"- Parts: {parts}"]


def _asked(gpu: Gpu, found: Fit) -> list[str]:
    changes = " ".join(f"--set {change}" for change in found.changes)
    how = f", with `{changes}`" if changes else ", as configured"
    return [
        f"- GPU: {gpu.machine.name} ({format_bytes(gpu.machine.memory)}): "
        f"{format_bytes(found.plan.now.total)} in {found.plan.precision.name}{how}"
    ]


def _hours(effort: Effort, gpu: Gpu, hours: float) -> list[str]:
    measured = effort.steps is not None
    of = f"{effort.steps:,} steps" if effort.steps is not None else "1,000 of the longest examples"
    told = f"{hours:.1f}" if hours >= 0.1 else "less than 0.1"
    return [
        f"- GPU hours: {told} for {of}" + ("" if measured else "; multiply by thousands of yours"),
        f"- Computed as: {effort.tokens:,.0f} tokens, {effort.operations / TERA:,.0f} "
        f"tera-operations / ({gpu.teraflops:g} a second by the data sheet x {GPU_SHARE:g} reached, "
        "an assumption) / 3,600; evaluations are not counted",
    ]


def append_request(request: Request, path: Path) -> bool:
    """Append an entry to a file, unless it stands there; return whether it did not.

    Raises:
        InputError: If the file is no text.
        OutOfSpaceError: If the disk is full.
    """
    text = _read(path)
    if request.mark in text:
        return False
    begin = text if text.strip() else HEADING
    whole = f"{begin.rstrip()}\n\n{request.mark}\n{request.text}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, whole.encode())
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}). Give another file with --request-file."
        ) from None
    return True


def _read(path: Path) -> str:
    try:
        return read_small(path).decode("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read as text ({error}). Give another file with --request-file."
        ) from None
