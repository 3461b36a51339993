"""The same messages, the same prompt tokens: each experiment's engine against the others'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.run_info import read_run

if TYPE_CHECKING:
    from loragraft.engine.batch.protocol import BatchEngine


def compare_probe(
    config: SeriesConfig, name: str, engine: BatchEngine, texts: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return an engine's prompts of fixed conversations, and where those of the others differ.

    No other engine is loaded: what each one gave is kept in its ``run.json``.

    Args:
        config: The series.
        name: The experiment.
        engine: Its engine.
        texts: What its messages say; differences that none of them meets are not told.
    """
    from loragraft.engine.batch.parity import Prompts, compare_prompts, concerns, prompts_of

    mine = prompts_of(engine)
    notes = []
    for other in config.experiments:
        info = None if other == name else read_run(config.outputs / config.series / other)
        if info is None or not info.probe:
            continue
        found = compare_prompts(Prompts.from_json(info.probe), mine)
        told = [difference for difference in found if concerns(difference.conversation, texts)]
        notes += [f"{other} and {name}: {difference}" for difference in told[:1]]
    return mine.to_json(), notes
