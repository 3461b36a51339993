"""No path of this machine in what others will read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from loragraft.artifact.metadata import read_metadata
from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.export.job import run_export
from loragraft.export.lora_gguf import export_lora_gguf
from loragraft.export.merge import merge_checkpoint
from loragraft.export.places import Places, claimed_name, hub_commit, places_of, shared_name
from loragraft.export.request import ExportReport, ExportRequest
from tests.export.pico_llama import make_adapter, make_weights, save_base, write_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CLAIM = "/data/of/someone/models/pico"
WEIGHTS = make_weights(61)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home, in which everything lies."""
    folder = tmp_path / "home" / "alice"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    return folder


@pytest.fixture
def base(home: Path) -> Path:
    """A base in the Hub's cache."""
    return save_base(home / "hub" / "models--owner--pico" / "snapshots" / COMMIT, WEIGHTS)


@pytest.fixture
def adapter(home: Path) -> Path:
    """An adapter whose keys are renamed, and which names a folder of another machine."""
    folder = make_adapter(home / "runs" / "first", 62, base_model_name_or_path=CLAIM)
    path = folder / "adapter_model.safetensors"
    nested = {key.replace(".layers.", ".language_model.layers."): v
              for key, v in load_file(path).items()}  # fmt: skip
    save_file(nested, path, {"format": "pt"})
    return folder


def export(base: Path, adapter: Path, home: Path, **options: object) -> ExportReport:
    claim = json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
    notes = (f"owner/pico is read from {base}", f"the base {claim} is the adapter's own claim")
    settings = {"quants": ("F16",), "base_id": "owner/pico", "notes": notes, **options}
    return run_export(ExportRequest(base, ((adapter, 1.0),), home / "out", "one", **settings))  # type: ignore[arg-type]


def private_texts(folder: Path, home: Path) -> dict[str, list[str]]:
    """Lines of a folder's files that name a place of this machine, or of the trainer's."""
    secrets = [str(home), str(home.parents[1]), CLAIM.rpartition("/")[0]]
    found: dict[str, list[str]] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            lines = path.read_bytes().decode("utf-8", "replace").splitlines()
            found[path.name] = [line for line in lines if any(s in line for s in secrets)]
    return {name: lines for name, lines in found.items() if lines}


def test_a_bundle_names_no_folder_of_this_machine(base: Path, adapter: Path, home: Path) -> None:
    report = export(base, adapter, home)
    told = json.dumps(report.to_json())
    assert str(base) in told, "who exports is told where things lie"
    weights = "adapter_model.safetensors"
    assert f"{adapter / weights}: keys were renamed" in told
    assert private_texts(report.bundle, home) == {}
    metadata = read_metadata(report.bundle)
    assert metadata["warnings"][:2] == [
        "owner/pico is read from owner/pico@0123456789ab",
        "the base pico is the adapter's own claim",
    ]
    renamed = f"first/{weights}: keys were renamed"
    assert any(text.startswith(renamed) for text in metadata["warnings"])
    assert metadata["base"]["name"] == "owner/pico"
    assert metadata["base"]["revision"] == COMMIT
    assert metadata["adapters"][0]["name"] == "first/adapter_model.safetensors"
    assert metadata["adapters"][0]["base_claimed"] == "pico"


@pytest.mark.slow
def test_nor_does_one_that_peft_merged(base: Path, home: Path) -> None:
    """Of a type that the stream cannot take: the reason names the adapter."""
    from tests.support.pico import build_adapter

    loha = build_adapter(base, home / "runs" / "loha", peft_type="LOHA", target_modules=["q_proj"])
    report = export(base, loha, home)
    assert str(loha) in report.engine_reason
    assert report.engine == "peft"
    assert private_texts(report.bundle, home) == {}


