"""Graphics processors that the machine has, by what their drivers show."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SECONDS = 4.0
"""nvidia-smi takes a second or two where the driver was asleep."""
NVIDIA_QUESTION = ("--query-gpu=name,memory.total", "--format=csv,noheader")
AMD_NODE = Path("/dev/kfd")
"""Made by the driver that ROCm computes through."""


@dataclass(frozen=True)
class Gpu:
    """A graphics processor.

    Attributes:
        name: What its driver calls it.
        switch: llama.cpp's switch for a build that uses it.
        needs: What such a build needs to be installed.
    """

    name: str
    switch: str
    needs: str


def parse_nvidia(text: str) -> tuple[Gpu, ...]:
    """Read nvidia-smi's lines of name and memory."""
    names = [" ".join(line.split()) for line in text.splitlines() if "," in line]
    return tuple(Gpu(name, "GGML_CUDA", "the CUDA toolkit (nvcc)") for name in names)


def find_gpus() -> tuple[Gpu, ...]:
    """List them; none where no driver shows one."""
    found = _nvidia()
    if AMD_NODE.exists():
        found += (Gpu("a GPU of AMD (/dev/kfd)", "GGML_HIP", "ROCm"),)
    if sys.platform == "darwin" and platform.machine() == "arm64":
        found += (Gpu("the GPU of Apple's processor", "GGML_METAL", "Xcode's command line tools"),)
    return found


def _nvidia() -> tuple[Gpu, ...]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        done = subprocess.run(
            [program, *NVIDIA_QUESTION],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parse_nvidia(done.stdout.decode("utf-8", "replace")) if done.returncode == 0 else ()
