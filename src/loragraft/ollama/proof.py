"""Proof that a server renders, expects and stops as the training did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from loragraft.artifact.progress import Progress, Silent
from loragraft.checkpoint.bundle import LocalModel
from loragraft.engine.ollama_server import OllamaServer
from loragraft.errors import InputError, OutOfMemoryError
from loragraft.ollama.answering import check_answer
from loragraft.ollama.behaviour import Reference, check_rendering
from loragraft.ollama.compose import Composed
from loragraft.ollama.expectation import check_expectation
from loragraft.ollama.finding import Check
from loragraft.ollama.held import (
    check_blob,
    check_parameters,
    check_sizes,
    check_template,
    check_texts,
    layer_digest,
)

REFERENCE_CONTEXT = 2048
"""Tokens: the probes have some dozens, an answer 256."""


@dataclass(frozen=True)
class Proof:
    """What was found of one registered model.

    Attributes:
        tag: Its name.
        checks: One after the other.
        layer: SHA256 of the file that the server runs; None where it does not say.
    """

    tag: str
    checks: tuple[Check, ...]
    layer: str | None

    @property
    def holds(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.verdict == "fail")

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "tag": self.tag,
            "holds": self.holds,
            "layer": self.layer,
            "checks": [check.to_json() for check in self.checks],
        }


def prove(
    server: OllamaServer,
    tag: str,
    model: LocalModel,
    composed: Composed,
    digest: str,
    progress: Progress | None = None,
) -> Proof:
    """Compare a registered model with the bundle it was made of.

    Args:
        server: Where it is.
        tag: Its name.
        model: The bundle's file.
        composed: What was asked of the server.
        digest: SHA256 of the file.
        progress: Who hears what is being done.

    Raises:
        UnavailableError: If the server goes away or hangs; what it refuses is a failed check.
    """
    watcher = progress or Silent()
    shown = server.show(tag)
    watcher.begin(f"Proving {tag}: what the server holds", 0)
    checks = [check_blob(shown, digest, server.has_blob(digest)), check_sizes(shown, model.gguf)]
    watcher.begin(f"Proving {tag}: what it renders", 0)
    rendering = _refusal_fails("rendering", lambda: [check_rendering(server, tag, composed)])
    checks += [
        check_template(shown, composed, rendering[-1]),
        check_parameters(shown, composed.modelfile),
        *check_texts(shown, composed.modelfile),
        *rendering,
    ]
    watcher.begin(f"Proving {tag}: what it expects and where it stops", 0)
    with _reference(model, composed, watcher) as reference:
        if reference is not None:
            checks += _refusal_fails(
                "log-probabilities", lambda: check_expectation(server, tag, composed, reference)
            )
        checks += _refusal_fails("answer", lambda: [check_answer(server, tag, composed, reference)])
    return Proof(tag, tuple(checks), layer_digest(shown))


def _refusal_fails(name: str, check: Callable[[], list[Check]]) -> list[Check]:
    """Run a check; what the server refuses to do for this model is a failure of the model."""
    try:
        return check()
    except InputError as error:
        return [Check(name, "fail", str(error), "an answer", "Register it again with --replace.")]


@contextmanager
def _reference(
    model: LocalModel, composed: Composed, progress: Progress
) -> Iterator[Reference | None]:
    """Load the bundle's own file here, where it has a template and the memory suffices."""
    from loragraft.engine.llama import LlamaEngine

    if composed.facts.template is None or composed.translation is None:
        progress.note(
            "The model has no template of its own in force: log-probabilities are not compared."
        )
        yield None
        return
    context = min(REFERENCE_CONTEXT, composed.facts.context_length or REFERENCE_CONTEXT)
    try:
        engine = LlamaEngine(model, context=context)
    except OutOfMemoryError as error:
        progress.note(f"Log-probabilities are not compared with llama.cpp's: {error}")
        yield None
        return
    try:
        yield engine
    finally:
        engine.close()
