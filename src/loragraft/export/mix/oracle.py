"""Tensor types from llama.cpp itself, where the installed library can be asked.

llama.cpp exports the functions that choose types, though from a header it does not promise to
keep, and with C++ names. So they are called in a child process (see `worker`), and every call
carries a control question, a small model whose answer our own table knows: a library that answers
it differently is not trusted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from loragraft.engine.llama_library import library_folder
from loragraft.errors import UnavailableError
from loragraft.export.mix import worker
from loragraft.export.mix.catalogue import MIXES, Mix
from loragraft.export.mix.rules import is_70b, types_by_rules
from loragraft.export.mix.specs import ModelShape, TensorSpec
from loragraft.export.mix.tensor_types import TensorType

LIBRARY_NAMES = ("libllama.so", "libllama.dylib", "llama.dll", "libllama.dll")

ARCHITECTURES = frozenset({"llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3"})
"""What may be asked about: llama.cpp aborts on a name it does not know."""

MOST_LAYERS = 512
"""LLAMA_MAX_LAYERS of llama-hparams.h; beyond it llama.cpp aborts."""

LONGEST_NAME = 63
"""GGML_MAX_NAME of ggml.h less its final zero; longer names would be cut."""

PATIENCE_SECONDS = 60.0
"""The answer takes well under a second; a child that is silent for so long hangs."""

CONTROL_SHAPE = ModelShape(
    architecture="llama",
    layers=9,
    embedding=512,
    feed_forward=1280,
    heads=8,
    heads_kv=2,
    key_length=64,
    value_length=64,
)


def _control_tensors() -> tuple[TensorSpec, ...]:
    """A model of 9 layers with long and odd rows, so that every kind of rule shows."""
    matrices = {
        "attn_k.weight": (128, 512),
        "attn_norm.weight": (512,),
        "attn_output.weight": (512, 512),
        "attn_q.weight": (512, 512),
        "attn_v.weight": (128, 512),
        "ffn_down.weight": (512, 1280),
        "ffn_gate.weight": (1280, 384),
        "ffn_up.weight": (1280, 512),
    }
    blocks = (
        TensorSpec(f"blk.{layer}.{name}", shape)
        for layer in range(CONTROL_SHAPE.layers)
        for name, shape in matrices.items()
    )
    ends = (TensorSpec("output.weight", (640, 512)), TensorSpec("token_embd.weight", (640, 512)))
    return (*ends, *blocks)


CONTROL_TENSORS = _control_tensors()


def find_library() -> Path | None:
    """The path of llama.cpp's library, without importing `llama_cpp`; None if there is none.

    The environment variable LLAMA_CPP_LIB_PATH moves the folder, as it does for llama_cpp.
    """
    folder = library_folder()
    if folder is None:
        return None
    return next((folder / name for name in LIBRARY_NAMES if (folder / name).is_file()), None)


def oracle_problem() -> str | None:
    """Why llama.cpp cannot be asked for tensor types; None if it can."""
    try:
        types_by_llama(CONTROL_SHAPE, CONTROL_TENSORS, MIXES["Q4_K_M"])
    except UnavailableError as error:
        return str(error)
    return None


def types_by_llama(
    shape: ModelShape, tensors: Sequence[TensorSpec], mix: Mix
) -> tuple[TensorType, ...]:
    """Types by llama.cpp, in the order of `tensors`.

    Raises:
        UnavailableError: it cannot be asked, or is not to be trusted; the message says why.
    """
    _refuse_dangerous(shape, tensors)
    ordered = sorted(tensors, key=lambda spec: spec.order)
    control, types = ask([(CONTROL_SHAPE, CONTROL_TENSORS, mix), (shape, ordered, mix)])
    _check_control(control, mix)
    by_name = {spec.name: _known(spec, number) for spec, number in zip(ordered, types, strict=True)}
    return tuple(by_name[spec.name] for spec in tensors)


def _known(spec: TensorSpec, number: int) -> TensorType:
    try:
        return TensorType(number)
    except ValueError:
        raise UnavailableError(
            f"llama.cpp answers tensor type {number} for {spec.name}; loragraft knows none such."
        ) from None


def _refuse_dangerous(shape: ModelShape, tensors: Sequence[TensorSpec]) -> None:
    """Keep away what llama.cpp answers with an abort or a cut name."""
    problem = None
    if shape.architecture not in ARCHITECTURES:
        problem = f"its architecture {shape.architecture!r} is none of {sorted(ARCHITECTURES)}"
    elif not 0 < shape.layers <= MOST_LAYERS:
        problem = f"it has {shape.layers} layers, and llama.cpp takes 1 to {MOST_LAYERS}"
    elif long := [spec.name for spec in tensors if len(spec.name.encode()) > LONGEST_NAME]:
        problem = f"the tensor name {long[0]!r} is longer than {LONGEST_NAME} bytes"
    if problem:
        raise UnavailableError(f"llama.cpp cannot be asked about this model: {problem}.")


def _check_control(answered: Sequence[int], mix: Mix) -> None:
    expected = types_by_rules(CONTROL_SHAPE, CONTROL_TENSORS, mix)
    for spec, found, wanted in zip(CONTROL_TENSORS, answered, expected, strict=True):
        if found != wanted:
            raise UnavailableError(
                f"The llama.cpp library is not trusted for tensor types: for {spec.name} of the "
                f"control model at {mix.name} it answers {found}, not {wanted.name} "
                f"({wanted.value}). Its interface, or the mix itself, differs from "
                "llama-cpp-python 0.3.36."
            )


def ask(
    questions: Sequence[tuple[ModelShape, Sequence[TensorSpec], Mix]],
) -> list[list[int]]:
    """Ask llama.cpp several questions in one child process, without any control.

    Tensors are given in the order of llama.cpp's files. Use `types_by_llama` instead unless the
    control is done by the caller.

    Raises:
        UnavailableError: there is no library, it lacks the functions, or the child failed.
    """
    library = find_library()
    if library is None:
        raise UnavailableError("llama.cpp's library is not installed (package llama-cpp-python).")
    request = {"library": str(library), "questions": [_question(*parts) for parts in questions]}
    reply = json.loads(_run_worker(json.dumps(request)))
    if "missing" in reply:
        raise UnavailableError(
            f"The library {library} does not export {reply['missing']}, so llama.cpp cannot be "
            "asked for tensor types."
        )
    types: list[list[int]] = reply["types"]
    return types


def _question(shape: ModelShape, tensors: Sequence[TensorSpec], mix: Mix) -> dict[str, Any]:
    return {
        **_described(shape),
        "embedding": shape.embedding,
        "feed_forward": shape.feed_forward,
        "experts": shape.experts,
        "layers": shape.layers,
        "key_length": shape.key_length,
        "value_length": shape.value_length,
        "ftype": mix.ftype,
        "tensors": [(spec.name, spec.shape) for spec in tensors],
    }


def _described(shape: ModelShape) -> Mapping[str, Any]:
    """Architecture and heads as llama.cpp must hear them.

    Its function for asking files only llama under "70B"; its quantizer, reading a file, does so
    for qwen2 with 80 layers too. Such a model is described as a llama of the same head ratio, with
    unequal heads: nothing else about the architecture matters for types.
    """
    heads, heads_kv = shape.heads, shape.heads_kv
    if shape.architecture == "llama" or not is_70b(shape):
        return {"architecture": shape.architecture, "heads": heads, "heads_kv": heads_kv}
    if heads == heads_kv:
        heads, heads_kv = 3, 2  # unequal, and 3 // 2 is one query head per key-value head
    return {"architecture": "llama", "heads": heads, "heads_kv": heads_kv}


@lru_cache(maxsize=32)
def _run_worker(request: str) -> str:
    command = [sys.executable or "python3", "-I", "-S", str(worker.__file__)]
    try:
        child = subprocess.run(
            command,
            input=request,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"llama.cpp could not be asked for tensor types: {error}") from error
    if child.returncode != 0:
        last = (child.stderr.strip().splitlines() or ["no message"])[-1]
        raise UnavailableError(
            "The process that asks llama.cpp for tensor types failed with exit status "
            f"{child.returncode}: {last}"
        )
    return child.stdout