@pytest.mark.slow
def test_nor_does_one_that_llama_cpps_script_converted(
    base: Path, adapter: Path, home: Path
) -> None:
    script = home / "llama.cpp" / "convert_hf_to_gguf.py"
    script.parent.mkdir()
    ready = write_model(home / "ready.gguf", WEIGHTS, "F32")
    script.write_text(
        "import shutil, sys\n"
        f"shutil.copyfile({str(ready)!r}, sys.argv[sys.argv.index('--outfile') + 1])\n"
    )
    plain = make_adapter(home / "runs" / "plain", 63)
    report = export(base, plain, home, converter=script, quants=("Q8_0",))
    assert str(script) in report.engine_reason
    assert private_texts(report.bundle, home) == {}


@pytest.mark.slow
def test_nor_does_a_merged_checkpoint(base: Path, home: Path) -> None:
    settings = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps({**settings, "name_or_path": str(base)}))
    adapter = make_adapter(home / "runs" / "plain", 63)
    report = merge_checkpoint(base, [(adapter, 1.0)], home / "out" / "merged")
    assert private_texts(report.folder, home) == {}
    metadata = read_metadata(report.folder)
    assert metadata["base"] == {"name": "owner/pico", "revision": COMMIT}
    assert metadata["adapters"][0]["name"] == "plain/adapter_model.safetensors"
    kept = json.loads((report.folder / "tokenizer_config.json").read_text())
    assert kept == {**settings, "name_or_path": "owner/pico@0123456789ab"}


def test_nor_does_an_adapter_as_gguf(base: Path, home: Path) -> None:
    adapter = make_adapter(home / "runs" / "plain", 63, base_model_name_or_path=CLAIM)
    out = home / "out" / "lora.gguf"
    out.parent.mkdir()
    export_lora_gguf(base, adapter, out)
    assert private_texts(out.parent, home) == {}
    with GgufFile(out) as file:
        assert file.get("general.base_model.0.name") == "pico"


def test_folders_give_way_to_names_and_nothing_else_does(home: Path) -> None:
    places = Places.of([(home / "models" / "x", "x"), (Path("out/deep"), "out")], {})
    text = f"{home}/models/x: a; '{home}/models/x/a.json'. {home}/models/xy, out/deep/f, about/deep"
    assert places.hide(text) == "x: a; 'x/a.json'. ~/models/xy, out/f, about/deep"
    assert places.hide({str(home): [1, (str(home),), None]}) == {"~": [1, ["~"], None]}
    assert places.hide("a/b") == "a/b"


def test_a_root_or_a_bare_word_is_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/")
    monkeypatch.setenv("USERPROFILE", "/")
    places = Places.of([(Path("/"), "root"), (Path("model"), "m")], {})
    assert places.hide("the model / its head") == "the model / its head"


def test_a_file_is_told_by_its_folder(home: Path, adapter: Path, base: Path) -> None:
    places = places_of(base, [(adapter / "adapter_model.safetensors", 1.0)], home / "out")
    assert places.hide(f"{adapter}/x") == "first/x"
    assert places.hide(f"trained on {CLAIM}.") == "trained on pico."


def test_folders_of_the_hubs_cache_are_told_by_their_repository(base: Path, home: Path) -> None:
    assert (shared_name(base), hub_commit(base)) == ("owner/pico", COMMIT)
    assert (shared_name(home), hub_commit(home)) == ("alice", None)


@pytest.mark.parametrize(
    ("claim", "name"),
    [
        (None, None),
        ("owner/name", "owner/name"),
        ("gpt2", "gpt2"),
        (CLAIM, "pico"),
        ("../models/pico/", "pico"),
        ("~/pico", "pico"),
        ("a/b/pico", "pico"),
        ("C:\\Users\\alice\\pico", "pico"),
        ("C:/Users/alice/pico", "pico"),
        ("models\\pico", "pico"),
        ("/", "a folder"),
    ],
)
def test_a_claim_is_told_without_the_trainers_folders(claim: str | None, name: str | None) -> None:
    assert claimed_name(claim) == name
