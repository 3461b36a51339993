"""The commands of the demo, in their order: each one a user could have typed."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loragraft.artifact.child import child_command, child_environment

ADAPTER = "examples/smollm2-lora"
SCIENCE = "examples/science"
SERIES = "configs/demo.yaml"
EXPORTS = "outputs/exports"
TUNED, BASE = "smollm2-science", "smollm2-base"
INDEX = "outputs/indexes/science"
DATA = "outputs/datasets"
QUANT = "Q4_K_M"
QUESTION = "How old was the oldest Marsh Ellow, by its ring?"
INTERRUPTED = 130
GRACE = 10.0
"""Seconds in which a command ends after Ctrl-C; it writes down what it has."""
CHUNK_TOKENS = "128"
"""A passage of the collection's papers holds one or two of their facts."""


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        title: What it is for.
        arguments: After ``loragraft``.
    """

    title: str
    arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        """Return the command as a shell takes it."""
        return shlex.join(("loragraft", *self.arguments))


def demo_steps(base: Path, limit: int | None = None) -> tuple[Step, ...]:
    """Return the demo's commands, to be run in its workspace.

    Args:
        base: The base model's folder.
        limit: Questions of each experiment; None for all.
    """
    few = () if limit is None else ("--limit", str(limit))
    return (*_export(str(base)), *_ask(), *_check_data(), *_experiments(few))


def _export(base: str) -> tuple[Step, ...]:
    export = ("export", "merge-and-quantize", base)
    options = ("-o", EXPORTS, "--quant", QUANT, "--replace", "--name")
    return (
        Step("Is the adapter what it says?", ("adapter", "verify", ADAPTER, "--base", base)),
        Step("Merge, convert and quantize it in one pass", (*export, ADAPTER, *options, TUNED)),
        Step("The same of the base alone, to compare with", (*export, *options, BASE)),
        Step(
            "Is the adapter in the result?",
            ("export", "verify", f"{EXPORTS}/{TUNED}", "--base", base, "--adapter", ADAPTER),
        ),
    )


def _ask() -> tuple[Step, ...]:
    chat = ("chat", f"{EXPORTS}/{BASE}", "--compare", f"{EXPORTS}/{TUNED}", "--rag", INDEX)
    how = ("--passages", "3", "--temperature", "0", "--max-tokens", "96", "--prompt", QUESTION)
    return (
        Step(
            "Index the example's papers",
            ("rag", "index", f"{SCIENCE}/papers.jsonl", "-o", INDEX, "--chunk-tokens", CHUNK_TOKENS,
             "--replace"),
        ),
        Step("Ask both models a question from the test split", (*chat, *how)),
    )  # fmt: skip


def _check_data() -> tuple[Step, ...]:
    splits = f"{DATA}/splits"
    return (
        Step(
            "Take what is no good out of drafts of questions",
            ("dataset", "curate", "configs/curation/qa.yaml", f"{SCIENCE}/drafts.jsonl", "-o",
             f"{DATA}/science.jsonl", "--replace"),
        ),
        Step(
            "Split them by paper and type",
            ("dataset", "split", f"{DATA}/science.jsonl", "--tag", "science", "-o", splits,
             "--strict", "--replace"),
        ),
        Step(
            "Does anything of the test split stand in train?",
            ("dataset", "leaks", f"{splits}/science_manifest.json", "--corpus",
             f"{SCIENCE}/papers.jsonl", "--strict"),
        ),
    )  # fmt: skip


def _experiments(few: Sequence[str]) -> tuple[Step, ...]:
    return (
        Step("Three experiments on the test split", ("experiment", "run", SERIES, *few)),
        Step("What came of them", ("experiment", "report", SERIES, *few)),
    )


def run_steps(
    steps: Sequence[Step], workspace: Path, on_step: Callable[[Step], object]
) -> tuple[Step, int] | None:
    """Run commands one after the other, each in a process of its own.

    Args:
        steps: The commands.
        workspace: Where they run.
        on_step: Told of each before it begins.

    Returns:
        The first one that failed, with its exit code (130 if it was interrupted); None where none
        did.
    """
    for step in steps:
        on_step(step)
        code = _run(child_command("loragraft", step.arguments), workspace)
        if code != 0:
            return step, code
    return None


def _run(command: Sequence[str], workspace: Path) -> int:
    """Return a command's exit code; after Ctrl-C, once it has ended what it was doing."""
    process = subprocess.Popen(command, cwd=workspace, env=child_environment())
    try:
        return process.wait()
    except KeyboardInterrupt:
        _end(process)
        return INTERRUPTED


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a command end that heard the same Ctrl-C; one that did not is told."""
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()
    except KeyboardInterrupt:  # once more: at once
        process.kill()
        process.wait()
