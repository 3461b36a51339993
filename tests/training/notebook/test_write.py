"""What a notebook says and holds, before anyone runs it."""

from __future__ import annotations

import ast
import base64
import json
import random
from pathlib import Path
from typing import Any

import nbformat
import pytest
from packaging.requirements import Requirement

import loragraft
from loragraft.errors import InputError
from loragraft.training.notebook.find import find_config
from loragraft.training.notebook.write import (
    MOST_INSIDE,
    NotebookRequest,
    WrittenNotebook,
    write_notebook,
)
from tests.training.notebook.building import make_config, rows, write_rows

HOSTILE = (
    '<script>x</script> ![](http://h/x) `$(rm)` """ {{ 7*7 }} {% raw %} \\ %% code x\n%% code y'
)


def write(tmp_path: Path, config: dict[str, Any] | None = None, **more: Any) -> WrittenNotebook:  # noqa: ANN401
    made = make_config(tmp_path, **(config or {}))
    return write_notebook(NotebookRequest(made, tmp_path / "notebooks", **more))


def cells(path: Path, kind: str = "code") -> dict[str, str]:
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    return {cell.id: cell.source for cell in book.cells if cell.cell_type == kind}


def settings(source: str) -> dict[str, Any]:
    """Return the plain values that a cell gives names to."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def test_small_data_stands_inside(tmp_path: Path) -> None:
    written = write(tmp_path)
    assert written.archive is None
    assert [path.name for path in written.path.parent.iterdir()] == ["words-lora.ipynb"]
    assert 0 < written.data_bytes < MOST_INSIDE
    source = cells(written.path)
    for text in source.values():
        ast.parse(text)
    assert settings(source["install"])["VERSION"] == loragraft.__version__
    call = ast.parse(source["data"]).body[1]
    assert isinstance(call, ast.Assign)
    assert isinstance(call.value, ast.Call)
    inside = next(ast.literal_eval(k.value) for k in call.value.keywords if k.arg == "inside")
    assert base64.b64decode(inside).startswith(b"PK")


def test_large_data_lies_beside(tmp_path: Path) -> None:
    written = write(tmp_path, data="beside")
    assert written.archive == tmp_path / "notebooks" / "words-lora_data.zip"
    assert written.archive.stat().st_size == written.data_bytes
    assert "Upload `words-lora_data.zip`" in cells(written.path, "markdown")["title"]
    chance = random.Random(20251101)
    noise = [{**row, "question": chance.randbytes(15_000).hex()} for row in rows()]
    train = write_rows(tmp_path / "noise.jsonl", noise)
    large = make_config(tmp_path).model_copy(
        update={"data": make_config(tmp_path, data={"train": [str(train)]}).data}
    )
    out = tmp_path / "large"
    assert write_notebook(NotebookRequest(large, out)).archive == out / "words-lora_data.zip"


def test_a_notebook_does_not_hold_more_than_platforms_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loragraft.training.notebook.write.LARGEST_INSIDE", 1024)
    with pytest.raises(InputError, match=r"a notebook holds at most 1\.0 KiB"):
        write(tmp_path, data="inside")
    assert not list((tmp_path / "notebooks").iterdir())


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"cannot be made: .*Give another folder with -o"):
            write_notebook(NotebookRequest(config, folder))


def test_the_same_run_is_written_once(tmp_path: Path) -> None:
    first = write(tmp_path, data="beside")
    before = {path.name: path.read_bytes() for path in first.path.parent.iterdir()}
    assert first.changed
    assert not write(tmp_path, data="beside").changed
    with pytest.raises(InputError, match=r"words-lora\.ipynb is there already and differs"):
        write(tmp_path, {"seed": 3}, data="beside")
    assert {path.name: path.read_bytes() for path in first.path.parent.iterdir()} == before
    assert write(tmp_path, {"seed": 3}, data="beside", replace=True).changed
    after = {path.name: path.read_bytes() for path in first.path.parent.iterdir()}
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in before)


def test_batches_fit_the_gpus_and_leave_the_step_as_it_is(tmp_path: Path) -> None:
    optimiser = {"batch": 4, "accumulation": 4, "max_length": 1024}
    base = "Qwen/Qwen2.5-0.5B-Instruct"
    written = write(tmp_path, {"base": base, "optimiser": optimiser})
    assert set(written.sizes) == {"T4", "P100"}
    for size in written.sizes.values():
        assert size.fits
        assert 16 % size.batch == 0
        assert size.bytes is not None
        assert 1 << 30 < size.bytes < 15 << 30
    assert (
        settings(cells(written.path)["train"])["SIZES"]["T4"]["batch"] == written.sizes["T4"].batch
    )
    short = write(tmp_path, {"base": base, "optimiser": {**optimiser, "max_length": 128}},
                  replace=True)  # fmt: skip
    assert short.sizes["T4"].batch == 16


def test_a_base_that_is_too_large_is_told(tmp_path: Path) -> None:
    config: dict[str, Any] = {"base": "Qwen/Qwen2.5-7B-Instruct", "lora": {"targets": "all"},
                              "optimiser": {"max_length": 512}}  # fmt: skip
    written = write(tmp_path, config)
    assert [size.fits for size in written.sizes.values()] == [False, False]
    assert all(size.batch == 1 for size in written.sizes.values())
    assert all(size.gradient_checkpointing for size in written.sizes.values())
    assert "does not fit on a T4" in written.notes[0]
    assert "quantization=nf4" in written.notes[0]
    four_bits = write(tmp_path, {**config, "quantization": "nf4"}, replace=True)
    assert all(size.fits for size in four_bits.sizes.values())
    assert four_bits.notes == ()


def test_a_base_that_nobody_knows_keeps_its_batch(tmp_path: Path) -> None:
    written = write(tmp_path, {"optimiser": {"batch": 2, "accumulation": 8}})
    assert written.sizes == {}
    assert "The batch stays 2 on every GPU: owner/pico" in written.notes[0]
    named = settings(cells(written.path)["train"])
    assert (named["EFFECTIVE"], named["SIZES"], named["OTHERWISE"]["batch"]) == (16, {}, 2)


def test_any_text_of_a_configuration_is_only_text(tmp_path: Path) -> None:
    name = "it's $(x) `a` {{b}}"
    written = write(tmp_path, {"experiment_id": name, "description": HOSTILE})
    source = cells(written.path)
    assert settings(source["machine"])["ID"] == name
    assert list(source) == ["settings", "machine", "install", "data", "train", "look", "pack"]
    title = cells(written.path, "markdown")["title"]
    assert "<script>" not in title
    assert "![" not in title.replace("\\!\\[", "")
    assert "'outputs/adapters/it'\"'\"'s $(x) `a` {{b}}'" in cells(written.path, "markdown")["next"]


@pytest.mark.parametrize("platform", ["colab", "kaggle"])
def test_a_platform_is_explained_alone(tmp_path: Path, platform: Any) -> None:  # noqa: ANN401
    names = {"colab": "Colab", "kaggle": "Kaggle"}
    both, one = write(tmp_path), write(tmp_path, platforms=(platform,), replace=True)
    text = "".join(cells(one.path, "markdown").values())
    assert names.pop(platform) in text
    assert next(iter(names.values())) not in text
    assert cells(one.path) == cells(both.path)


def test_the_base_must_be_one_that_a_hosted_machine_can_have(tmp_path: Path) -> None:
    here = tmp_path / "owner" / "model"
    here.mkdir(parents=True)
    for base in (str(here), "/models/qwen", "./model", "qwen"):
        with pytest.raises(InputError, match=r"no repository.*--base OWNER/NAME"):
            write(tmp_path, {"base": base})
    written = write(tmp_path, {"base": str(here)}, base="owner/model@abc")
    assert "--base owner/model " in cells(written.path, "markdown")["next"]
    assert str(tmp_path) not in written.path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("config", "more"),
    [
        ({"description": "my token hf_" + "a" * 34}, {}),
        ({}, {"install": "git+https://someone:secret@example.org/x.git"}),
        ({}, {"install": "git+https://ghp_" + "b" * 36 + "@github.com/x/y"}),
    ],
)
def test_a_token_never_gets_in(tmp_path: Path, config: Any, more: Any) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match="looks like a token") as error:
        write(tmp_path, config, **more)
    assert "a" * 30 not in str(error.value)
    assert not list((tmp_path / "notebooks").iterdir())


def test_all_that_training_needs_is_installed_but_the_engine(tmp_path: Path) -> None:
    namespace: dict[str, Any] = {"INSTALL": "", "GPU": "", "asked": lambda *command: "",
                                 "subprocess": None}  # fmt: skip
    source = cells(write(tmp_path).path)["install"]
    exec("import importlib, importlib.metadata, sys\n" + source, namespace)
    texts = (*namespace["needs"](""), *namespace["needs"]("train"))
    found = {Requirement(text).name for text in texts}
    assert {"torch", "transformers", "peft", "accelerate", "pydantic", "safetensors"} <= found
    assert not found & {"llama-cpp-python", "loragraft", "pytest", "ruff"}


def test_an_experiment_is_found_by_its_id(tmp_path: Path) -> None:
    adapters, configs = tmp_path / "adapters", tmp_path / "configs"
    text = "experiment_id: {}\nbase: a/b\nseed: {}\ndata: {{train: [t.jsonl]}}\n"
    for path, seed in ((configs / "one.yaml", 1), (configs / "two.yml", 2),
                       (adapters / "run" / "training_config.yaml", 3)):  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format("run" if seed == 3 else path.stem, seed))
    (configs / "broken.yaml").write_text("seed: [")
    assert find_config("one", adapters, configs)[1].seed == 1
    assert find_config("run", adapters, configs)[1].seed == 3
    path, config = find_config(str(configs / "two.yml"), adapters, configs, ["seed=9"], "other")
    assert (path, config.seed, config.experiment_id) == (configs / "two.yml", 9, "other")
    (configs / "again.yaml").write_text(text.format("one", 4))
    with pytest.raises(InputError, match=r"again\.yaml and .*one\.yaml are both called 'one'"):
        find_config("one", adapters, configs)
    with pytest.raises(InputError, match="There is no experiment 'none'"):
        find_config("none", adapters, configs)
    with pytest.raises(InputError, match=r"there/none\.yaml cannot be read"):
        find_config("there/none.yaml", adapters, configs)


def test_a_notebook_is_plain_json_with_line_ends(tmp_path: Path) -> None:
    text = write(tmp_path).path.read_text(encoding="utf-8")
    assert text.endswith("}\n")
    book = json.loads(text)
    assert book["metadata"]["kernelspec"]["name"] == "python3"
    assert all(cell["outputs"] == [] for cell in book["cells"] if cell["cell_type"] == "code")
