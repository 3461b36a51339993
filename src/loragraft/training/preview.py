"""What a run would learn, told before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.artifact.progress import Progress, Silent
from loragraft.training.config import TrainConfig
from loragraft.training.job import build_job
from loragraft.training.steps import count_steps, count_warmup

if TYPE_CHECKING:
    from loragraft.training.causal_lm import CausalData
    from loragraft.training.encoding import Example

SHOWN = 3
"""Examples that are shown in words."""


@dataclass(frozen=True)
class Shown:
    """An example in words.

    Attributes:
        id: The record's.
        mode: How it is asked.
        tokens: Of the whole.
        parts: Its text in pieces, each with whether it is learnt.
    """

    id: str
    mode: str
    tokens: int
    parts: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Preview:
    """What a run would be.

    Attributes:
        facts: Of the data, as the metadata would have them.
        steps: Of the optimiser.
        warmup: Of these, until the learning rate is reached.
        shown: Examples.
        notes: What a person should read.
    """

    facts: Mapping[str, Any]
    steps: int
    warmup: int
    shown: tuple[Shown, ...] = ()
    notes: tuple[str, ...] = ()


def preview(config: TrainConfig, base: Path, progress: Progress | None = None) -> Preview:
    """Read and encode the data as a run would; nothing is written.

    Args:
        config: Of the run.
        base: The base's folder; of a causal language model only the tokenizer is loaded.
        progress: Who wants to know how far it is.

    Raises:
        InputError: If data and configuration do not fit each other.
    """
    progress = progress or Silent()
    if config.task == "causal-lm":
        from loragraft.training.causal_lm import read_causal_data

        data = read_causal_data(config, base, progress)
        return _preview(config, data.facts, len(data.rows), _shown(data), data.notes)
    job = build_job(config, base, progress)
    return _preview(config, job.facts, len(job.train), (), job.notes)


def _preview(
    config: TrainConfig,
    facts: Mapping[str, Any],
    examples: int,
    shown: tuple[Shown, ...],
    notes: tuple[str, ...],
) -> Preview:
    steps = count_steps(config, examples)
    return Preview(facts, steps, count_warmup(config, steps), shown, notes)


def _shown(data: CausalData) -> tuple[Shown, ...]:
    """Return examples of each mode, the middle one by length first."""
    chosen: dict[str, list[Example]] = {}
    for example in sorted(data.train.examples, key=lambda one: len(one.ids)):
        chosen.setdefault(data.train.conversation(example).mode, []).append(example)
    middles = [(mode, examples[len(examples) // 2]) for mode, examples in chosen.items()]
    return tuple(
        Shown(one.id, mode, len(one.ids), parts_of(data.tokenizer, one.ids, one.labels))
        for mode, one in middles[:SHOWN]
    )


def parts_of(
    tokenizer: Any,  # noqa: ANN401
    ids: Sequence[int],
    labels: Sequence[int],
) -> tuple[tuple[str, bool], ...]:
    """Return an example's text in pieces, each with whether it is learnt."""
    borders = [at for at in range(1, len(ids)) if (labels[at] < 0) != (labels[at - 1] < 0)]
    pieces = zip([0, *borders], [*borders, len(ids)], strict=True)
    return tuple((tokenizer.decode(list(ids[a:b])), labels[a] >= 0) for a, b in pieces if a < b)
