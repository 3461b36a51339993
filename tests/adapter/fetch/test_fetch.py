"""The whole way: fetched, recorded, published at once or not at all, verified."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loragraft.adapter.fetch import FetchReport, Limits, Retry, check_folder, fetch
from loragraft.adapter.findings import Severity
from loragraft.artifact.checksums import read_checksums
from loragraft.artifact.lock import hold_lock
from loragraft.artifact.metadata import read_metadata
from loragraft.errors import AdapterError, BundleError, InputError, LockedError, UnavailableError
from tests.adapter.fetch.server import FileServer, Served

Maker = Callable[..., Path]
RECORDS = {"checksums.txt", "EXPERIMENT_METADATA.json"}
ONCE = Retry(attempts=1)


def visible(folder: Path) -> set[str]:
    """Return the names in a folder that are not hidden."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def hidden(folder: Path) -> set[str]:
    """Return what is left of unfinished work."""
    return {p.name for p in folder.iterdir() if p.name.startswith(".")} - {".out.lock"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder to fetch into."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def pack(folder: Path, path: Path, top: str = "my-lora") -> bytes:
    """Return a folder as a tar.gz file's bytes."""
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, top)
    return path.read_bytes()


def test_a_folder(make_adapter: Maker, place: Path) -> None:
    source = make_adapter()
    (source / "train.log").write_text("loss 0.1")
    report = fetch(str(source), place / "out")
    assert isinstance(report, FetchReport)
    assert visible(place / "out") == {p.name for p in source.iterdir()} | RECORDS
    assert (report.verdict, report.revision, hidden(place)) == (Severity.PASS, None, set())
    assert {f.code for f in report.findings} >= {"modules.any", "rank", "values.nonfinite"}
    assert check_folder(place / "out") == []
    origin = read_metadata(place / "out")["origin"]
    assert (origin["source"], origin["kind"]) == (str(source), "local")
    assert origin["bytes"] == sum(f["bytes"] for f in origin["files"])
    digests = read_checksums(place / "out")
    assert {f["name"]: f["sha256"] for f in origin["files"]}.items() <= digests.items()
    assert json.loads(json.dumps(report.to_json()))["verdict"] == "pass"


def test_the_original_stays_and_dates_are_kept(make_adapter: Maker, place: Path) -> None:
    source = make_adapter()
    os.utime(source / "adapter_config.json", (1_700_000_000, 1_700_000_000))
    fetch(str(source), place / "out")
    assert (source / "adapter_model.safetensors").exists()
    assert (place / "out" / "adapter_config.json").stat().st_mtime == 1_700_000_000


def test_links_to_files_are_followed_and_to_folders_left(
    make_adapter: Maker, place: Path, tmp_path: Path
) -> None:
    source = make_adapter()
    blob = tmp_path / "blob"
    (source / "adapter_model.safetensors").rename(blob)
    (source / "adapter_model.safetensors").symlink_to(blob)
    (source / "elsewhere").symlink_to(tmp_path)
    (source / "nowhere").symlink_to(tmp_path / "nothing")
    report = fetch(str(source), place / "out")
    assert not (place / "out" / "adapter_model.safetensors").is_symlink()
    assert (place / "out" / "adapter_model.safetensors").read_bytes() == blob.read_bytes()
    assert visible(place / "out") & {"elsewhere", "nowhere"} == set()
    assert "elsewhere/, nowhere: left out." in report.notes


def test_an_archive(make_adapter: Maker, place: Path, tmp_path: Path) -> None:
    source = make_adapter()
    pack(source, tmp_path / "lora.tar.gz")
    report = fetch(str(tmp_path / "lora.tar.gz"), place / "out")
    assert visible(place / "out") == {p.name for p in source.iterdir()} | RECORDS
    assert report.verdict is Severity.PASS


def test_a_url_of_an_archive(
    make_adapter: Maker, place: Path, tmp_path: Path, server: FileServer
) -> None:
    server.files["/dl"] = Served(pack(make_adapter(), tmp_path / "a"))
    url = f"{server.url}/dl?id=5&token=s3cret".replace("//", "//me:s3cret@")
    report = fetch(url, place / "out")
    assert report.verdict is Severity.PASS
    origin = read_metadata(place / "out")["origin"]
    assert origin["url"] == f"{server.url}/dl?id=5&token=***"
    assert origin["etag"] == report.revision == '"one"'
    assert "s3cret" not in json.dumps(report.to_json())
    text = "".join(p.read_text("latin-1") for p in place.rglob("*") if p.is_file())
    assert "s3cret" not in text


