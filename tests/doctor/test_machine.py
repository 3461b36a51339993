"""Disks, memory, cores, temporary files, packages, proxies: measured here, judged on figures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.adapter.findings import Severity
from loragraft.doctor import machine, threads
from loragraft.doctor.machine import check_disks, check_memory, check_temporary
from loragraft.doctor.mounts import Mount, mount_of
from loragraft.doctor.network import check_hub, check_network
from loragraft.doctor.packages import Package, check_packages, judge_core, judge_extra
from loragraft.doctor.rows import Surroundings
from loragraft.doctor.sizes import tree_size
from loragraft.doctor.threads import check_threads


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = check_disks(Surroundings((tmp_path / "not" / "yet",)))
    assert row.facts["places"][0]["free"] > 0
    monkeypatch.setattr(machine, "LITTLE_DISK", 1 << 60)
    (row,) = check_disks(Surroundings((tmp_path,)))
    assert row.finding.severity is Severity.WARN
    assert "--clean" in row.finding.next_step


def test_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_memory(Surroundings())[0].facts["total"] > 0
    monkeypatch.setattr(machine, "LITTLE_MEMORY", 1 << 60)
    assert check_memory(Surroundings())[0].finding.severity is Severity.WARN


def test_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (row,) = check_temporary(Surroundings(environ={}))
    assert row.facts["folder"] == str(tmp_path)
    (row,) = check_temporary(Surroundings(environ={"TMPDIR": str(tmp_path / "none")}))
    assert "none" in row.finding.next_step
    monkeypatch.setattr(machine, "LITTLE_TEMP", 1 << 60)
    (row,) = check_temporary(Surroundings(environ={}))
    assert "TMPDIR" in row.finding.next_step


def test_the_mount_closest_above_counts() -> None:
    known = [Mount(Path("/"), "ext4"), Mount(Path("/a"), "tmpfs"), Mount(Path("/a/b"), "nfs"),
             Mount(Path("/a/b"), "xfs")]  # fmt: skip
    found = [mount_of(Path(p), known) for p in ("/a/b/c", "/a/bc", "/x")]
    assert [mount.kind for mount in found if mount] == ["xfs", "tmpfs", "ext4"]
    assert mount_of(Path("/x"), []) is None


def test_openmp_held_back_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cpu_quota", lambda: None)
    few = check_threads(Surroundings(environ={"OMP_NUM_THREADS": "0" * 3 + "1"}))[0]
    if few.facts["usable"] > 1:
        assert "OMP_NUM_THREADS" in few.finding.next_step
    for odd in ("", "x", "99999999999999999999", "-1"):
        row = check_threads(Surroundings(environ={"OMP_NUM_THREADS": odd}))[0]
        assert row.finding.severity is Severity.PASS
    monkeypatch.setattr(threads, "cpu_quota", lambda: 0.5)
    row = check_threads(Surroundings(environ={}))[0]
    assert "--threads 1" in row.finding.next_step


def test_sizes_count_what_removal_frees(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(bytes(5_000))
    (tmp_path / "a" / "link").symlink_to("/")
    size = tree_size(tmp_path)
    assert 5_000 <= size.bytes < 50_000
    assert size.files == 2
    assert size.whole
    os.link(tmp_path / "a" / "file", tmp_path / "a" / "again")
    assert tree_size(tmp_path / "a" / "file").bytes == 0
    assert tree_size(tmp_path / "none").bytes == 0
    assert not tree_size(tmp_path, seconds=-1).whole


def test_installed_packages() -> None:
    rows = {row.finding.code: row for row in check_packages(Surroundings())}
    assert rows["packages.core"].finding.severity is not Severity.FAIL
    assert "numpy" in rows["packages.core"].facts
    assert {"packages.peft", "packages.rag", "packages.fetch"} <= set(rows)
    assert "torch" in rows["packages.train"].facts
    assert "packages.test" not in rows


def test_packages_that_lack_or_do_not_fit() -> None:
    there, old = Package("a", "<2", "1.0", True), Package("b", ">=2", "1.0", False)
    gone = Package("c", "", None, False)
    assert judge_core([there]).finding.severity is Severity.PASS
    assert judge_core([there, old]).finding.severity is Severity.WARN
    assert judge_core([there, old, gone]).finding.severity is Severity.FAIL
    half = judge_extra("rag", [there, gone]).finding
    assert half.severity is Severity.PASS
    assert half.next_step == 'To have it: pip install "loragraft[rag]"'
    assert "b 1.0 (wanted >=2)" in judge_extra("rag", [old]).finding.measured


def test_secrets_of_proxies_are_not_shown() -> None:
    environ = {"https_proxy": "http://user:secret@proxy:3128", "NO_PROXY": "localhost"}
    (row,) = check_network(Surroundings(environ=environ))
    assert "proxy:3128" in row.finding.measured
    assert "secret" not in str(row.to_json())
    (row,) = check_network(Surroundings(environ={"HF_HUB_OFFLINE": "1"}))
    assert row.finding.severity is Severity.WARN
    (row,) = check_network(Surroundings(environ={"HF_HUB_OFFLINE": "0"}))
    assert row.finding.severity is Severity.PASS


@given(st.dictionaries(st.sampled_from(["HTTP_PROXY", "no_proxy", "HF_HUB_OFFLINE"]), st.text()))
def test_no_variable_breaks_the_report(environ: dict[str, str]) -> None:
    (row,) = check_network(Surroundings(environ=environ))
    assert "\n" not in row.finding.measured


def test_the_hubs_cache_is_measured() -> None:
    (row,) = check_hub(Surroundings())
    assert row.facts["bytes"] >= 0
    assert "hf-xet" in row.finding.measured
