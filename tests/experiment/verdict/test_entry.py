"""Which folders a promotion concerns, and how their paths are spelled."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.metadata import METADATA_NAME, write_metadata
from loragraft.dataset.split.load import LoadedSplit
from loragraft.engine.batch.specs import EngineSpec, LlamaSpec, OllamaSpec, TransformersSpec
from loragraft.errors import InputError
from loragraft.experiment.analysis.model import Verdict
from loragraft.experiment.arm_run import folder_of
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.run_info import RunInfo, write_run
from loragraft.experiment.verdict.config import PromotionConfig
from loragraft.experiment.verdict.entry import (
    behind_of,
    check_model,
    folders_of,
    relative_to,
)
from loragraft.experiment.verdict.promote import choose
from loragraft.experiment.verdict.trained_on import other_splits
from loragraft.ollama.record import Record, Registered
from tests.support.series import loaded, write_config

DIGEST = "ab" * 32


def series(folder: Path, engine: EngineSpec, **facts: Any) -> SeriesConfig:  # noqa: ANN401
    """Return a series whose only experiment has run with such an engine."""
    values = {"series": "s", "baseline": "a", "outputs": "outputs/experiments",
              "data": {"files": ["q.jsonl"]},
              "experiments": {"a": {"engine": engine.model_dump(mode="json")}}}  # fmt: skip
    config = loaded(write_config(folder, values))
    run = folder_of(config, "a")
    run.mkdir(parents=True)
    write_run(run, RunInfo(
        series="s", experiment="a", task="qa", size="", key="k", inputs={}, asked="", facts=facts,
        source={}, questions="", total=0, repeats=1, retrieves=True, optional=False, monitor={},
    ))  # fmt: skip
    return config


def merged(folder: Path, adapter: Path, sha256: str | None = None) -> Path:
    """Write the metadata of a bundle that an adapter was merged into."""
    folder.mkdir(parents=True)
    digest = sha256 or sha256_file(adapter / "adapter_model.safetensors")
    named = f"{adapter.name}/adapter_model.safetensors"
    write_metadata(folder, {"kind": "export", "adapters": [{"name": named, "sha256": digest}]})
    return folder


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An adapter where training puts it."""
    folder = tmp_path / "outputs" / "adapters" / "lora_x"
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of our own."""
    monkeypatch.setenv("LORAGRAFT_STATE", str(tmp_path / "state"))
    return tmp_path


def registered(bundle: Path, manifest: str = DIGEST) -> Registered:
    """Return what is remembered of a registration."""
    return Registered("http://127.0.0.1:11434", "x:latest", str(bundle), "x.gguf", "b", None,
                      manifest, "r", "0.24.0", "2026-11-22T00:00:00Z")  # fmt: skip


OLLAMA = OllamaSpec(kind="ollama", model="x")


@pytest.mark.parametrize("prefix", ["", "sha256:"])
def test_a_tag_leads_to_its_bundle_and_on_to_its_adapter(
    register: Path, adapter: Path, prefix: str
) -> None:
    bundle = merged(register / "exports" / "x", adapter)
    Record().put(registered(bundle))
    config = series(register, OLLAMA, model={"digest": prefix + DIGEST})
    assert folders_of(config, "a") == (bundle.resolve(), adapter.resolve())


def test_a_tag_that_was_made_of_something_else_leads_nowhere(register: Path, adapter: Path) -> None:
    Record().put(registered(merged(register / "x", adapter), "cd" * 32))
    assert folders_of(series(register, OLLAMA, model={"digest": DIGEST}), "a") == ()


def test_a_tag_of_nobody_knows_which_model_leads_nowhere(register: Path, adapter: Path) -> None:
    Record().put(registered(merged(register / "x", adapter)))
    assert folders_of(series(register, OLLAMA), "a") == ()


def test_another_adapter_of_the_same_name_is_not_meant(register: Path, adapter: Path) -> None:
    bundle = merged(register / "x", adapter, "00" * 32)
    Record().put(registered(bundle))
    config = series(register, OLLAMA, model={"digest": DIGEST})
    assert folders_of(config, "a") == (bundle.resolve(),)


@pytest.mark.parametrize("name", ["../../etc", "..", "", "a\0b", "x" * 5000])
def test_a_hostile_name_of_an_adapter_leads_nowhere(
    register: Path, adapter: Path, name: str
) -> None:
    bundle = merged(register / "x", adapter)
    write_metadata(bundle, {"adapters": [{"name": name, "sha256": "0"}, 3, {"name": 4}]})
    Record().put(registered(bundle))
    config = series(register, OLLAMA, model={"digest": DIGEST})
    assert folders_of(config, "a") == (bundle.resolve(),)


def test_the_adapter_on_a_model_is_meant(register: Path, adapter: Path) -> None:
    engine = TransformersSpec(kind="transformers", model="Org/Base", adapter=str(adapter))
    assert folders_of(series(register, engine), "a") == (adapter.resolve(),)


def folder_there(path: Path) -> None:
    path.unlink()
    path.mkdir()


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text(""),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text(path.read_text()[:-5]),
        lambda path: path.write_text('{"schema_version": 1, "adapters": "lora_x"}'),
        loop,
        folder_there,
        Path.unlink,
        lambda path: shutil.rmtree(path.parent),
    ],
)
def test_metadata_that_cannot_be_read_are_told(
    register: Path, adapter: Path, spoil: Callable[[Path], object]
) -> None:
    bundle = merged(register / "x", adapter)
    Record().put(registered(bundle))
    config = series(register, OLLAMA, model={"digest": DIGEST})
    assert behind_of(config, "a").adapter == str(adapter)
    assert behind_of(config, "a").unread == ()
    spoil(bundle / METADATA_NAME)
    found = behind_of(config, "a")
    assert found.adapter is None
    assert len(found.unread) == 1
    assert str(bundle) in found.unread[0]
    assert folders_of(config, "a") == ((bundle,) if bundle.exists() else ())


def test_a_list_of_registrations_that_cannot_be_read_is_told(register: Path) -> None:
    config = series(register, OLLAMA, model={"digest": DIGEST})
    Record().put(registered(register))
    Record().path.write_text("{")
    assert "cannot be read" in behind_of(config, "a").unread[0]


def test_a_bundle_without_adapters_is_known_to_have_none(register: Path) -> None:
    write_metadata(register, {"kind": "export", "adapters": []})
    Record().put(registered(register))
    found = behind_of(series(register, OLLAMA, model={"digest": DIGEST}), "a")
    assert (found.adapter, found.unread) == (None, ())


LOCAL = {"files": {"config.json": [2, 0, "ab"]}, "path": "/somewhere"}


@pytest.mark.parametrize(
    ("engine", "facts", "said"),
    [
        (LlamaSpec(model="outputs/gone"), {}, "outputs/gone is not there"),
        (TransformersSpec(kind="transformers", model="/gone/base"), {}, "/gone/base is not there"),
        (TransformersSpec(kind="transformers", model="gone/base"), {"model": LOCAL}, "gone/base"),
        (TransformersSpec(kind="transformers", model="Org/B", adapter="./gone"), {}, "gone does"),
        (TransformersSpec(kind="transformers", model="Org/B", adapter="gone/a"),
         {"adapter": LOCAL}, "gone/a does not exist"),
    ],
)  # fmt: skip
def test_a_model_that_is_gone_is_refused(
    tmp_path: Path, engine: EngineSpec, facts: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=f"nothing was written.*{said}.*Put it back"):
        check_model(series(tmp_path, engine, **facts), "a")


def test_a_checkpoint_that_lost_its_files_is_refused(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    config = series(tmp_path, TransformersSpec(kind="transformers", model=str(base)))
    with pytest.raises(InputError, match=r"holds no config\.json"):
        check_model(config, "a")
    (base / "config.json").write_text("{}")
    with pytest.raises(InputError, match="holds no weights"):
        check_model(config, "a")
    (base / "model.safetensors").write_bytes(b"")
    check_model(config, "a")


@pytest.mark.parametrize(
    "engine",
    [OLLAMA, TransformersSpec(kind="transformers", model="Org/Base", adapter="Org/adapter")],
)
def test_what_lies_elsewhere_is_not_looked_for(tmp_path: Path, engine: EngineSpec) -> None:
    check_model(series(tmp_path, engine, model={"revision": "ab"}), "a")


def test_paths_are_relative_to_the_file_and_names_are_not(tmp_path: Path) -> None:
    values = {"model": str(tmp_path / "outputs" / "x"), "adapter": "Org/adapter"}
    assert relative_to(values, tmp_path / "configs") == {
        "model": "../outputs/x", "adapter": "Org/adapter"}  # fmt: skip
    assert relative_to(values, tmp_path)["model"] == "./outputs/x"


def test_the_one_that_surely_gains_most_is_promoted() -> None:
    sure = Verdict("sure", "promote", "", (), gain=0.08, shown=0.04)
    lucky = Verdict("lucky", "promote", "", (), gain=0.12, shown=0.01)
    close = Verdict("close", "undecided", "", ())
    bad = Verdict("bad", "reject", "", ())
    chosen = choose([lucky, bad, sure, close])
    assert (chosen.promoted, chosen.code) == (sure, 0)
    assert choose([lucky, sure], "lucky").promoted == lucky
    assert choose([bad, close]).code == 4
    assert choose([bad, close], "bad").code == 1
    assert choose([bad]).code == choose([]).code == 1


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"dataset_tag": "houses", "split_seed": 3}, ""),
        ({"dataset_tag": "houses", "split_seed": 4}, "trained on the split houses of seed 4"),
        ({"dataset_tag": "other", "split_seed": 3}, "trained on the split other of seed 3"),
        ({"dataset_tag": None, "split_seed": None}, ""),
        ({"dataset_tag": ["houses"], "split_seed": True}, ""),
        ({}, ""),
    ],
)
def test_training_on_another_split_is_told(
    register: Path, adapter: Path, told: dict[str, Any], said: str
) -> None:
    write_metadata(adapter, {"kind": "adapter", **told})
    tuned = TransformersSpec(kind="transformers", model="Org/Base", adapter=str(adapter))
    config = series(register, tuned)
    plain = config.experiments["a"].model_copy(update={"engine": OLLAMA})
    rule = PromotionConfig(grounding=None)
    config = config.model_copy(
        update={"experiments": {**config.experiments, "b": plain}, "baseline": "b",
                "promotion": rule}
    )  # fmt: skip
    split = LoadedSplit(register, {"tag": "houses", "seed": 3}, {})
    assert "; ".join(other_splits(config, split)) == (f"a was {said}" if said else "")
