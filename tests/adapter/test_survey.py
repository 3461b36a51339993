"""Many adapters against many bases: the matrix, going on after a stop, and the page."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from loragraft.adapter.survey import ALONE, Subject, Survey, find_adapters, run_survey
from loragraft.adapter.survey_page import render_survey
from loragraft.artifact.progress import Silent
from tests.adapter.builders import lora_arrays, write_adapter, write_base


class StopError(Exception):
    """The survey is stopped between two adapters."""


class Stopper(Silent):
    """Stops before the adapter of a number."""

    def __init__(self, number: int) -> None:
        """Say which."""
        self.number = number

    def begin(self, stage: str, total: int) -> None:
        """Stop when its turn comes."""
        if stage.startswith(f"{self.number} of"):
            raise StopError


@pytest.fixture
def adapters(tmp_path: Path) -> list[Subject]:
    """A sound one, one for a deeper base, one cut off, one that could not be fetched."""
    sound = write_adapter(tmp_path / "a" / "sound")
    deep = write_adapter(tmp_path / "a" / "deep", lora_arrays(layers=4))
    cut = write_adapter(tmp_path / "a" / "cut")
    weights = cut / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    found = [Subject(folder.name, folder) for folder in (sound, deep, cut)]
    return [*found, Subject("owner/gone", None, "owner/gone is not there.")]


@pytest.fixture
def bases(tmp_path: Path) -> list[Subject]:
    """One of two layers and one of four."""
    return [
        Subject("small", write_base(tmp_path / "small")),
        Subject("large", write_base(tmp_path / "large", layers=4)),
    ]


def verdicts(found: Survey) -> dict[str, list[str]]:
    return {a: [found.verdict(a, b) for b in found.bases] for a in found.adapters}


def test_broken_adapters_do_not_stop_the_rest(
    adapters: list[Subject], bases: list[Subject], tmp_path: Path
) -> None:
    found = run_survey(adapters, bases, tmp_path / "out")
    matrix = verdicts(found)
    assert "fail" not in matrix["sound"][0]
    assert matrix["sound"][1] == "fail"
    assert matrix["deep"][0] == "fail"
    assert matrix["deep"][1] != "fail"
    assert matrix["cut"] == ["fail", "fail"]
    assert matrix["owner/gone"] == ["fail", "fail"]
    assert found.homeless() == ["cut", "owner/gone"]
    assert found.cells["owner/gone", ALONE].reason == "owner/gone is not there."
    assert json.loads(json.dumps(found.to_json()))["fits_none"] == ["cut", "owner/gone"]


def test_a_broken_base_is_a_column_of_its_own(adapters: list[Subject], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    good = Subject("small", write_base(tmp_path / "small"))
    found = run_survey(adapters[:1], [Subject("empty", empty), good], tmp_path / "out")
    assert verdicts(found)["sound"][0] == "fail"
    assert verdicts(found)["sound"][1] != "fail"


def test_a_stopped_survey_goes_on(
    adapters: list[Subject], bases: list[Subject], tmp_path: Path
) -> None:
    with pytest.raises(StopError):
        run_survey(adapters, bases, tmp_path / "out", progress=Stopper(3))
    found = run_survey(adapters, bases, tmp_path / "out")
    assert found.reused == 6
    assert found.cells == run_survey(adapters, bases, tmp_path / "fresh").cells


def test_only_what_changed_is_checked_again(
    adapters: list[Subject], bases: list[Subject], tmp_path: Path
) -> None:
    run_survey(adapters, bases, tmp_path / "out")
    folder = adapters[2].folder
    assert folder is not None
    shutil.copy(adapters[0].folder / "adapter_model.safetensors", folder)  # type: ignore[operator]
    found = run_survey(adapters, bases, tmp_path / "out")
    assert found.reused == 6
    assert verdicts(found)["cut"][0] != "fail"


def test_folders_of_adapters_are_searched(tmp_path: Path) -> None:
    one = write_adapter(tmp_path / "runs" / "one")
    write_adapter(tmp_path / "runs" / "two" / "checkpoint-5")
    write_adapter(tmp_path / "runs" / "two" / "checkpoint-10")
    deep = write_adapter(tmp_path / "runs" / "x" / "y" / "three")
    (tmp_path / "runs" / "notes").mkdir()
    assert find_adapters(tmp_path / "runs") == [one, tmp_path / "runs" / "two", deep]
    assert find_adapters(one) == [one]
    assert find_adapters(tmp_path / "runs" / "notes") == [tmp_path / "runs" / "notes"]


def test_values_are_read_once_and_count_on_every_base(bases: list[Subject], tmp_path: Path) -> None:
    arrays = {
        name: value * 0 if "lora_B" in name else value for name, value in lora_arrays().items()
    }
    folder = write_adapter(tmp_path / "idle", arrays)
    found = run_survey([Subject("idle", folder)], bases, tmp_path / "out")
    assert found.cells["idle", ALONE].verdict == "fail"
    assert verdicts(found)["idle"] == ["fail", "fail"]
    assert render_survey(found).count('<span class="fail">fail</span>') == 3
    headers = run_survey([Subject("idle", folder)], bases, tmp_path / "out", values=False)
    assert verdicts(headers)["idle"][0] != "fail"


def test_the_page_shows_every_pair_and_escapes_names(bases: list[Subject], tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    name = "<script>alert(1)</script>"
    page = render_survey(run_survey([Subject(name, folder)], bases, tmp_path / "out"))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert len(re.findall(r"<details>", page)) == 1 + len(bases)
    assert not re.search(r"""(?:src|href)=|url\(|@import""", page)
