"""Asks llama.cpp for tensor types, in a process of its own.

Run as a script with a JSON request on stdin, it prints a JSON answer; it needs nothing but the
standard library, so that it starts in milliseconds. It is a process of its own because the
functions it calls belong to a header that llama.cpp does not promise to keep (`src/llama-ext.h`):
if they changed, the process may abort, and the export carries on with its own table.

Request:  {"library": path, "questions": [{"architecture", "layers", "embedding", "feed_forward",
          "heads", "heads_kv", "experts", "key_length", "value_length", "ftype",
          "tensors": [[name, [elements per dimension, row length last]], …]}, …]}
Answer:   {"types": [[type per tensor], …]}, or {"missing": what the library does not export}
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

F32 = 0
"""GGUF's number of the type that tensors are declared with, and keep if left unquantized."""

MANGLED = {
    "model": ("_Z31llama_quant_model_from_metadataPK22llama_quant_model_desc",),
    "init": ("_Z16llama_quant_initPK11llama_modelPK27llama_model_quantize_params",),
    "free": ("_Z16llama_quant_freeP19quantize_state_impl",),
    # the last letter is how size_t is spelled: 64-bit Unix, 64-bit Windows, 32-bit
    "types": tuple(
        f"_Z25llama_quant_compute_typesP19quantize_state_impl11llama_ftypePP11ggml_tensorP9ggml_type{size}"
        for size in "myj"
    ),
}
"""Names that compilers of the Itanium C++ ABI (gcc, clang; not MSVC) give the functions."""

PLAIN = ("llama_model_quantize_default_params", "llama_model_free", "llama_log_set")
GGML = ("ggml_init", "ggml_free", "ggml_new_tensor", "ggml_set_name", "ggml_tensor_overhead")

OVERSIZED = 1024
"""Bytes reserved for llama_model_quantize_params: about ten times its size, so it may grow."""


class ModelDescription(ctypes.Structure):
    """`llama_quant_model_desc` of llama-ext.h."""

    _fields_ = (
        ("architecture", ctypes.c_char_p),
        ("embedding", ctypes.c_uint32),
        ("feed_forward", ctypes.c_uint32),
        ("layers", ctypes.c_uint32),
        ("heads", ctypes.c_uint32),
        ("heads_kv", ctypes.c_uint32),
        ("experts", ctypes.c_uint32),
        ("key_length", ctypes.c_uint32),
        ("value_length", ctypes.c_uint32),
    )


class ContextParameters(ctypes.Structure):
    """`ggml_init_params` of ggml.h."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


class QuantizeParameters(ctypes.Structure):
    """`llama_model_quantize_params`, never looked into: only passed on."""

    _fields_ = (("opaque", ctypes.c_char * OVERSIZED),)


LogCallback = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class MissingSymbolError(Exception):
    """The library does not export a function that is needed."""


class Llama:
    """The functions of one llama.cpp library, with their signatures."""

    def __init__(self, path: Path) -> None:
        """Load the library and find the functions.

        Raises:
            MissingSymbolError: a function is not exported.
            OSError: the library cannot be loaded.
        """
        if hasattr(os, "add_dll_directory"):
            os.add_dll_directory(str(path.parent))
        library = ctypes.CDLL(str(path))
        functions = {key: _find(library, names) for key, names in MANGLED.items()}
        functions |= {name: _find(library, (name,)) for name in PLAIN}
        ggml = _ggml(path, library)
        functions |= {name: _find(ggml, (name,)) for name in GGML}
        self._functions = functions
        self._declare()
        self._silent = LogCallback(lambda level, text, data: None)
        functions["llama_log_set"](self._silent, None)

    def _declare(self) -> None:
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        signatures: dict[str, tuple[Any, tuple[Any, ...]]] = {
            "model": (pointer, (ctypes.POINTER(ModelDescription),)),
            "init": (pointer, (pointer, ctypes.POINTER(QuantizeParameters))),
            "free": (None, (pointer,)),
            "types": (None, (pointer, ctypes.c_int, pointer, pointer, size)),
            "llama_model_quantize_default_params": (QuantizeParameters, ()),
            "llama_model_free": (None, (pointer,)),
            "llama_log_set": (None, (LogCallback, pointer)),
            "ggml_init": (pointer, (ContextParameters,)),
            "ggml_free": (None, (pointer,)),
            "ggml_new_tensor": (
                pointer,
                (pointer, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int64)),
            ),
            "ggml_set_name": (pointer, (pointer, ctypes.c_char_p)),
            "ggml_tensor_overhead": (size, ()),
        }
        for name, (result, arguments) in signatures.items():
            self._functions[name].restype = result
            self._functions[name].argtypes = arguments

    def types(self, question: Mapping[str, Any]) -> list[int]:
        """The type llama.cpp gives each tensor of a question, in the question's order."""
        call = self._functions
        description = _describe(question)
        model = call["model"](ctypes.byref(description))
        parameters = call["llama_model_quantize_default_params"]()
        state = call["init"](model, ctypes.byref(parameters))
        tensors = question["tensors"]
        room = call["ggml_tensor_overhead"]() * (len(tensors) + 1)
        context = call["ggml_init"](ContextParameters(room, None, True))
        handles = (ctypes.c_void_p * len(tensors))(
            *(self._tensor(context, name, shape) for name, shape in tensors)
        )
        answer = (ctypes.c_int * len(tensors))()
        call["types"](state, question["ftype"], handles, answer, len(tensors))
        call["ggml_free"](context)
        call["free"](state)
        call["llama_model_free"](model)
        return list(answer)

    def _tensor(self, context: int, name: str, shape: Sequence[int]) -> int:
        dimensions = (ctypes.c_int64 * len(shape))(*reversed(shape))
        tensor = self._functions["ggml_new_tensor"](context, F32, len(shape), dimensions)
        self._functions["ggml_set_name"](tensor, name.encode())
        return int(tensor)


def _describe(question: Mapping[str, Any]) -> ModelDescription:
    values = {name: question[name] for name, _ in ModelDescription._fields_}
    values["architecture"] = values["architecture"].encode()
    return ModelDescription(**values)


def _ggml(path: Path, library: ctypes.CDLL) -> ctypes.CDLL:
    """The library with ggml's own functions: beside libllama, or built into it."""
    for name in ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll", "libggml-base.dll"):
        if (path.parent / name).is_file():
            return ctypes.CDLL(str(path.parent / name))
    return library


def _find(library: ctypes.CDLL, names: Sequence[str]) -> Any:  # noqa: ANN401
    for name in names:
        try:
            return getattr(library, name)
        except AttributeError:
            continue
    raise MissingSymbolError(names[0])


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one request."""
    try:
        llama = Llama(Path(request["library"]))
    except MissingSymbolError as error:
        return {"missing": str(error)}
    return {"types": [llama.types(question) for question in request["questions"]]}


if __name__ == "__main__":
    json.dump(answer(json.load(sys.stdin)), sys.stdout)
