"""Kaggle's own client against a Kaggle of ours; our downloads resume, check and unpack."""

from __future__ import annotations

import io
import random
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from loragraft.adapter.fetch import check_folder
from loragraft.artifact.child import child_environment
from loragraft.artifact.metadata import read_metadata
from tests.adapter.fetch.hub_server import finish, start_fetch
from tests.adapter.fetch.kaggle_server import ARCHIVE, Kaggle, kaggle_environment, zipped
from tests.adapter.fetch.server import FileServer
from tests.adapter.fetch.test_hub import adapter_files

# A training's leftovers are among them: the verdict is a warning.
FILES = {**adapter_files(), "notes.txt": random.Random(3).randbytes(3_000_000)}
DATA = zipped({f"my-lora/{name}": data for name, data in FILES.items()})


def run(source: str, out: Path, server: FileServer, **options: Any) -> dict[str, Any]:  # noqa: ANN401
    """Fetch from the server and wait."""
    settings = options.pop("settings", {})
    environment = kaggle_environment(server, out.parent, **settings)
    return finish(start_fetch(source, out, environment, **options))


def test_a_dataset_arrives_pinned_and_checked(server: FileServer, tmp_path: Path) -> None:
    kaggle = Kaggle(server, DATA)
    out = tmp_path / "out"
    report = run("kaggle:owner/data", out, server)
    assert (report["verdict"], report["revision"]) == ("warn", "3")
    assert all((out / name).read_bytes() == data for name, data in FILES.items())
    assert check_folder(out) == []
    origin = read_metadata(out)["origin"]
    assert origin["url"] == "https://www.kaggle.com/datasets/owner/data/versions/3"
    assert origin["downloaded_from"] == f"{server.url}{ARCHIVE}"
    assert "Signature" not in (out / "EXPERIMENT_METADATA.json").read_text()
    assert kaggle.asked("DownloadDataset") == [
        {"ownerSlug": "owner", "datasetSlug": "data", "datasetVersionNumber": 3}
    ]


def test_a_version_is_asked_for(server: FileServer, tmp_path: Path) -> None:
    kaggle = Kaggle(server, DATA)
    report = run("kaggle:owner/data@2", tmp_path / "out", server)
    assert report["revision"] == "2"
    assert kaggle.asked("DownloadDataset")[0]["datasetVersionNumber"] == 2


