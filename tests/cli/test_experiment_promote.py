"""``loragraft experiment promote``, over runs with a planted effect."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from loragraft.artifact.checksums import check_checksums, write_checksums
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.metadata import METADATA_NAME, read_metadata, write_metadata
from loragraft.cli.main import main
from loragraft.experiment.config import load_series
from scripts.verdict_simulations import World
from tests.support.planted import BASELINE, Plan, plant
from tests.support.sources import ROOT

DEFAULT = (ROOT / "configs" / "default.yaml").read_bytes()
BETTER = Plan(World(80, effects=(0.25,)), seed=1)
WORSE = Plan(World(80, effects=(-0.25,)), seed=1)
CLOSE = Plan(World(20, effects=(0.0,)), seed=2)


def bundle(folder: Path) -> Path:
    """Write what looks like a bundle from outside: nothing here opens a model."""
    folder.mkdir(parents=True)
    (folder / "new.Q8_0.gguf").write_bytes(b"GGUF")
    files = [{"name": "new.Q8_0.gguf", "quant": "Q8_0"}]
    write_metadata(folder, {"kind": "export", "name": "new", "files": files, "adapters": []})
    names = (METADATA_NAME, "new.Q8_0.gguf")
    write_checksums(folder, {name: sha256_file(folder / name) for name in names})
    return folder


def engines(folder: Path) -> dict[str, Any]:
    """Return experiments of which the candidate is a bundle on this disk."""
    return {
        BASELINE: {"engine": {"kind": "openai", "url": "http://127.0.0.1:9/v1", "key": None,
                              "model": "m"}, "retrieval": True},
        "hybrid_1": {"engine": {"kind": "llama", "model": f"./{folder.name}"}, "retrieval": True},
        "alone": {"engine": {"kind": "llama", "model": f"./{folder.name}"}},
    }  # fmt: skip


def planted(folder: Path, plan: Plan, embedder: Path, **changes: Any) -> Path:  # noqa: ANN401
    """Write a workspace in which a series has been run."""
    folder.mkdir(parents=True, exist_ok=True)
    made = bundle(folder / "bundle")
    (folder / "default.yaml").write_bytes(DEFAULT)
    return plant(folder, plan, embedder, experiments=engines(made),
                 aliases={"new": "hybrid_1"}, **changes)  # fmt: skip


def promote(path: Path, *words: str | Path) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["experiment", "promote", str(path), *map(str, words)])


def files(folder: Path) -> dict[str, bytes]:
    """Return what --write may touch."""
    paths = [folder / "default.yaml", *(folder / "bundle").iterdir()]
    return {path.name: path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, static_folder: Path) -> Path:
    """A series with a candidate that is better, for commands that write nothing."""
    return planted(tmp_path_factory.mktemp("better"), BETTER, static_folder)


def test_what_is_better_is_promoted_and_noted(tmp_path: Path, static_folder: Path) -> None:
    path = planted(tmp_path, BETTER, static_folder)
    before = files(tmp_path)
    looked = promote(path)
    assert looked.exit_code == 0, looked.output
    assert "promote: hybrid_1 is to be promoted" in looked.output
    assert "alone is not a candidate: it has no retrieval" in looked.output
    assert "plain files" in looked.output  # nobody could look for leaks, and it is said
    assert files(tmp_path) == before

    written = promote(path, "--write", "--json")
    assert written.exit_code == 0, written.output
    found = json.loads(written.stdout)
    assert found["promoted"] == "hybrid_1"
    default = (tmp_path / "default.yaml").read_bytes()
    assert default.startswith(DEFAULT)
    section = yaml.safe_load(default)["promoted"]
    verdict = next(one for one in found["verdicts"] if one["experiment"] == "hybrid_1")
    assert (section["experiment"], section["model"]) == ("hybrid_1", "./bundle")
    assert section["gain"] == pytest.approx(verdict["gain"], abs=1e-6)
    assert section["interval"][0] == pytest.approx(verdict["shown"], abs=1e-6)
    assert section["interval"][0] <= section["gain"] <= section["interval"][1]
    told = read_metadata(tmp_path / "bundle")["evaluation"]
    assert told["key"] == section["key"]
    assert str(tmp_path) not in json.dumps(told)
    assert check_checksums(tmp_path / "bundle") == []

    now = files(tmp_path)
    again = promote(path, "--write", "--experiment", "new")
    assert again.exit_code == 0, again.output
    assert "Stands already in" in again.stderr
    assert files(tmp_path) == now


def test_a_series_that_extends_the_noted_file_still_runs(
    tmp_path: Path, static_folder: Path
) -> None:
    path = planted(tmp_path, BETTER, static_folder)
    assert promote(path, "--write").exit_code == 0
    extending = tmp_path / "next.yaml"
    own = path.read_text().replace("data:\n", "data:\n  tag: null\n")
    extending.write_text(f"extends: default.yaml\n{own}")
    config = load_series(extending)
    assert config.promoted is not None
    assert config.promoted.model == str(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("plan", "code", "said"),
    [
        (WORSE, 1, "reject: hybrid_1 is rejected by gain"),
        (CLOSE, 4, "undecided: hybrid_1 is undecided"),
    ],
)
def test_what_is_not_better_is_not_noted(
    tmp_path: Path, static_folder: Path, plan: Plan, code: int, said: str
) -> None:
    path = planted(tmp_path, plan, static_folder)
    before = files(tmp_path)
    found = promote(path, "--write")
    assert (found.exit_code, said in found.output) == (code, True), found.output
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--experiment", "alone"), 1, "it has no retrieval"),
        (("--experiment", BASELINE), 1, "it is the baseline"),
        (("--set", "promotion.gain=0.9"), 1, "rejected by gain"),
        (("--set", "promotion.grounding=0.999"), 1, "rejected by grounding"),
        (("--set", "seed=5"), 4, "stale: configuration changed since"),
        (("--set", "metrics.groups=[factuality]"), 4, "grounding"),
        (("--experiment", "nobody"), 2, "nobody is no experiment"),
        (("--set", "promotion.metric=factualty"), 2, "did you mean factuality?"),
        (("--set", "promotion=null"), 2, "promotes nothing"),
        (("--default", "gone.yaml"), 2, "--default FILE"),
    ],
)
def test_what_is_not_promoted_is_not_noted(
    shared: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    before = files(shared.parent)
    found = promote(shared, "--write", *words)
    assert (found.exit_code, said in " ".join(found.output.split())) == (code, True), found.output
    assert files(shared.parent) == before


def test_a_file_to_note_in_is_for_writing(shared: Path) -> None:
    found = promote(shared, "--default", shared)
    assert (found.exit_code, "give both" in found.output) == (2, True)


def test_another_file_can_be_named_and_what_is_signed_is_left_alone(
    tmp_path: Path, static_folder: Path
) -> None:
    path = planted(tmp_path, BETTER, static_folder)
    other = tmp_path / "elsewhere" / "mine.yaml"
    other.parent.mkdir()
    other.write_bytes(b"seed: 3  # mine\r\n")
    (tmp_path / "bundle" / "checksums.txt.asc").write_text("signed")
    found = promote(path, "--write", "--default", other)
    assert found.exit_code == 0, found.output
    assert other.read_bytes().startswith(b"seed: 3  # mine\r\n")
    assert yaml.safe_load(other.read_bytes())["promoted"]["model"] == "../bundle"
    assert "signs what would be changed" in found.stderr
    assert (tmp_path / "default.yaml").read_bytes() == DEFAULT


@pytest.mark.parametrize(
    "spoil",
    [
        shutil.rmtree,
        lambda bundle: (bundle / "new.Q8_0.gguf").unlink(),
        lambda bundle: (bundle / METADATA_NAME).write_text(""),
        lambda bundle: (bundle / METADATA_NAME).unlink(),
    ],
)
def test_a_model_that_cannot_be_opened_is_not_noted(
    tmp_path: Path, static_folder: Path, spoil: Callable[[Path], object]
) -> None:
    path = planted(tmp_path, BETTER, static_folder)
    spoil(tmp_path / "bundle")
    assert promote(path).exit_code == 0  # measures what is not measured yet
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    found = promote(path, "--write")
    assert found.exit_code == 2, found.output
    said = " ".join(found.stderr.split())
    assert "nothing was written" in said
    assert str(tmp_path / "bundle") in said
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_an_adapter_that_nobody_can_tell_is_left_out_and_said(
    tmp_path: Path, static_folder: Path
) -> None:
    path = planted(tmp_path, BETTER, static_folder)
    told = read_metadata(tmp_path / "bundle")
    write_metadata(tmp_path / "bundle", {**told, "adapters": "lora_x"})
    found = promote(path, "--write", "--json")
    assert found.exit_code == 0, found.output
    notes = json.loads(found.stdout)["noted"]["notes"]
    assert "an adapter is not known, and not noted" in notes[0]
    section = yaml.safe_load((tmp_path / "default.yaml").read_bytes())["promoted"]
    assert "adapter" not in section


def test_a_file_that_is_read_only_stays_and_no_folder_tells(
    tmp_path: Path, static_folder: Path
) -> None:
    path = planted(tmp_path, BETTER, static_folder)
    (tmp_path / "default.yaml").chmod(0o444)
    before = files(tmp_path)
    found = promote(path, "--write")
    assert (found.exit_code, "is read-only" in " ".join(found.stderr.split())) == (2, True)
    assert files(tmp_path) == before


def test_a_comment_that_is_not_kept_is_said(tmp_path: Path, static_folder: Path) -> None:
    path = planted(tmp_path, BETTER, static_folder)
    assert promote(path, "--write").exit_code == 0
    default = tmp_path / "default.yaml"
    default.write_text(default.read_text().replace("history: []", "history: [] # my note"))
    again = promote(path, "--write")
    assert (again.exit_code, "of comment" in again.stderr) == (0, False)
    default.write_text(default.read_text().replace("\n  key: ", "\n  key: x"))
    found = promote(path, "--write")
    assert found.exit_code == 0, found.output
    assert "1 line of comment inside the section promoted: were" in " ".join(found.stderr.split())
