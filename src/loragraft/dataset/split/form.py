"""The form of a manifest, checked before anything of it is believed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loragraft.dataset.split.seed import LARGEST_SEED
from loragraft.errors import InputError

_Count = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Form(BaseModel):
    # Values as JSON has them, nothing converted; keys of a later version may be there.
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Counts(_Form):
    train: _Count
    val: _Count
    test: _Count


class _Stratum(_Counts):
    task_type: str
    paper_id: str | None
    small: bool


class _File(_Form):
    name: str
    sha256: _Sha256
    records: _Count


class _Files(_Form):
    train: _File
    val: _File
    test: _File


class _Fractions(_Form):
    train: float
    val: float
    test: float


class _Small(_Form):
    strata: _Count
    records: _Count
    fewer_records_than: _Count


class _Papers(_Counts):
    all: _Count
    test_records_of_trained_papers: _Count
    test_records_of_other_papers: _Count
    test_records_without_paper: _Count


class _TestRecord(_Form):
    id: str
    paper_id: str | None
    paper_seen_in_training: bool | None


class _Manifest(_Form):
    schema_version: Literal[1]
    tag: str
    seed: _Count
    fractions: _Fractions
    group_by: Literal["paper_id"] | None
    source: _File
    files: _Files
    task_types: dict[str, _Counts]
    largest_deviation: dict[str, float]
    small_strata: _Small
    papers: _Papers
    strata: list[_Stratum]
    test_records: list[_TestRecord]
    loragraft_version: str


def check_form(path: Path, value: Any) -> None:  # noqa: ANN401 - JSON is what it is
    """Check that everything which this program reads of a manifest is there.

    Raises:
        InputError: If it is not; names the first thing that does not fit.
    """
    try:
        _Manifest.model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"])) or "the whole"
        raise InputError(
            f"{path} is no manifest of dataset split, or was changed by hand: {where}: "
            f"{problem['msg']}."
        ) from None