def test_a_model_arrives(server: FileServer, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in adapter_files().items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    kaggle = Kaggle(server, buffer.getvalue())
    report = run("kaggle:owner/name/transformers/lora", tmp_path / "out", server)
    assert (report["verdict"], report["revision"]) == ("warn", "5")
    asked = kaggle.asked("DownloadModelInstanceVersion")[0]
    assert (asked["ownerSlug"], asked["modelSlug"], asked["instanceSlug"]) == (
        "owner", "name", "lora",
    )  # fmt: skip


def test_credentials_are_sent_to_kaggle_alone(server: FileServer, tmp_path: Path) -> None:
    kaggle = Kaggle(server, DATA)
    settings = {"KAGGLE_USERNAME": "me", "KAGGLE_KEY": "s3cret"}
    run("kaggle:owner/data", tmp_path / "out", server, settings=settings)
    assert all("authorization" in headers for _, _, headers in kaggle.calls)
    storage = [request for request in server.requests if request.path == ARCHIVE]
    assert storage
    ours = [r for r in storage if r.headers["user-agent"].startswith("loragraft")]
    assert ours
    assert not any("authorization" in request.headers for request in ours)


def sent(server: FileServer) -> list[int]:
    """Bytes of the archive that were sent to our own downloads."""
    requests = [r for r in server.requests if r.path == ARCHIVE]
    return [r.sent for r in requests if r.headers["user-agent"] == "loragraft"]


def test_a_break_is_gone_on_with(server: FileServer, tmp_path: Path) -> None:
    kaggle = Kaggle(server, DATA)
    kaggle.served.cuts = [None, 1_000_000]
    assert run("kaggle:owner/data", tmp_path / "out", server)["verdict"] == "warn"
    assert sent(server) == [1_000_000, len(DATA) - 1_000_000]


def test_a_killed_fetch_goes_on_with_a_fresh_link(server: FileServer, tmp_path: Path) -> None:
    kaggle = Kaggle(server, DATA)
    kaggle.served.cuts = [None, 2_000_000]
    server.stall = threading.Event()
    out = tmp_path / "out"
    process = start_fetch("kaggle:owner/data", out, kaggle_environment(server, tmp_path))
    end = time.monotonic() + 60
    while sent(server) != [2_000_000]:
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    server.stall.set()
    server.stall = None
    assert not out.exists()
    report = run("kaggle:owner/data", out, server)
    assert (report["verdict"], report["resumed_bytes"]) == ("warn", 2_000_000)
    assert sent(server) == [2_000_000, len(DATA) - 2_000_000]
    assert kaggle.links == 2


def test_a_new_version_is_not_mixed_with_the_old(server: FileServer, tmp_path: Path) -> None:
    kaggle = Kaggle(server, DATA)
    kaggle.served.cuts = [None, 2_000_000, 1, 1, 1, 1]
    first = run("kaggle:owner/data@3", tmp_path / "out", server)
    assert first["error"] == "UnavailableError"
    other = zipped(adapter_files())
    kaggle = Kaggle(server, other)
    kaggle.served.etag = '"two"'
    assert run("kaggle:owner/data@3", tmp_path / "out", server)["verdict"] == "warn"
    assert sent(server)[-1] == len(other)


def test_a_damaged_archive_is_not_published(server: FileServer, tmp_path: Path) -> None:
    kaggle = Kaggle(server, DATA)
    kaggle.served.data = DATA[:-1] + b"x"
    found = run("kaggle:owner/data", tmp_path / "out", server)
    assert found["error"] == "UnavailableError"
    assert "arrived with the MD5" in found["message"]
    assert not (tmp_path / "out").exists()


def test_a_hostile_archive_is_not_published(server: FileServer, tmp_path: Path) -> None:
    Kaggle(server, zipped({**adapter_files(), "../evil": b"1"}))
    found = run("kaggle:owner/data", tmp_path / "out", server)
    assert found["error"] == "AdapterError"
    assert not list(tmp_path.rglob("*evil*"))
    assert {path.name for path in tmp_path.iterdir()} & {"out", ".out.staging"} == set()


def test_too_large_a_dataset_is_refused_before(server: FileServer, tmp_path: Path) -> None:
    Kaggle(server, DATA).total_bytes = 50 << 30
    found = run("kaggle:owner/data", tmp_path / "out", server)
    assert (found["error"], "has 50.0 GiB" in found["message"]) == ("InputError", True)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, "UnavailableError", "KAGGLE_API_TOKEN"),
        (403, "UnavailableError", "asks for a consent on its page"),
        (404, "InputError", "Kaggle knows no kaggle:owner/data"),
        (429, "UnavailableError", "asks for patience"),
        (500, "UnavailableError", "Kaggle answers 500"),
    ],
)
def test_refusals(server: FileServer, tmp_path: Path, status: int, error: str, words: str) -> None:
    Kaggle(server, DATA).status = status
    found = run("kaggle:owner/data", tmp_path / "out", server)
    assert (found["error"], words in found["message"]) == (error, True), found
    assert not (tmp_path / ".out.staging").exists()


def test_no_connection(server: FileServer, tmp_path: Path) -> None:
    nowhere = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    found = run("kaggle:owner/data", tmp_path / "out", server, settings=nowhere)
    assert found["error"] == "UnavailableError"
    assert "Kaggle cannot be reached" in found["message"]


def test_broken_credentials(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / ".kaggle" / "kaggle.json").write_text("{")
    found = run("kaggle:owner/data", tmp_path / "out", server)
    assert found["error"] == "InputError"
    assert "kaggle.json" in found["message"]


@pytest.mark.parametrize(
    ("module", "source"), [("kagglehub", "kaggle:o/d"), ("httpx", "https://127.0.0.1/x")]
)
def test_a_missing_package_is_named(tmp_path: Path, module: str, source: str) -> None:
    program = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from pathlib import Path\n"
        "from loragraft.adapter.fetch import fetch\n"
        "from loragraft.errors import MissingExtraError\n"
        "try:\n"
        "    fetch(sys.argv[1], Path(sys.argv[2]))\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, source, str(tmp_path / "out")],
        env=child_environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert 'pip install "loragraft[fetch]"' in done.stdout
    assert f"{module!r}" in done.stdout
