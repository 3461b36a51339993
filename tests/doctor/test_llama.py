"""What llama.cpp says of itself, and what becomes of it when it cannot be loaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loragraft.adapter.findings import Severity
from loragraft.doctor.cpu import Cpu, parse_system_info
from loragraft.doctor.gpu import Gpu, find_gpus, parse_nvidia
from loragraft.doctor.kernels import check_kernels, judge_kernels
from loragraft.doctor.llama import check_llama, judge_build, judge_gpus, rebuild_command
from loragraft.doctor.rows import Row, Surroundings
from loragraft.engine.llama_library import OVERRIDE, library_folder

CUDA_GPU = parse_nvidia("NVIDIA H200, 143771 MiB\n")
PLAIN = {"gpu_offload": False, "devices": [{"name": "CPU", "about": "x"}], "version": "0.3.36"}


def by_code(rows: list[Row]) -> Mapping[str, Row]:
    return {row.finding.code: row for row in rows}


def test_the_installed_library_loads_and_fits_this_processor() -> None:
    rows = by_code(check_llama(Surroundings()))
    assert rows["llama.library"].finding.severity is Severity.PASS
    assert "llama-cpp-python 0.3" in rows["llama.library"].finding.measured
    assert rows["llama.library"].facts["devices"][0]["name"] == "CPU"
    assert rows["llama.build"].finding.severity is not Severity.FAIL
    assert rows["llama.build"].facts["missing_in_processor"] == []


def test_a_folder_without_the_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OVERRIDE, str(tmp_path))
    (row,) = check_llama(Surroundings())
    assert row.finding.severity is Severity.FAIL
    assert "unset it" in row.finding.next_step
    assert str(tmp_path) in row.finding.next_step


def test_a_damaged_library_is_told_from_a_sound_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off behind its headers, so that the loader maps pages that are not there."""
    folder = library_folder()
    assert folder is not None
    copy = tmp_path / "lib"
    shutil.copytree(folder, copy, symlinks=True)
    for path in copy.glob("libllama.*"):
        if not path.is_symlink():
            os.truncate(path, path.stat().st_size // 2)
    monkeypatch.setenv(OVERRIDE, str(copy))
    (row,) = check_llama(Surroundings())
    assert row.finding.severity is Severity.FAIL
    assert row.finding.next_step


@pytest.mark.parametrize(
    ("processor", "build", "severity", "words"),
    [
        ({"AVX", "AVX2", "FMA"}, {"AVX", "AVX2", "FMA"}, Severity.PASS, ""),
        ({"AVX", "AVX2", "FMA"}, {"AVX"}, Severity.WARN, "GGML_NATIVE"),
        ({"AVX", "AVX2"}, {"AVX", "AVX2", "AVX512"}, Severity.FAIL, "GGML_NATIVE"),
        ({"AVX2", "AVX512", "AVX512_VNNI"}, {"AVX2"}, Severity.PASS, "GGML_NATIVE"),
        ({"NEON", "DOTPROD"}, {"NEON"}, Severity.WARN, "GGML_NATIVE"),
        (None, {"AVX2"}, Severity.PASS, ""),
        ({"AVX2", "AMX_INT8"}, {"AVX2"}, Severity.PASS, ""),
        ({"AVX2", "AMX_INT8"}, {"AVX2", "AMX_INT8"}, Severity.WARN, "-U__AMX_INT8__"),
        (None, {"AVX2", "AMX_INT8"}, Severity.WARN, "-U__AMX_INT8__"),
        ({"AVX2", "AMX_INT8"}, {"AMX_INT8", "AVX512"}, Severity.FAIL, "-U__AMX_INT8__"),
    ],
)
def test_build_against_processor(
    processor: set[str] | None, build: set[str], severity: Severity, words: str
) -> None:
    info = parse_system_info("CPU : " + "".join(f"{name} = 1 | " for name in sorted(build)))
    cpu = Cpu("x", None if processor is None else frozenset(processor))
    finding = judge_build(cpu, info, "0.3.36").finding
    assert finding.severity is severity
    assert words in finding.next_step
    assert bool(words) == bool(finding.next_step)


def test_rebuild_command_names_the_version() -> None:
    command = rebuild_command("-DGGML_CUDA=on", "0.3.36")
    assert "GGML_CUDA" in command
    assert "llama-cpp-python==0.3.36" in command


@pytest.mark.parametrize(
    ("gpus", "offload", "severity"),
    [
        ((), False, Severity.PASS),
        (CUDA_GPU, False, Severity.WARN),
        (CUDA_GPU, True, Severity.PASS),
    ],
)
def test_an_idle_gpu_is_said(gpus: tuple[Gpu, ...], offload: bool, severity: Severity) -> None:
    finding = judge_gpus(gpus, {**PLAIN, "gpu_offload": offload}).finding
    assert finding.severity is severity
    if severity is Severity.WARN:
        assert "GGML_CUDA" in finding.next_step


def test_nvidia_smi_that_fails_or_hangs_means_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    program.write_text("#!/bin/sh\necho 'NVIDIA L4, 23034 MiB'\n")
    program.chmod(0o755)
    assert [gpu.name for gpu in find_gpus()] == ["NVIDIA L4, 23034 MiB"]
    program.write_text("#!/bin/sh\necho 'Failed to initialize NVML, Driver mismatch'\nexit 9\n")
    assert find_gpus() == ()
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr("loragraft.doctor.gpu.SECONDS", 0.2)
    assert find_gpus() == ()


def test_kernels_of_this_machine() -> None:
    (row,) = check_kernels(Surroundings())
    assert "numba" in row.finding.measured
    assert row.finding.severity is not Severity.FAIL
    assert set(row.facts["types"]) == {"Q4_K", "Q5_K", "Q6_K"}


def test_kernels_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+sse2")
    (row,) = check_kernels(Surroundings())
    assert row.finding.severity is Severity.WARN
    assert "no AVX2" in row.finding.measured


@pytest.mark.parametrize(
    ("state", "severity", "words"),
    [
        ({"compiled": True, "different": 0, "checked": 9}, Severity.PASS, "byte for byte"),
        ({"compiled": True, "different": 3, "checked": 9}, Severity.WARN, "other bytes"),
    ],
)
def test_kernels_are_judged(state: dict[str, Any], severity: Severity, words: str) -> None:
    found = {"numba": "1", "unit": "avx2", "types": {"Q4_K": state}, "caches": [], "features": []}
    finding = judge_kernels(found).finding
    assert finding.severity is severity
    assert words in finding.measured
