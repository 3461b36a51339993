"""Instruction sets: read from the texts of several systems, compared in one spelling."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.doctor.child import ask_child
from loragraft.doctor.cpu import (
    KNOWN,
    Cpu,
    built_features,
    parse_cpuinfo,
    parse_llvm,
    parse_sysctl,
    parse_system_info,
    read_cpu,
)

SERVER = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Some Server Processor @ 2.50GHz
flags\t\t: fpu sse sse2 pni ssse3 fma avx f16c avx2 bmi2 avx512f avx512_vnni avx512vbmi

processor\t: 1
model name\t: Some Server Processor @ 2.50GHz
flags\t\t: fpu sse sse2 pni ssse3 fma avx f16c avx2 bmi2 avx512f avx512_vnni
"""
BOARD = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes crc32 asimdhp asimddp i8mm
CPU implementer\t: 0x41
"""
INTEL_MAC = """machdep.cpu.features: FPU VME SSE3 SSSE3 FMA SSE4.2 AVX1.0 F16C
machdep.cpu.leaf7_features: SMEP BMI2 AVX2
machdep.cpu.brand_string: Intel(R) Core(TM) i7 CPU @ 2.60GHz
hw.optional.avx1_0: 1
hw.optional.avx512f: 0
"""
APPLE_MAC = """machdep.cpu.brand_string: Apple M2
machdep.cpu.core_count: 8
hw.optional.arm.FEAT_FP16: 1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_I8MM: 1
hw.optional.arm.FEAT_SME: 0
hw.optional.neon: 1
hw.optional.AdvSIMD: 1
"""


def test_cores_that_differ_have_what_all_have() -> None:
    cpu = parse_cpuinfo(SERVER)
    assert cpu.model == "Some Server Processor @ 2.50GHz"
    assert cpu.features == {
        "SSE3", "SSSE3", "FMA", "AVX", "F16C", "AVX2", "BMI2", "AVX512", "AVX512_VNNI",
    }  # fmt: skip


def test_arm() -> None:
    assert parse_cpuinfo(BOARD) == Cpu(
        "", frozenset({"NEON", "ARM_FMA", "FP16_VA", "DOTPROD", "MATMUL_INT8"})
    )


@pytest.mark.parametrize("text", ["", "processor : 0\n", "isa\t: rv64imafdcv\n", ":\n::\nflags"])
def test_a_system_that_does_not_say_is_unknown(text: str) -> None:
    assert parse_cpuinfo(text).features is None


def test_no_vector_instructions_is_not_unknown() -> None:
    assert parse_cpuinfo("flags : fpu\n").features == frozenset()


def test_macs() -> None:
    intel, apple = parse_sysctl(INTEL_MAC), parse_sysctl(APPLE_MAC)
    assert intel == Cpu(
        "Intel(R) Core(TM) i7 CPU @ 2.60GHz",
        frozenset({"SSE3", "SSSE3", "FMA", "AVX", "F16C", "BMI2", "AVX2"}),
    )
    assert apple.model == "Apple M2"
    assert apple.features == {"NEON", "ARM_FMA", "FP16_VA", "DOTPROD", "MATMUL_INT8"}
    assert parse_sysctl("sysctl: unknown oid 'machdep.cpu'").features is None


@pytest.mark.parametrize(
    ("text", "backends", "features"),
    [
        ("CPU : SSE3 = 1 | AVX2 = 1 | OPENMP = 1 | ", {"CPU"}, {"SSE3", "AVX2"}),
        ("AVX = 1 | AVX2 = 0 | FMA = 1 | ", {"CPU"}, {"AVX", "FMA"}),
        (
            "CUDA : ARCHS = 900 | USE_GRAPHS = 1 | CPU : AVX2 = 1 | REPACK = 1 |",
            {"CUDA", "CPU"},
            {"AVX2"},
        ),
        ("Metal : EMBED_LIBRARY = 1 | CPU : NEON = 1 | ARM_FMA = 1 |",
         {"Metal", "CPU"}, {"NEON", "ARM_FMA"}),
        ("", set(), set()),
        ("Vulkan : | no such thing | = 1 | A B = 1 |", set(), set()),
    ],
)  # fmt: skip
def test_system_info(text: str, backends: set[str], features: set[str]) -> None:
    info = parse_system_info(text)
    assert set(info) == backends
    assert built_features(info) == features


@given(st.text())
def test_no_text_breaks_a_parser(text: str) -> None:
    for cpu in (parse_cpuinfo(text), parse_sysctl(text)):
        assert cpu.features is None or cpu.features <= KNOWN
    assert built_features(parse_system_info(text)) <= KNOWN


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/cpuinfo")
def test_the_system_and_llvm_agree_about_this_processor() -> None:
    features = read_cpu().features
    assert features is not None
    assert parse_llvm(ask_child("kernels", "Asking numba", seconds=60)["features"]) == features
