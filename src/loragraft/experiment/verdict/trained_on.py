"""Whether models were trained on the split that the questions come from, as far as files tell."""

from __future__ import annotations

from collections.abc import Iterator

from loragraft.artifact.metadata import read_metadata
from loragraft.dataset.split.load import LoadedSplit
from loragraft.errors import LoragraftError
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.verdict.candidates import candidates
from loragraft.experiment.verdict.entry import folders_of


def other_splits(config: SeriesConfig, split: LoadedSplit) -> list[str]:
    """Return of each candidate that was trained on another split what it was trained on.

    The train part of another split, or of the same tag divided by another seed, may well hold
    questions that this one tests with. Folders that do not say what they were trained on are
    silent here, too.
    """
    mine = (split.tag, split.seed)
    return [
        f"{name} was trained on the split {tag} of seed {seed}"
        for name in candidates(config)
        for tag, seed in dict.fromkeys(_trained_on(config, name))
        if (tag, seed) != mine
    ]


def _trained_on(config: SeriesConfig, name: str) -> Iterator[tuple[str, int]]:
    try:
        folders = folders_of(config, name)
    except LoragraftError:
        return
    for folder in folders:
        try:
            told = read_metadata(folder)
        except LoragraftError:
            continue
        tag, seed = told.get("dataset_tag"), told.get("split_seed")
        if isinstance(tag, str) and type(seed) is int:
            yield tag, seed