def test_a_url_of_one_file(make_adapter: Maker, place: Path, server: FileServer) -> None:
    weights = make_adapter() / "adapter_model.safetensors"
    server.files["/x/adapter_model.safetensors"] = Served(weights.read_bytes())
    report = fetch(f"{server.url}/x/adapter_model.safetensors", place / "out")
    assert visible(place / "out") == {"adapter_model.safetensors"} | RECORDS
    assert report.verdict is Severity.FAIL
    assert report.findings[0].code == "file.config"
    assert "adapter_config.json does not exist" in report.findings[0].measured


def test_an_interrupted_download_is_gone_on_with(
    make_adapter: Maker, place: Path, tmp_path: Path, server: FileServer
) -> None:
    data = pack(make_adapter(), tmp_path / "a")
    cut = len(data) // 2
    server.files["/a.tgz"] = Served(data, cuts=[cut])
    with pytest.raises(UnavailableError, match="the same command goes on from there"):
        fetch(f"{server.url}/a.tgz", place / "out", retry=ONCE)
    assert visible(place) == set()
    assert hidden(place) == {".out.staging", ".out.journal"}
    report = fetch(f"{server.url}/a.tgz", place / "out", retry=ONCE)
    assert (report.verdict, report.resumed) == (Severity.PASS, cut)
    assert server.sent("/a.tgz") == [cut, len(data) - cut]
    assert hidden(place) == set()


def test_another_source_does_not_go_on_with_it(
    make_adapter: Maker, place: Path, tmp_path: Path, server: FileServer
) -> None:
    server.files["/a.tgz"] = Served(pack(make_adapter(), tmp_path / "a"), cuts=[2_000])
    with pytest.raises(UnavailableError):
        fetch(f"{server.url}/a.tgz", place / "out", retry=ONCE)
    fetch(str(make_adapter(name="other")), place / "out")
    assert hidden(place) == set()


