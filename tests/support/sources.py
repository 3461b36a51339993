"""Real inputs from the package index, kept in loragraft's cache folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_INSIDE = "vendor/llama.cpp"


def cache_folder() -> Path:
    """Where large inputs are kept: LORAGRAFT_CACHE, or the user's cache."""
    given = os.environ.get("LORAGRAFT_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "loragraft"


def smollm2_checkpoint() -> Path:
    """Build SmolLM2-135M-Instruct as a Hugging Face checkpoint, once."""
    script = ROOT / "scripts" / "build_smollm2.py"
    subprocess.run([sys.executable, str(script)], check=True, stdout=subprocess.DEVNULL)
    return cache_folder() / "SmolLM2-135M-Instruct"


def llama_cpp_source() -> Path:
    """Unpack llama.cpp from llama-cpp-python's source distribution of the installed version.

    Its converter is the reference that tests and benchmarks compare with.
    """
    number = version("llama-cpp-python")
    target = cache_folder() / f"llama.cpp-{number}"
    if (target / "convert_hf_to_gguf.py").exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet",
                   "--no-binary", "llama-cpp-python", "-d", name,
                   f"llama-cpp-python=={number}"]  # fmt: skip
        subprocess.run(command, check=True)
        [archive] = Path(name).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(Path(name) / "unpacked", filter="data")
        [top] = (Path(name) / "unpacked").iterdir()
        if not target.exists():
            shutil.move(top / _INSIDE, target)
    return target
