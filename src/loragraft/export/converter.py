"""The way for architectures that loragraft does not stream: llama.cpp's own converter.

The script ``convert_hf_to_gguf.py`` of a llama.cpp source tree turns a merged checkpoint into a
float GGUF; ``llama_model_quantize`` of llama-cpp-python's library then quantizes that. Run as
``python -m loragraft.export.converter IN OUT FTYPE THREADS`` this module is the quantizing child.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from loragraft.artifact.child import child_command, child_environment, explain_exit
from loragraft.artifact.space import require_disk
from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.errors import CheckFailedError, InputError, UnsupportedError
from loragraft.export.mix import find_mix

SCRIPT_NAME = "convert_hf_to_gguf.py"
MODULE = "loragraft.export.converter"


def find_script(path: Path) -> Path:
    """Return the converter script at a path or in a folder.

    Raises:
        InputError: If there is none.
    """
    script = path / SCRIPT_NAME if path.is_dir() else path
    if not script.is_file() or script.suffix != ".py":
        raise InputError(
            f"{path} is no {SCRIPT_NAME}. Give the path of that script in a llama.cpp source tree "
            "(its release archives and llama-cpp-python's source distribution have one)."
        )
    return script.resolve()


def convert_checkpoint(script: Path, checkpoint: Path, out: Path, *, outtype: str = "f32") -> None:
    """Run the converter script on a checkpoint with this interpreter.

    Args:
        script: The script, see :func:`find_script`.
        checkpoint: A whole (merged) checkpoint folder.
        out: The GGUF file to write.
        outtype: f32, f16 or bf16.

    Raises:
        UnsupportedError: If the script does not know the architecture.
        CheckFailedError: If it fails otherwise, with its last words.
    """
    arguments = [str(checkpoint.resolve()), "--outfile", str(out.resolve()), "--outtype", outtype]
    command = [sys.executable, str(script), *arguments]
    # The script imports its neighbours, so it must not run with a safe path.
    _run(command, f"{SCRIPT_NAME} on {checkpoint.name}", out, dict(os.environ))


def quantize_file(source: Path, out: Path, mix: str, *, threads: int = 2) -> None:
    """Quantize a float GGUF by ``llama_model_quantize`` in a child process.

    Args:
        source: The float file.
        out: The file to write.
        mix: Name of a mix, such as Q4_K_M.
        threads: Threads to use.

    Raises:
        CheckFailedError: If llama.cpp fails, with its last words.
    """
    arguments = [str(source.resolve()), str(out.resolve()), str(find_mix(mix).ftype), str(threads)]
    command = child_command(MODULE, arguments)
    _run(command, f"Quantizing {source.name} to {mix}", out, child_environment())


def convert_and_quantize(
    script: Path,
    checkpoint: Path,
    outputs: Sequence[tuple[str, Path]],
    *,
    floats: Path,
    threads: int = 2,
) -> None:
    """Turn a merged checkpoint into one GGUF file for each mix.

    Args:
        script: The converter, or the folder that holds it.
        checkpoint: The merged checkpoint, best in float32.
        outputs: Mix and path of each file.
        floats: Where the float GGUF lies in between, in a name of its own; removed before, as
            one that a killed run left, and after.
        threads: Threads for quantizing.

    Raises:
        LoragraftError: As the two steps; OutOfSpaceError if the float file does not fit.
    """
    found = find_script(script)
    size = 2 * sum(path.stat().st_size for path in checkpoint.glob("*.safetensors"))
    floats.unlink(missing_ok=True)
    require_disk(floats, size, "The float GGUF in between")
    try:
        convert_checkpoint(found, checkpoint, floats)
        for mix, path in outputs:
            quantize_file(floats, path, mix, threads=threads)
    finally:
        floats.unlink(missing_ok=True)


def _run(command: Sequence[str], purpose: str, out: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=False, env=environment
    )
    errors = done.stderr.decode("utf-8", "replace")
    if done.returncode == 0 and out.is_file():
        with GgufFile(out):
            return
    out.unlink(missing_ok=True)
    message = explain_exit(
        purpose, done.returncode, errors or done.stdout.decode("utf-8", "replace")
    )
    if "is not supported" in errors and "Model" in errors:
        raise UnsupportedError(f"{message} This version of llama.cpp has no such architecture.")
    if "ModuleNotFoundError" in errors:
        raise CheckFailedError(f"{message} Install that package into this environment.")
    raise CheckFailedError(message)


def main(arguments: Sequence[str]) -> int:
    """Quantize in this process; llama.cpp logs to stderr."""
    import ctypes

    import llama_cpp

    source, out, ftype, threads = arguments
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype, parameters.nthread = int(ftype), int(threads)
    llama_cpp.llama_backend_init()
    names = (os.fsencode(source), os.fsencode(out))
    return int(llama_cpp.llama_model_quantize(*names, ctypes.byref(parameters)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
