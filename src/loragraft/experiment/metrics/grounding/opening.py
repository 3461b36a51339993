"""From a configuration to what decides support."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loragraft.errors import InputError
from loragraft.experiment.metrics.grounding.support import Support

if TYPE_CHECKING:
    from collections.abc import Callable

    from loragraft.embedding.protocol import Embedder


def open_support(
    kind: str,
    *,
    nli: str | None = None,
    embedder: Callable[[], Embedder | None] | None = None,
    judge: Callable[[], Support] | None = None,
) -> Support:
    """Open a support test; models are loaded with the first claim.

    Args:
        kind: ``overlap``, ``nli`` or ``judge``.
        nli: The model's folder, or its repository in the Hub's cache.
        embedder: Opens the embedder of ``overlap``, which stays its owner's; without one, words
            alone decide.
        judge: Opens the judge.

    Raises:
        InputError: If something is missing for the kind.
        LoragraftError: Whatever opening it refuses.
    """
    if kind == "overlap":
        from loragraft.experiment.metrics.grounding.overlap import OverlapSupport

        return OverlapSupport(embedder() if embedder is not None else None)
    if kind == "nli":
        from loragraft.experiment.metrics.grounding.nli import NliSupport

        if nli is None:
            raise InputError("support: nli needs a model. Name its folder (metrics.grounding.nli).")
        return NliSupport(_folder(nli))
    if judge is None:
        raise InputError(
            "support: judge needs somebody who judges. Add judge with its engine to the series."
        )
    return judge()


def _folder(name: str) -> Path:
    from loragraft.checkpoint.resolve import resolve_checkpoint

    return resolve_checkpoint(name).folder