def test_a_run_killed_while_unpacking_downloads_nothing_again(
    make_adapter: Maker,
    place: Path,
    tmp_path: Path,
    server: FileServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.files["/a.tgz"] = Served(pack(make_adapter(), tmp_path / "a"))
    with monkeypatch.context() as patch:
        patch.setattr("loragraft.adapter.fetch.delivery.unpack", _die)
        with pytest.raises(KeyboardInterrupt):
            fetch(f"{server.url}/a.tgz", place / "out")
    assert visible(place) == set()
    assert fetch(f"{server.url}/a.tgz", place / "out").verdict is Severity.PASS
    assert len(server.requests) == 1


def _die(*arguments: Any) -> None:  # noqa: ANN401 - stands for any function
    raise KeyboardInterrupt


@pytest.mark.parametrize("status", [403, 404])
def test_a_refused_fetch_leaves_nothing(place: Path, server: FileServer, status: int) -> None:
    server.files["/a.tgz"] = Served(b"", statuses=[status])
    with pytest.raises((InputError, UnavailableError)):
        fetch(f"{server.url}/a.tgz", place / "out")
    assert (visible(place), hidden(place)) == (set(), set())


def test_a_hostile_archive_leaves_nothing(place: Path, tmp_path: Path, server: FileServer) -> None:
    with tarfile.open(tmp_path / "a", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../../evil"))
    server.files["/a.tgz"] = Served((tmp_path / "a").read_bytes())
    with pytest.raises(AdapterError, match="leads out of its folder"):
        fetch(f"{server.url}/a.tgz", place / "out")
    assert (visible(place), hidden(place)) == (set(), set())
    assert not list(tmp_path.rglob("evil"))


def test_the_same_again_is_the_same(make_adapter: Maker, place: Path) -> None:
    source = make_adapter()
    first = fetch(str(source), place / "out")
    with pytest.raises(BundleError, match="is there already"):
        fetch(str(source), place / "out")
    second = fetch(str(source), place / "out", replace=True)
    assert second.files == first.files
    assert check_folder(place / "out") == []
    assert hidden(place) == set()


def test_nothing_is_downloaded_where_the_folder_is_taken(place: Path, server: FileServer) -> None:
    (place / "out").mkdir()
    with pytest.raises(BundleError, match="is there already"):
        fetch(f"{server.url}/a.tgz", place / "out")
    assert server.requests == []


def test_a_foreign_folder_is_not_replaced(make_adapter: Maker, place: Path) -> None:
    (place / "out").mkdir()
    (place / "out" / "mine.txt").write_text("precious")
    with pytest.raises(BundleError, match="not written by loragraft"):
        fetch(str(make_adapter()), place / "out", replace=True)
    assert (place / "out" / "mine.txt").read_text() == "precious"


def test_two_at_once_do_not_mix(make_adapter: Maker, place: Path) -> None:
    with hold_lock(place / ".out.lock"), pytest.raises(LockedError):
        fetch(str(make_adapter()), place / "out")


def test_out_inside_the_source_is_refused(make_adapter: Maker) -> None:
    source = make_adapter()
    with pytest.raises(InputError, match="lies inside"):
        fetch(str(source), source / "out")


@pytest.mark.parametrize("name", ["", "text", "weights"])
def test_a_local_source_without_files_or_of_another_kind(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    if name:
        (tmp_path / "in" / name).write_text("hello")
    source = tmp_path / "in" / name
    with pytest.raises(InputError, match=r"holds no files|neither a folder nor an archive"):
        fetch(str(source), tmp_path / "out")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(total_bytes=3000), r"at most 2\.9 KiB are taken"),
        (Limits(file_bytes=3000), r"at most 2\.9 KiB are taken"),
        (Limits(files=1), "at most 1 are taken"),
    ],
)
def test_too_large_a_folder_is_refused(
    make_adapter: Maker, place: Path, limits: Limits, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        fetch(str(make_adapter()), place / "out", limits=limits)
    assert hidden(place) == set()


def test_check_tells_what_is_missing_changed_and_extra(make_adapter: Maker, place: Path) -> None:
    out = fetch(str(make_adapter()), place / "out").folder
    (out / "extra.txt").write_text("new")
    (out / "adapter_config.json").write_text("{}")
    (out / "adapter_model.safetensors").unlink()
    problems = check_folder(out)
    assert len(problems) == 3
    assert any("adapter_model.safetensors is listed but not there" in p for p in problems)
    assert any("adapter_config.json has SHA-256" in p for p in problems)
    assert any("extra.txt is not in checksums.txt" in p for p in problems)


def test_a_folder_with_its_own_list_is_compared_with_it(make_adapter: Maker, place: Path) -> None:
    source = fetch(str(make_adapter()), place / "first").folder
    report = fetch(str(source), place / "second")
    assert report.origin["upstream_metadata"]["origin"]["kind"] == "local"
    assert check_folder(place / "second") == []
    (source / "adapter_config.json").write_text("{}")
    with pytest.raises(AdapterError, match=r"adapter_config.json did not arrive as the source's"):
        fetch(str(source), place / "third")
    assert visible(place) == {"first", "second"}


def test_a_list_of_another_form_is_only_replaced(make_adapter: Maker, place: Path) -> None:
    source = make_adapter()
    (source / "checksums.txt").write_text("md5 of everything: yes")
    (source / "EXPERIMENT_METADATA.json").write_text("no json")
    assert "upstream_metadata" not in fetch(str(source), place / "out").origin
    assert check_folder(place / "out") == []


def test_include_is_for_the_hub(make_adapter: Maker, place: Path) -> None:
    with pytest.raises(InputError, match="--include is for Hub repositories"):
        fetch(str(make_adapter()), place / "out", include=["*.log"])


def test_an_unfit_adapter_is_published_with_its_findings(make_adapter: Maker, place: Path) -> None:
    report = fetch(str(make_adapter(r=8)), place / "out")
    assert report.verdict is Severity.FAIL
    assert any(f.code == "rank" and f.severity is Severity.FAIL for f in report.findings)
    assert check_folder(place / "out") == []
    shutil.rmtree(place / "out")
