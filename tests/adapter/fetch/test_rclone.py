"""rclone: the real one where it is installed, and a stand-in that says what a real one says."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from loragraft.adapter.fetch import Limits, check_folder, fetch
from loragraft.adapter.findings import Severity
from loragraft.errors import AdapterError, InputError, UnavailableError

Maker = Callable[..., Path]

STAND_IN = f"""#!{sys.executable}
import json, os, shutil, sys
from pathlib import Path
words = [w for w in sys.argv[1:] if w not in ("--use-json-log", "--json", "--checksum", "--")]
with open(os.environ["RCLONE_LOG"], "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
assert os.environ["RCLONE_ASK_PASSWORD"] == "false"
remote, _, path = words[1].partition(":")
source = Path(path)
if os.environ.get("RCLONE_FAIL") == words[0]:
    for text in ("Failed to copy: quota\\n exceeded", "Failed to copy: quota exceeded"):
        print(json.dumps({{"level": "error", "msg": text}}), file=sys.stderr)
    print(json.dumps({{"level": "info", "msg": "ignored"}}), file=sys.stderr)
    sys.exit(5)
if remote != "here":
    print("Failed: didn't find section in config file", file=sys.stderr)
    sys.exit(1)
if not source.exists():
    print(json.dumps({{"level": "error", "msg": "directory not found"}}), file=sys.stderr)
    sys.exit(3)
files = [source] if source.is_file() else [p for p in source.rglob("*") if p.is_file()]
if words[0] == "size":
    if os.environ.get("RCLONE_FAIL") == "garbled":
        print("not json")
    else:
        print(json.dumps({{"count": len(files), "bytes": sum(p.stat().st_size for p in files)}}))
else:
    for file in files:
        name = file.name if source.is_file() else file.relative_to(source)
        target = Path(words[2]) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
"""
PROGRAMS = ["stand-in"] + (["real"] if shutil.which("rclone") else [])


@pytest.fixture(params=PROGRAMS)
def rclone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Put a program on the path, with the remote ``here``."""
    monkeypatch.setenv("RCLONE_CONFIG_HERE_TYPE", "local")
    monkeypatch.setenv("RCLONE_CONFIG", str(tmp_path / "rclone.conf"))
    monkeypatch.setenv("RCLONE_LOG", str(tmp_path / "rclone.log"))
    if request.param == "stand-in":
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "rclone").write_text(STAND_IN)
        (folder / "rclone").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return str(request.param)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder to fetch into."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def test_a_remote_folder(rclone: str, make_adapter: Maker, place: Path) -> None:
    source = make_adapter()
    (source / "odd name,x").write_text("text")
    report = fetch(f"rclone:here:{source}", place / "out")
    assert report.verdict is Severity.PASS
    assert {f.name for f in report.files} == {p.name for p in source.iterdir()}
    assert report.origin["remote"] == f"here:{source}"
    assert check_folder(place / "out") == []


def test_a_remote_archive(rclone: str, make_adapter: Maker, place: Path, tmp_path: Path) -> None:
    source = make_adapter()
    archive = shutil.make_archive(str(tmp_path / "lora"), "zip", source)
    report = fetch(f"rclone:here:{archive}", place / "out")
    assert report.verdict is Severity.PASS
    assert {f.name for f in report.files} == {p.name for p in source.iterdir()}


@pytest.mark.parametrize("address", ["nowhere:x", "here:/no/such/folder"])
def test_what_is_not_there(rclone: str, place: Path, address: str) -> None:
    with pytest.raises(InputError, match=r"rclone could not read .*Check the name"):
        fetch(f"rclone:{address}", place / "out")
    assert {path.name for path in place.iterdir()} == {".out.lock"}


def test_an_empty_remote_folder(rclone: str, place: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no files at"):
        fetch(f"rclone:here:{tmp_path / 'empty'}", place / "out")


def test_too_much_is_refused_before(rclone: str, make_adapter: Maker, place: Path) -> None:
    source = make_adapter()
    for limits, words in (
        (Limits(total_bytes=3000), "at most"),
        (Limits(files=1), "holds 2 files; at most 1"),
    ):
        with pytest.raises(InputError, match=words):
            fetch(f"rclone:here:{source}", place / "out", limits=limits)


@pytest.mark.parametrize("rclone", ["stand-in"], indirect=True)
def test_a_failing_copy_says_why(
    rclone: str, make_adapter: Maker, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_adapter()
    monkeypatch.setenv("RCLONE_FAIL", "copy")
    with pytest.raises(UnavailableError, match=r": Failed to copy: quota exceeded\. Check the"):
        fetch(f"rclone:here:{source}", place / "out")
    monkeypatch.setenv("RCLONE_FAIL", "garbled")
    with pytest.raises(UnavailableError, match="Upgrade rclone"):
        fetch(f"rclone:here:{source}", place / "out")


@pytest.mark.parametrize("rclone", ["stand-in"], indirect=True)
def test_a_path_is_no_option(rclone: str, place: Path, tmp_path: Path) -> None:
    with pytest.raises((InputError, UnavailableError, AdapterError)):
        fetch("rclone:here:--config", place / "out")
    assert '"--", "here:--config"' in (tmp_path / "rclone.log").read_text()


def test_not_installed(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="needs rclone, which is not installed"):
        fetch("rclone:here:x", place / "out")
