"""The runs of a grid: their names and settings, and which are finished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from loragraft.artifact.checksums import check_checksums
from loragraft.artifact.metadata import read_metadata
from loragraft.errors import BundleError, InputError, LoragraftError
from loragraft.training.advice import scaled_alpha
from loragraft.training.config import TrainConfig, load_config
from loragraft.training.log import TrainingLog, read_log
from loragraft.training.resume import NO_MATTER
from loragraft.training.saving import CONFIG_NAME

DIGITS = 6
"""Of a number in a run's name; values that differ less than that have the same name."""
State = Literal["waiting", "begun", "finished", "other"]


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        config: The run's own, under its own name.
    """

    config: TrainConfig

    @property
    def id(self) -> str:
        """Return the run's name."""
        return self.config.experiment_id


@dataclass(frozen=True)
class Mark:
    """What a finished run must have been made of, besides its configuration.

    Attributes:
        files: SHA-256 of the data's files.
        examples: SHA-256 of what was made of them; None where that is not known beforehand.
        base: SHA-256 of the base's files, by name.
    """

    files: tuple[str, ...]
    examples: str | None
    base: Mapping[str, str]


@dataclass(frozen=True)
class Standing:
    """How far a run of the grid is.

    Attributes:
        state: ``other`` is a folder of that name which is not this run's result.
        why: What of it is another, for ``other``.
        metadata: Of a finished one.
        log: Of a finished one.
    """

    state: State
    why: str = ""
    metadata: Mapping[str, Any] | None = None
    log: TrainingLog | None = None


def make_cells(config: TrainConfig) -> tuple[Cell, ...]:
    """Return the runs of a configuration's grid, ranks outermost, epochs innermost.

    Alpha goes with the rank, so that every rank changes the weights by the same scale, alpha / r;
    with rsLoRA, whose scale allows for the rank, it stays.

    Raises:
        InputError: If two runs would have the same name, or a name is too long.
    """
    grid = config.grid
    cells = tuple(
        _cell(config, r, rate, epochs)
        for r, rate, epochs in product(grid.r, grid.learning_rate, grid.epochs)
    )
    names = [cell.id for cell in cells]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"Two runs of the grid would be called {name}: their values differ by less than "
                f"{DIGITS} digits. Take values that are further apart."
            )
    return cells


def _cell(config: TrainConfig, r: int, rate: float, epochs: float) -> Cell:
    from pydantic import ValidationError

    name = f"{config.experiment_id}_r{r}_lr{short_rate(rate)}_e{epochs:.{DIGITS}g}"
    lora = config.lora.model_copy(update={"r": r, "alpha": scaled_alpha(config.lora, r)})
    update = {"learning_rate": rate, "epochs": epochs}
    optimiser = config.optimiser.model_copy(update=update)
    values = {**dict(config), "experiment_id": name, "lora": lora, "optimiser": optimiser}
    try:
        return Cell(TrainConfig.model_validate(values))
    except ValidationError as error:
        raise InputError(
            f"The grid's run {name!r} cannot be: {error.errors()[0]['msg']}. Give the grid a "
            "shorter or plainer experiment_id (--id)."
        ) from None


def short_rate(rate: float) -> str:
    """Spell a learning rate as briefly as people do: ``1e-4``, ``2.5e-5``."""
    mantissa, _, exponent = f"{rate:.{DIGITS - 1}e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def find_standing(cell: Cell, outputs: Path, mark: Mark) -> Standing:
    """Say how far a run is, by what lies on the disk."""
    folder = outputs / cell.id
    if not folder.exists():
        begun = (outputs / f".{cell.id}.journal").exists()
        return Standing("begun" if begun else "waiting")
    try:
        differing = list(_differences(cell, folder, mark))
        if differing:
            return Standing("other", ", ".join(differing))
        return Standing("finished", "", read_metadata(folder), read_log(folder))
    except LoragraftError as error:
        return Standing("other", f"it is no whole result of a run: {error}")


def _differences(cell: Cell, folder: Path, mark: Mark) -> Iterator[str]:
    """Yield what a folder was made of that this run would not be made of."""
    if problems := check_checksums(folder):
        raise BundleError(problems[0].message)
    there, wanted = settings(load_config(folder / CONFIG_NAME)), settings(cell.config)
    yield from (key for key in sorted(wanted) if there.get(key) != wanted[key])
    metadata = read_metadata(folder)
    found = metadata.get("dataset")
    dataset: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    examples = dataset.get("examples_sha256")
    if mark.examples is not None and examples is not None:
        if examples != mark.examples:
            yield "the data"
    elif tuple(_hashes(dataset.get("files"))) != mark.files:
        yield "the data"
    if metadata.get("base_sha256") != dict(mark.base):
        yield "the base"


def _hashes(files: object) -> Iterator[str]:
    if isinstance(files, Sequence):
        yield from (str(f.get("sha256")) for f in files if isinstance(f, Mapping))


def settings(config: TrainConfig) -> dict[str, Any]:
    """Return what of a configuration decides a run's result, by the keys' full names."""
    from loragraft.training.reporters import flat

    values = flat(config.model_dump(mode="json", exclude={*NO_MATTER, "data"}))
    limits = flat(config.data.model_dump(include={"max_train", "max_validation"}), "data.")
    return {**values, **limits}
