"""Instruction sets: what the processor has, and what llama.cpp was built with.

Both sides are spelled as ggml does (``AVX2``, ``DOTPROD``), so that they can be compared.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
SYSCTL = ("sysctl", "machdep.cpu", "hw.optional")
SECONDS = 3.0
"""For sysctl, which answers in milliseconds."""

# Names of Linux (arch/x86/include/asm/cpufeatures.h, arch/arm64/kernel/cpuinfo.c).
_LINUX = {
    "pni": ("SSE3",),
    "ssse3": ("SSSE3",),
    "avx": ("AVX",),
    "avx_vnni": ("AVX_VNNI",),
    "avx2": ("AVX2",),
    "f16c": ("F16C",),
    "fma": ("FMA",),
    "bmi2": ("BMI2",),
    "avx512f": ("AVX512",),
    "avx512vbmi": ("AVX512_VBMI",),
    "avx512_vnni": ("AVX512_VNNI",),
    "avx512_bf16": ("AVX512_BF16",),
    "amx_int8": ("AMX_INT8",),
    "asimd": ("NEON", "ARM_FMA"),
    "asimdhp": ("FP16_VA",),
    "asimddp": ("DOTPROD",),
    "i8mm": ("MATMUL_INT8",),
    "sve": ("SVE",),
    "sme": ("SME",),
}
# Names of macOS' sysctl: values of machdep.cpu.*features, and names below hw.optional.
_MACOS = {
    "sse3": ("SSE3",),
    "ssse3": ("SSSE3",),
    "avx1.0": ("AVX",),
    "avx2": ("AVX2",),
    "f16c": ("F16C",),
    "fma": ("FMA",),
    "bmi2": ("BMI2",),
    "avx512f": ("AVX512",),
    "avx512vbmi": ("AVX512_VBMI",),
    "avx512vnni": ("AVX512_VNNI",),
    "neon": ("NEON", "ARM_FMA"),
    "advsimd": ("NEON", "ARM_FMA"),
    "feat_fp16": ("FP16_VA",),
    "feat_dotprod": ("DOTPROD",),
    "feat_i8mm": ("MATMUL_INT8",),
    "feat_sme": ("SME",),
}
# Names of LLVM, as numba asks it: the way for any other system.
_LLVM = {
    "sse3": ("SSE3",),
    "ssse3": ("SSSE3",),
    "avx": ("AVX",),
    "avxvnni": ("AVX_VNNI",),
    "avx2": ("AVX2",),
    "f16c": ("F16C",),
    "fma": ("FMA",),
    "bmi2": ("BMI2",),
    "avx512f": ("AVX512",),
    "avx512vbmi": ("AVX512_VBMI",),
    "avx512vnni": ("AVX512_VNNI",),
    "avx512bf16": ("AVX512_BF16",),
    "amx-int8": ("AMX_INT8",),
    "neon": ("NEON", "ARM_FMA"),
    "fullfp16": ("FP16_VA",),
    "dotprod": ("DOTPROD",),
    "i8mm": ("MATMUL_INT8",),
    "sve": ("SVE",),
    "sme": ("SME",),
}
KNOWN = frozenset(name for names in (*_LINUX.values(), *_MACOS.values()) for name in names)
"""Every instruction set that can be compared; a build's other switches are not among them."""
NEEDED_FOR_SPEED = frozenset({"AVX", "AVX2", "F16C", "FMA", "NEON", "DOTPROD"})
"""What ggml's kernels for quantized weights are written with; without, plain C takes over."""


@dataclass(frozen=True)
class Cpu:
    """A processor.

    Attributes:
        model: What its maker calls it; empty where the system does not say.
        features: Instruction sets in ggml's spelling; None where the system does not say.
    """

    model: str
    features: frozenset[str] | None


def _translate(names: Iterable[str], table: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    return frozenset(known for name in names for known in table.get(name.lower(), ()))


def parse_cpuinfo(text: str) -> Cpu:
    """Read Linux' /proc/cpuinfo; of unlike cores, what all of them have."""
    model, common = "", None
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        key = key.strip().lower()
        if not colon:
            continue
        if key in ("flags", "features"):
            found = _translate(value.split(), _LINUX)
            common = found if common is None else common & found
        elif key in ("model name", "hardware", "cpu model") and not model:
            model = value.strip()
    return Cpu(model, common)


def parse_sysctl(text: str) -> Cpu:
    """Read what macOS' ``sysctl machdep.cpu hw.optional`` prints."""
    model, names, listed = "", [], False
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if not colon:
            continue
        if key == "machdep.cpu.brand_string":
            model = value
        elif key.startswith("machdep.cpu.") and key.endswith("features"):
            names += value.split()
            listed = True
        elif key.startswith("hw.optional."):
            listed = True
            names += [key.rpartition(".")[2]] if value == "1" else []
    return Cpu(model, _translate(names, _MACOS) if listed else None)


def parse_llvm(names: Iterable[str]) -> frozenset[str]:
    """Translate LLVM's names of instruction sets."""
    return _translate(names, _LLVM)


def parse_system_info(text: str) -> dict[str, dict[str, str]]:
    """Read llama.cpp's system info: back end → switch → value.

    ``CPU : AVX2 = 1 | FMA = 1 | CUDA : ARCHS = 900 |``. Versions before back ends had names
    print switches only; those count as the CPU's. A switch that is 0 is left out.
    """
    found: dict[str, dict[str, str]] = {}
    backend = "CPU"
    for part in text.split("|"):
        name, colon, rest = part.partition(" : ")
        if colon and "=" not in name:
            backend, part = name.strip(), rest
        key, equals, value = part.partition("=")
        if equals and re.fullmatch(r"\w+", key.strip()) and value.strip() not in ("", "0"):
            found.setdefault(backend, {})[key.strip()] = value.strip()
    return found


def built_features(info: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    """Return the instruction sets that a build's CPU back end uses."""
    return frozenset(info.get("CPU", {})) & KNOWN


def read_cpu() -> Cpu:
    """Ask the system for its processor; what it does not say is empty.

    Raises:
        OSError: If the system's own list cannot be read.
    """
    system: str = sys.platform
    if system.startswith("linux"):
        return parse_cpuinfo(CPUINFO.read_text(encoding="utf-8", errors="replace"))
    if system == "darwin":
        done = subprocess.run(SYSCTL, capture_output=True, timeout=SECONDS, check=False)
        return parse_sysctl(done.stdout.decode("utf-8", "replace"))
    return Cpu(platform.processor(), None)
