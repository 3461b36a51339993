"""Adapters in pickles: refused, or turned into safetensors by a child process that runs no code.

A pickle is a program. The child reads it with ``torch.load(weights_only=True)``, which knows how
to build tensors and nothing else, under limits of memory, time and written bytes; what it cannot
do without anything else is an error. Versions of torch before 2.6 could be tricked into more
(CVE-2025-32434) and are not used.

    python -m loragraft.adapter.pickled PICKLE OUT
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import loragraft
from loragraft.errors import AdapterError, MissingExtraError

SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
MAX_BYTES = 16 << 30
"""Of a pickle; adapters have a hundredth of it, and the child holds it twice."""
SPARE_BYTES = 1 << 30
"""Memory of the child beside two copies of the file: torch's own while it reads."""
SECONDS = 120
"""Importing torch takes some ten on a busy machine; an adapter is read in a few."""
BYTES_PER_SECOND = 20 << 20
"""Of a slow disk: added to the time of a large file."""
_MINIMUM_TORCH = (2, 6)
_TOO_MUCH = "it needs more memory than its size explains"
_FORCING = ("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "PYTHONSTARTUP", "PYTHONINSPECT")


def convert_pickle(path: Path, out: Path) -> None:
    """Read a pickle's tensors in a child process and write them as a safetensors file.

    Args:
        path: The pickle.
        out: The file to write; its folder is the child's working folder.

    Raises:
        AdapterError: If it holds anything but a flat dictionary of tensors, asks for code, or
            needs more memory or time than its size explains.
        MissingExtraError: If torch is not installed.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise AdapterError(
            f"{path} has {size:,} bytes, more than any adapter. Convert it to safetensors in a "
            "sandbox you can throw away."
        )
    command = [sys.executable, "-W", "ignore", "-m", "loragraft.adapter.pickled",
               str(path.resolve()), str(out.resolve())]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False,
            timeout=SECONDS + size / BYTES_PER_SECOND, env=_environment(), cwd=out.parent,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _refused(path, "reading it did not end in time") from None
    _judge_answer(path, done)


def _environment() -> dict[str, str]:
    """Return the environment in which the child finds this package, and no switch against us."""
    kept = {name: value for name, value in os.environ.items() if name not in _FORCING}
    folder = str(Path(loragraft.__file__).resolve().parents[1])
    paths = [folder, *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1",
            "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"}  # fmt: skip


def _judge_answer(path: Path, done: subprocess.CompletedProcess[bytes]) -> None:
    try:
        answer: Any = json.loads(done.stdout.decode("utf-8").strip().splitlines()[-1])
    except (ValueError, IndexError):
        answer = None
    if not isinstance(answer, dict):
        raise _refused(path, f"the process that read it ended with status {done.returncode}")
    if answer.get("missing"):
        raise MissingExtraError("torch", "peft", "Reading a pickled adapter")
    if answer.get("error"):
        raise _refused(path, str(answer["error"]))


def _refused(path: Path, reason: str) -> AdapterError:
    return AdapterError(
        f"{path.name} is a pickle that was not read: {reason}. Do not load it by other means. Ask "
        "its author for safetensors."
    )


def _limit(size: int) -> None:
    """Bound what the child may take from here on; where the system has no limits, time remains."""
    try:
        import resource
    except ImportError:  # Windows
        return
    used = 0
    statm = Path("/proc/self/statm")
    if statm.exists():
        used = int(statm.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    for kind, value in (
        (resource.RLIMIT_AS, used + 2 * size + SPARE_BYTES),
        (resource.RLIMIT_CPU, SECONDS + size // BYTES_PER_SECOND),
        (resource.RLIMIT_FSIZE, size + SPARE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))


def _convert(path: Path, out: Path) -> dict[str, Any]:
    """Read and write, in the child; returns what to answer."""
    try:
        import torch
        from safetensors.torch import save_file
    except ImportError as error:
        return {"missing": str(error)}
    if tuple(map(int, torch.__version__.split(".")[:2])) < _MINIMUM_TORCH:
        return {"error": f"torch {torch.__version__} is too old to do that safely (2.6 or newer)"}
    torch.set_num_threads(1)
    size = path.stat().st_size
    _limit(size)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        problem = _problem(found, size)
        if problem is not None:
            return {"error": problem}
        save_file({key: value.detach().clone().contiguous() for key, value in found.items()}, out)
    except MemoryError:
        return {"error": _TOO_MUCH}
    except Exception as error:  # whatever a hostile file makes the reader say
        return {"error": _first_words(error)}
    return {"tensors": len(found)}


def _problem(found: object, size: int) -> str | None:
    import torch

    if not isinstance(found, dict) or not found:
        return f"it holds {type(found).__name__}, expected a dictionary of tensors"
    total = 0
    for key, value in found.items():
        if not isinstance(key, str) or type(value) not in (torch.Tensor, torch.nn.Parameter):
            return f"it holds {type(value).__name__} under {key!r:.60}, expected tensors by name"
        if value.layout is not torch.strided or value.device.type != "cpu":
            return f"the tensor {key!r:.60} is not a plain one"
        total += value.numel() * value.element_size()
    if total > size:  # views of one storage: a few bytes can claim terabytes
        return f"its tensors claim {total:,} bytes, the file has {size:,}"
    return None


def _first_words(error: Exception) -> str:
    """Return what an error says, on one line; torch adds advice to switch the protection off."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if "allocate memory" in text:
        return _TOO_MUCH
    for marker in ("WeightsUnpickler error: ", "Unsupported"):
        if marker in text:
            text = text[text.index(marker) :]
            break
    return text.partition(" was not an allowed global")[0][:200].rstrip(".")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_convert(Path(sys.argv[1]), Path(sys.argv[2]))) + "\n")
