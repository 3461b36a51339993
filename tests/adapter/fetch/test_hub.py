"""The Hub's own client against a Hub of ours: pinned, resumed, checked, and refused in words."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from loragraft.adapter.fetch import check_folder
from loragraft.artifact.metadata import read_metadata
from tests.adapter.builders import CONFIG, lora_arrays
from tests.adapter.fetch.hub_server import (
    COMMIT,
    Hub,
    finish,
    hub_environment,
    sha256,
    start_fetch,
)
from tests.adapter.fetch.server import FileServer

MIB = 1 << 20


def adapter_files(padding: int = 0) -> dict[str, bytes]:
    """Return an adapter as the Hub would hold it; padding makes its weights large."""
    from safetensors.numpy import save

    arrays = lora_arrays()
    if padding:
        import numpy as np

        rows = np.random.default_rng(7).normal(size=(padding // 4 // 64, 64)).astype("float32")
        arrays["base_model.model.lm_head.weight"] = rows
    return {
        "adapter_config.json": json.dumps(CONFIG).encode(),
        "adapter_model.safetensors": save(arrays),
        "README.md": b"---\nbase_model: someone/pico-llama\n---\n",
        "tokenizer.json": b"{}",
        "checkpoint-9/adapter_model.safetensors": save(lora_arrays(rank=2)),
        "checkpoint-9/adapter_config.json": json.dumps({**CONFIG, "r": 2}).encode(),
        "checkpoint-9/trainer_state.json": b'{"global_step": 9}',
        "checkpoint-9/optimizer.pt": random.Random(1).randbytes(20_000),
        "train.jsonl": b"{}\n",
    }


EXTRA = {"checkpoint-9/optimizer.pt", "train.jsonl"}


def run(source: str, out: Path, server: FileServer, **options: Any) -> dict[str, Any]:  # noqa: ANN401
    """Fetch from the server and wait."""
    settings = options.pop("settings", {})
    environment = hub_environment(server.url, out.parent, **settings)
    return finish(start_fetch(source, out, environment, **options))


def test_an_adapter_arrives_pinned_checked_and_alone(server: FileServer, tmp_path: Path) -> None:
    files = adapter_files()
    Hub(server, files)
    out = tmp_path / "out"
    report = run("hf:owner/name@main", out, server)
    wanted = {name: data for name, data in files.items() if name not in EXTRA}
    assert {f["name"]: f["sha256"] for f in report["files"]} == {
        name: sha256(data) for name, data in wanted.items()
    }
    assert all((out / name).read_bytes() == data for name, data in wanted.items())
    assert (report["verdict"], report["revision"]) == ("pass", COMMIT)
    assert check_folder(out) == []
    origin = read_metadata(out)["origin"]
    assert origin["source"] == "hf:owner/name@main"
    assert origin["revision"] == COMMIT
    assert origin["last_modified"].startswith("2025-03-04T05:06:07")
    assert {f["name"] for f in origin["left_out"]} == EXTRA
    assert "2 files (19.5 KiB) do not belong to an adapter" in report["notes"][0]
    hidden = {path.name for path in tmp_path.iterdir()} - {"out", "huggingface"}
    assert hidden <= {".out.lock"}


def test_the_token_goes_to_the_hub_alone(server: FileServer, tmp_path: Path) -> None:
    Hub(server, adapter_files(MIB))
    report = run("hf:owner/name", tmp_path / "out", server, settings={"HF_TOKEN": "hf_s3cret"})
    assert report["verdict"] == "pass"
    hub = [r for r in server.requests if not r.path.startswith("/cdn/")]
    storage = [r for r in server.requests if r.path.startswith("/cdn/")]
    assert all(r.headers.get("authorization") == "Bearer hf_s3cret" for r in hub)
    assert storage
    assert not any("authorization" in r.headers for r in storage)
    assert "hf_s3cret" not in json.dumps(report)


def test_further_files_come_where_they_are_wanted(server: FileServer, tmp_path: Path) -> None:
    Hub(server, adapter_files())
    report = run("hf:owner/name", tmp_path / "out", server, include=["*.jsonl"])
    assert "train.jsonl" in {f["name"] for f in report["files"]}


def test_an_adapter_among_datasets(server: FileServer, tmp_path: Path) -> None:
    Hub(server, adapter_files(), kind="dataset")
    report = run("hf:datasets/owner/name", tmp_path / "out", server)
    assert report["source"] == "hf:datasets/owner/name"
    assert report["verdict"] == "pass"


def test_a_break_is_gone_on_with(server: FileServer, tmp_path: Path) -> None:
    files = adapter_files(24 * MIB)
    size = len(files["adapter_model.safetensors"])
    hub = Hub(server, files)
    hub.blobs["adapter_model.safetensors"].cuts = [22 * MIB]
    report = run("hf:owner/name", tmp_path / "out", server)
    assert report["verdict"] == "pass"
    # The client writes blocks of 10 MiB: of the third, which was cut off, nothing was kept.
    assert hub.sent("adapter_model.safetensors") == [22 * MIB, size - 20 * MIB]


def test_a_killed_fetch_shows_nothing_and_goes_on(server: FileServer, tmp_path: Path) -> None:
    files = adapter_files(24 * MIB)
    size = len(files["adapter_model.safetensors"])
    hub = Hub(server, files)
    hub.blobs["adapter_model.safetensors"].cuts = [22 * MIB]
    server.stall = threading.Event()
    out = tmp_path / "out"
    process = start_fetch("hf:owner/name", out, hub_environment(server.url, tmp_path))
    _wait_for(lambda: hub.sent("adapter_model.safetensors") == [22 * MIB])
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    server.stall.set()
    server.stall = None
    assert not out.exists()
    assert (tmp_path / ".out.staging").is_dir()
    report = run("hf:owner/name", out, server)
    assert report["verdict"] == "pass"
    assert report["resumed_bytes"] > 20 * MIB
    assert hub.sent("adapter_model.safetensors")[1:] == [size - 20 * MIB]
    assert not (tmp_path / ".out.staging").exists()
    assert check_folder(out) == []


def _wait_for(condition: Any, seconds: float = 60) -> None:  # noqa: ANN401 - a callable
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_damaged_file_is_not_published(server: FileServer, tmp_path: Path, name: str) -> None:
    hub = Hub(server, adapter_files())
    hub.corrupt.add(name)
    out = tmp_path / "out"
    error = run("hf:owner/name", out, server)
    assert error["error"] == "UnavailableError"
    assert f"{name} of hf:owner/name arrived with the hash" in error["message"]
    assert not out.exists()
    hub.corrupt.clear()
    assert run("hf:owner/name", out, server)["verdict"] == "pass"


def test_a_file_of_another_length_is_not_published(server: FileServer, tmp_path: Path) -> None:
    files = adapter_files()
    hub = Hub(server, files)
    name = "adapter_model.safetensors"
    hub._content = lambda wanted: files[wanted][:-7]  # type: ignore[method-assign]
    error = run("hf:owner/name", tmp_path / "out", server)
    assert error["error"] == "UnavailableError", error
    assert not (tmp_path / "out").exists()
    assert name in files


def test_a_file_without_end_is_not_taken(server: FileServer, tmp_path: Path) -> None:
    files = adapter_files()
    hub = Hub(server, files)
    hub._content = lambda wanted: files[wanted] + bytes(40 * MIB)  # type: ignore[method-assign]
    error = run("hf:owner/name", tmp_path / "out", server)
    assert error["error"] == "UnavailableError"
    kept = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert kept < MIB


def test_a_busy_hub_is_asked_again(server: FileServer, tmp_path: Path) -> None:
    hub = Hub(server, adapter_files())
    hub.blobs["adapter_model.safetensors"].statuses = [500, 503]
    assert run("hf:owner/name", tmp_path / "out", server)["verdict"] == "pass"


@pytest.mark.parametrize(
    ("refusal", "error", "words"),
    [
        ((403, "GatedRepo"), "UnavailableError", "is gated. Accept its licence"),
        ((404, "RepoNotFound"), "InputError", "no public repository"),
        ((404, "RevisionNotFound"), "InputError", "no such revision"),
        ((500, ""), "UnavailableError", "could not be fetched"),
    ],
)
def test_refusals(
    server: FileServer, tmp_path: Path, refusal: tuple[int, str], error: str, words: str
) -> None:
    Hub(server, adapter_files()).refusal = refusal
    found = run("hf:owner/name", tmp_path / "out", server)
    assert (found["error"], words in found["message"]) == (error, True), found
    assert {path.name for path in tmp_path.iterdir()} <= {"huggingface", ".out.lock"}


def test_offline(server: FileServer, tmp_path: Path) -> None:
    found = run("hf:owner/name", tmp_path / "out", server, settings={"HF_HUB_OFFLINE": "1"})
    assert found["error"] == "UnavailableError"
    assert "could not be fetched" in found["message"]
    assert server.requests == []


def test_a_whole_model_is_refused_by_what_it_holds(server: FileServer, tmp_path: Path) -> None:
    Hub(server, {"config.json": b"{}", "model.safetensors": bytes(20_000)})
    found = run("hf:owner/name", tmp_path / "out", server)
    assert found["error"] == "AdapterError"
    assert "holds no adapter" in found["message"]
    assert "It holds model.safetensors, config.json" in found["message"]
    assert not any("/resolve/" in r.path for r in server.requests)


def test_too_large_a_repository_is_refused_before(server: FileServer, tmp_path: Path) -> None:
    Hub(server, adapter_files())
    found = run("hf:owner/name", tmp_path / "out", server, limits={"total_bytes": 5000})
    assert found["error"] == "InputError"
    assert "at most 4.9 KiB are taken" in found["message"]
    assert not any("/resolve/" in r.path for r in server.requests)


def test_a_repository_with_a_hostile_name_is_refused(server: FileServer, tmp_path: Path) -> None:
    Hub(server, {**adapter_files(), "../adapter_evil.json": b"{}"})
    found = run("hf:owner/name", tmp_path / "out", server)
    assert found["error"] == "AdapterError"
    assert "leads out of its folder" in found["message"]
    assert not list(tmp_path.rglob("*evil*"))
